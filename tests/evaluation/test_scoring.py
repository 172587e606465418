import re
from dataclasses import replace

import numpy as np
import pytest

from tests.fixtures.fakes import fake_card
from tests.fixtures.vectors import unit
from udml.config import Evaluate
from udml.errors import UdmlError
from udml.evaluation.protocols import EvaluationSet
from udml.evaluation.scoring import ModelVectors, compare_models, nearest, view_sources

PARAMS = Evaluate(recall_at=(1, 2), bootstrap_samples=100, memory_budget_mib=1, report_queries=4, seed=0)
N, CLASSES, DIM = 60, 6, 16
LABELS = np.arange(N) % CLASSES


def images_of(labels=LABELS, groups=None, roles=None):
    return EvaluationSet(
        rows=np.arange(N) + 100,
        labels=np.asarray(labels),
        class_names=tuple("abcdef"),
        groups=np.arange(N) if groups is None else groups,
        roles=np.full(N, "both") if roles is None else roles,
        data_version="d" * 16,
    )


def vectors(kind, noise, shown, seed=1):
    rng = np.random.default_rng(seed)
    images = unit(np.eye(CLASSES, DIM)[LABELS] + noise * rng.standard_normal((N, DIM)))
    views = unit(images[shown] + 0.02 * rng.standard_normal((len(shown), DIM)))
    return ModelVectors(replace(fake_card(kind), embedding_dim=DIM), images, views)


def compare(test, trained_noise=0.1, frozen_noise=0.6, whitened_noise=None, refined=False):
    shown = view_sources(test.groups, 0)
    noises = {"trained": trained_noise, "frozen": frozen_noise, "whitened": whitened_noise}
    models = [vectors(kind, noise, shown) for kind, noise in noises.items() if noise is not None]
    return compare_models(test, shown, models, PARAMS, refined)


def test_with_labels_the_better_model_is_better_everywhere():
    evaluation = compare(images_of())
    assert evaluation.labelled
    assert list(evaluation.trained.scores) == ["leave_one_out", "leave_one_out_duplicates"]
    for protocol, scores in evaluation.trained.scores.items():
        for name, estimate in scores.estimates.items():
            other = evaluation.frozen.scores[protocol].estimates[name]
            difference = evaluation.differences[protocol][name]
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.value > other.value
            assert difference.value == pytest.approx(estimate.value - other.value)
            assert difference.low > 0
    assert evaluation.trained.clustering["nmi"] > evaluation.frozen.clustering["nmi"]
    assert "leave-one-out over 60 test images, 6 classes, duplicates ignored" in (
        evaluation.trained.scores["leave_one_out"].protocol
    )


def test_every_protocol_names_data_model_and_size():
    evaluation = compare(images_of(roles=np.where(np.arange(N) < 20, "query", "gallery")))
    model = evaluation.trained
    words = [scores.protocol for scores in model.scores.values()]
    for protocol in (*words, model.clustering_protocol, model.label_free_protocol):
        assert protocol.endswith(f"data {'d' * 16}; model {model.card.model_version}; 96 px")
    assert len(set(words)) == 4


@pytest.mark.parametrize(("looks", "end"), [(1, "; 96 px"), (2, "; 96 px, two looks")])
def test_a_protocol_says_where_an_image_was_looked_at_twice(looks: int, end: str) -> None:
    test = images_of()
    shown = view_sources(test.groups, 0)
    models = [vectors(kind, 0.1, shown) for kind in ("trained", "frozen")]
    models = [replace(model, card=replace(model.card, looks=looks)) for model in models]
    scores = compare_models(test, shown, models, PARAMS, False).trained.scores
    assert all(one.protocol.endswith(end) for one in scores.values())


def test_queries_ask_only_the_gallery():
    roles = np.where(np.arange(N) < 20, "query", "gallery")
    evaluation = compare(images_of(roles=roles))
    scores = evaluation.trained.scores["query_gallery"]
    assert scores.query.tolist() == list(range(20))
    assert "20 query images in a gallery of 40" in scores.protocol


def test_a_query_that_is_in_the_gallery_does_not_find_itself():
    roles = np.where(np.arange(N) < 20, "both", "gallery")
    alone = LABELS.copy()
    alone[0] = 99
    scores = compare(images_of(labels=alone, roles=roles)).trained.scores["query_gallery"]
    assert 0 not in scores.query
    assert scores.without_match == 1
    assert "1 without a match left out" in scores.protocol


