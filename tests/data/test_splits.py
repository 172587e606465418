"""Properties that every split must have, whatever the labels, groups and published splits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udml.data.splits import assign_splits, unit_hash

rows = st.lists(
    st.tuples(
        st.sampled_from([None, "train", "test"]),
        st.sampled_from([None, "a", "b", "c", "d", "e", "f"]),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=60,
)


def columns(found: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    published, labels, groups = zip(*found, strict=True)
    return np.array(published, object), np.array(labels, object), np.array(groups, np.int64)


@given(rows, st.floats(0, 1), st.integers(0, 5))
def test_groups_never_straddle_and_published_tests_stay(found: list[tuple], share: float, seed: int) -> None:
    published, labels, groups = columns(found)
    split = assign_splits(published, labels, groups, share, seed)
    assert set(split) <= {"train", "test", "excluded"}
    for group in set(groups):
        assert not {"train", "test"} <= set(split[groups == group])
        if "excluded" in split[groups == group]:
            assert "test" in split[groups == group]
    assert (split[published == "test"] == "test").all()
    assert (split[published == "train"] != "test").all()
    assert list(published) == [row[0] for row in found]  # the input is left as it was


@given(rows, st.floats(0.05, 0.95), st.integers(0, 5))
def test_classes_are_held_out_whole(found: list[tuple], share: float, seed: int) -> None:
    published, labels, groups = columns([(None, label or "z", group) for _, label, group in found])
    split = assign_splits(published, labels, groups, share, seed)
    trained, tested = set(labels[split == "train"]), set(labels[split == "test"])
    if len(set(labels)) > 1:
        assert not trained & tested
        assert tested


@given(rows, st.integers(0, 5))
def test_order_of_the_rows_does_not_matter(found: list[tuple], seed: int) -> None:
    published, labels, groups = columns(found)
    order = np.random.default_rng(seed).permutation(len(found))
    split = assign_splits(published, labels, groups, 0.3, seed)
    again = assign_splits(published[order], labels[order], groups[order], 0.3, seed)
    assert (split[order] == again).all()


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=80), st.integers(0, 5))
def test_without_labels_adding_images_moves_none(groups: set[int], seed: int) -> None:
    group = np.array(sorted(groups), np.int64)
    nothing = np.full(len(group), None, object)
    whole = assign_splits(nothing, nothing, group, 0.3, seed)
    half = assign_splits(nothing[::2], nothing[::2], group[::2], 0.3, seed)
    assert (whole[::2] == half).all()


def test_the_share_is_met() -> None:
    nothing, group = np.full(20_000, None, object), np.arange(20_000)
    split = assign_splits(nothing, nothing, group, 0.2, 0)
    assert abs((split == "test").mean() - 0.2) < 0.01
    labels = np.array([f"class {row % 50}" for row in range(1000)], object)
    split = assign_splits(nothing[:1000], labels, group[:1000], 0.2, 0)
    assert len(set(labels[split == "test"])) == 10
    other = assign_splits(nothing[:1000], labels, group[:1000], 0.2, 1)
    assert (split != other).any()


def test_train_duplicates_of_test_images_are_excluded() -> None:
    published = np.array(["train", "test", "train", "train"], object)
    labels = np.array(["a", "b", "a", "a"], object)
    split = assign_splits(published, labels, np.array([5, 5, 6, 6]), 0.2, 0)
    assert split.tolist() == ["excluded", "test", "train", "train"]


def test_unlabelled_images_follow_the_labelled_ones_of_their_group() -> None:
    labels = np.array(["a", "b", "c", "d", None, None, None, None], object)
    groups = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    nothing = np.full(8, None, object)
    split = assign_splits(nothing, labels, groups, 0.5, 0)
    assert split[:4].tolist() == split[4:].tolist()
    assert sorted(split[:4]) == ["test", "test", "train", "train"]


def test_one_class_is_split_by_group() -> None:
    nothing, labels = np.full(1000, None, object), np.full(1000, "only", object)
    split = assign_splits(nothing, labels, np.arange(1000), 0.2, 0)
    assert 150 < (split == "test").sum() < 250


def test_images_without_a_published_split_follow_their_class() -> None:
    published = np.array(["train", "test", None, None], object)
    labels = np.array(["a", "b", "a", "b"], object)
    split = assign_splits(published, labels, np.arange(4), 0.5, 0)
    assert split.tolist() == ["train", "test", "train", "test"]


def test_unit_hash_is_even_and_fixed() -> None:
    values = np.array([unit_hash(0, key) for key in range(4000)])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02
    assert unit_hash(0, "a") == unit_hash(0, "a") != unit_hash(1, "a")