def test_duplicates_make_the_lenient_protocol_easier():
    groups = np.arange(N)
    groups[1::2] = groups[::2]
    labels = np.repeat(np.arange(CLASSES), N // CLASSES)
    rng = np.random.default_rng(0)
    base = unit(rng.standard_normal((N // 2, DIM)))
    images = unit(np.repeat(base, 2, axis=0) + 1e-3 * rng.standard_normal((N, DIM)))
    shown = view_sources(groups, 0)
    assert (shown % 2 == 0).all()
    model = ModelVectors(fake_card(), images, images[shown])
    evaluation = compare_models(images_of(labels, groups), shown, [model, model], PARAMS)
    scores = evaluation.trained.scores
    assert scores["leave_one_out_duplicates"].estimates["recall_at_1"].value == 1.0
    assert scores["leave_one_out"].estimates["recall_at_1"].value < 0.6
    assert evaluation.trained.label_free["found_again_at_1"].value == 1.0  # copies are no distractors


def test_without_labels_there_are_the_label_free_figures_only():
    evaluation = compare(images_of(labels=np.full(N, -1)))
    assert not evaluation.labelled
    assert evaluation.trained.scores == {}
    assert evaluation.trained.clustering == {}
    assert set(evaluation.trained.label_free) == {
        "neighbours_found_again",
        "found_again_at_1",
        "found_again_mrr",
        "effective_rank",
        "embedding_std",
        "mean_cosine",
        "hubness",
    }
    assert list(evaluation.differences) == ["label_free"]
    assert np.isnan(evaluation.trained.label_free["hubness"].low)


def test_unlabelled_images_neither_ask_nor_are_asked():
    some = LABELS.copy()
    some[::4] = -1
    scores = compare(images_of(labels=some)).trained.scores["leave_one_out"]
    assert (some[scores.query] >= 0).all()
    assert "over 45 test images" in scores.protocol


def test_labels_without_a_pair_count_as_no_labels():
    assert not compare(images_of(labels=np.arange(N))).labelled


def test_neighbours_are_catalogue_rows_and_exact():
    evaluation = compare(images_of())
    images = evaluation.trained.embeddings
    similarity = images @ images.T
    np.fill_diagonal(similarity, -np.inf)
    expected = -np.sort(-similarity, axis=1)[:, :10]
    np.testing.assert_allclose(evaluation.trained.similarities, expected, atol=1e-5)
    rows = evaluation.trained.neighbours
    own = np.take_along_axis(similarity, rows - 100, axis=1)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_nearest_leaves_out_the_image_itself_among_many_copies():
    copies = unit(np.ones((30, 4)))
    found, _ = nearest(np.concatenate([copies, unit(-np.ones((1, 4)))]), 5)
    assert found.shape == (31, 5)
    assert not (found == np.arange(31)[:, None]).any()
    assert nearest(copies[:2], 10)[0].tolist() == [[1], [0]]


def test_at_most_a_thousand_views_one_of_each_group():
    groups = np.arange(3000) // 2
    shown = view_sources(groups, 1)
    assert len(shown) == 1000
    assert len(np.unique(groups[shown])) == 1000
    assert (np.diff(shown) > 0).all()


def test_a_collapsed_model_is_refused_by_name():
    test = images_of()
    shown = view_sources(test.groups, 0)
    good = vectors("trained", 0.1, shown)
    flat = ModelVectors(fake_card("frozen"), np.tile(good.images[:1], (N, 1)), good.views)
    with pytest.raises(UdmlError, match="frozen model have collapsed"):
        compare_models(test, shown, [good, flat], PARAMS)


def test_one_test_image_is_too_few():
    test = images_of()
    single = EvaluationSet(
        test.rows[:1], test.labels[:1], test.class_names, test.groups[:1], test.roles[:1], "d"
    )
    model = vectors("trained", 0.1, np.arange(1))
    with pytest.raises(UdmlError, match="too few"):
        compare_models(single, np.arange(1), [model, model], PARAMS)


def test_what_training_has_to_beat_is_the_whitened_backbone_where_there_is_one():
    evaluation = compare(images_of(), whitened_noise=0.3)
    baseline = evaluation.whitened.scores["leave_one_out"].estimates["map_at_r"].value
    trained = evaluation.trained.scores["leave_one_out"].estimates["map_at_r"].value
    assert evaluation.baseline is evaluation.whitened
    assert evaluation.differences["leave_one_out"]["map_at_r"].value == pytest.approx(trained - baseline)
    assert compare(images_of()).baseline.card.kind == "frozen"


@pytest.mark.parametrize("split", [False, True], ids=["alone", "split"])
def test_search_by_neighbourhoods_is_scored_beside_plain_search_of_every_model(split):
    roles = np.where(np.arange(N) < 20, "query", "gallery") if split else np.full(N, "both")
    evaluation = compare(images_of(roles=roles), 0.2, 0.25, 0.22, refined=True)
    refined = ["leave_one_out_neighbourhoods", *(["query_gallery_neighbourhoods"] if split else [])]
    for model in (evaluation.trained, evaluation.whitened, evaluation.frozen):
        assert [name for name in model.scores if "neighbourhoods" in name] == refined
        for name in refined:
            plain, mixed = model.scores[name.removesuffix("_neighbourhoods")], model.scores[name]
            assert mixed.estimates["map_at_r"].value > plain.estimates["map_at_r"].value
            assert mixed.estimates["recall_at_1"].value == plain.estimates["recall_at_1"].value
            assert re.search("by neighbourhoods, [1234] mixed: ", mixed.protocol)
    gain = evaluation.differences["refinement"]["map_at_r"]
    assert gain.low > 0
    assert gain.value == pytest.approx(
        evaluation.trained.scores[refined[0]].estimates["map_at_r"].value
        - evaluation.trained.scores["leave_one_out"].estimates["map_at_r"].value
    )


def test_without_labels_neighbourhoods_are_known_all_the_same():
    evaluation = compare(images_of(labels=np.full(N, -1)), refined=True)
    assert evaluation.trained.neighbourhoods is not None
    assert "refinement" not in evaluation.differences
