"""What both stores of a collection do alike: FAISS with SQLite, and Milvus."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.lite import Lite
from tests.serving.live import files, make_version
from udml import Searcher
from udml.collection.outcome import GoneError, NoImageError, Status
from udml.collection.shared.following import SharedStore, push_champion
from udml.data.identity import image_id
from udml.errors import UdmlError
from udml.registry import store
from udml.serving.engine.shared import open_champion

BASE = files(30, seed=1, prefix="base")
BASE.append(("base/copy.png", BASE[0][1] + b"\0", "label-0"))  # another file of the same pixels
NEW = files(4, seed=2)
COPIES = {"base/copy.png": "base/000.png"}
Open = Callable[[], Searcher]


@pytest.fixture(params=["files", "milvus"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the champion of a small registry, as often as wanted; the registry is tmp_path."""
    monkeypatch.chdir(tmp_path)
    make_version(tmp_path, BASE, mixed=True, copy_of=COPIES)
    models, data = tmp_path / "models", tmp_path / "data"
    searchers: list[Searcher] = []
    if request.param == "milvus":
        lite: Lite = request.getfixturevalue("lite")
        shared = SharedStore(lite.database())
        push_champion(models, store.version_directory(models, "champion"), shared)

    def open_one() -> Searcher:
        if request.param == "milvus":
            searchers.append(open_champion(shared, models, data))
        else:
            searchers.append(Searcher.open(models / "champion", data, 1))
        return searchers[-1]

    yield open_one
    for searcher in searchers:
        searcher.close()


def queries(searcher: Searcher, stored: list[tuple[str, bytes, str | None]]) -> np.ndarray:
    return searcher.embed_images([searcher.decode(data) for _, data, _ in stored])


def test_what_was_indexed_is_found_and_told(opened: Open) -> None:
    searcher = opened()
    asked = queries(searcher, BASE)
    ids, vectors, images = searcher.collection.sample(100)
    assert ids.tolist() == [image_id(source) for source, _, _ in BASE]
    assert images == len(searcher) == len(BASE)
    np.testing.assert_allclose(vectors, asked, atol=1e-6)
    np.testing.assert_allclose(searcher.collection.vectors(ids[::-1].tolist()), asked[::-1], atol=1e-6)
    similarity, found = searcher.collection.search(asked, 5)
    exact = asked @ asked.T
    np.testing.assert_allclose(similarity, -np.sort(-exact, axis=1)[:, :5], atol=1e-5)
    rows = [[ids.tolist().index(one) for one in row] for row in found.tolist()]
    np.testing.assert_allclose(np.take_along_axis(exact, np.array(rows), axis=1), similarity, atol=1e-5)
    assert searcher.collection.search(asked[:1], 1000)[0].shape == (1, len(BASE))
    assert len(searcher.collection.sample(7)[0]) == 7
    item = searcher.item(int(ids[3]))
    assert (item.source, item.label, item.size_bytes) == (BASE[3][0], BASE[3][2], len(BASE[3][1]))
    assert searcher.image_bytes(int(ids[3])) == BASE[3][1]


def test_neighbourhoods_order_alike(opened: Open, tmp_path: Path) -> None:
    searcher = opened()
    assert searcher.knows_neighbourhoods
    asked = queries(searcher, NEW)
    plain, refined = (searcher.neighbours(asked, 12, refine=how) for how in ("none", "auto"))
    for by_similarity, by_neighbourhood in zip(plain, refined, strict=True):
        assert by_similarity[0] == by_neighbourhood[0]
    with Searcher.open(tmp_path / "models" / "champion", tmp_path / "data", 1) as on_this_machine:
        expected = on_this_machine.neighbours(asked, 12)
    # of the same pixels, so either of them may come first
    same = [[[COPIES.get(h.source, h.source) for h in hits] for hits in one] for one in (refined, expected)]
    assert same[0] == same[1]
    hit = searcher.neighbours(queries(searcher, BASE[:1]), 3, collapse=True)[0][0]
    assert {hit.source, *(copy.source for copy in hit.copies)} == {"base/000.png", "base/copy.png"}


def test_an_addition_is_found_through_another_at_once_and_survives(opened: Open) -> None:
    one, other = opened(), opened()
    before = one.version.revision
    added = one.add([*NEW, ("again.png", NEW[0][1], None), ("no.png", b"no picture", None), ("", b"x", None)])
    assert [done.status for done in added] == [
        *[Status.ADDED] * len(NEW), Status.PRESENT, Status.REFUSED, Status.REFUSED,
    ]  # fmt: skip
    assert one.version.revision > before
    asked = queries(other, NEW)
    for searcher in (other, opened()):
        hits = searcher.neighbours(asked, 1)
        assert [row[0].image_id for row in hits] == [done.image_id for done in added[: len(NEW)]]
        assert [row[0].source for row in hits] == [source for source, _, _ in NEW]
        assert searcher.image_bytes(hits[2][0].image_id) == NEW[2][1]
        assert len(searcher) == len(BASE) + len(NEW)
    assert other.add([("else.png", NEW[1][1], None)])[0].status == Status.PRESENT
    taken = other.add([(NEW[0][0], files(1, seed=9)[0][1], None)])[0]
    assert (taken.status, taken.name) == (Status.ADDED, "new/000-2.png")
    copy = other.add([("copy.png", BASE[5][1] + b"\0", None)])[0]
    (hit,) = one.neighbours(queries(one, BASE[5:6]), 1, collapse=True)[0]
    assert {hit.image_id, *(c.image_id for c in hit.copies)} == {copy.image_id, image_id(BASE[5][0])}


def test_a_removal_counts_everywhere_and_can_be_taken_back(opened: Open) -> None:
    one, other = opened(), opened()
    new = one.add(NEW[:2])
    gone = [image_id(BASE[4][0]), new[0].image_id]
    with pytest.raises(NoImageError):
        one.remove([*gone, 17])
    assert len(other) == len(BASE) + 2
    one.remove([*gone, gone[0]])
    assert len(other) == len(BASE)
    for searcher in (other, opened()):
        for missing in gone:
            for ask in (searcher.item, searcher.image_bytes, searcher.collection.vector):
                with pytest.raises(NoImageError):
                    ask(missing)
        found = {hit.image_id for row in searcher.neighbours(queries(searcher, BASE), 40) for hit in row}
        assert not found & set(gone)
    back = other.add([("x.png", BASE[4][1], None), ("y.png", NEW[0][1], None)])
    assert [(done.status, done.image_id) for done in back] == [(Status.RESTORED, one) for one in gone]
    assert one.image_bytes(gone[0]) == BASE[4][1]
    assert one.image_bytes(gone[1]) == NEW[0][1]
    assert [row[0].image_id for row in one.neighbours(queries(one, [BASE[4], NEW[0]]), 1)] == gone


def test_a_new_version_has_what_was_added_and_not_what_was_removed(opened: Open, tmp_path: Path) -> None:
    old = opened()
    added = old.add(NEW)
    gone = [image_id(BASE[7][0]), added[1].image_id]
    old.remove(gone)
    make_version(tmp_path, BASE, seed=7, mixed=True)  # another model
    new = opened()
    assert (new.version.name, len(new)) == ("v2", len(BASE) + len(NEW) - 2)
    for number in (0, 2, 3):
        assert (
            new.neighbours(queries(new, NEW[number : number + 1]), 1)[0][0].image_id == added[number].image_id
        )
    with pytest.raises(NoImageError):
        new.item(gone[0])
    store.rollback(tmp_path / "models", "")
    back = opened()
    assert (back.version.name, len(back)) == ("v1", len(new))


def test_what_is_asked_wrongly_is_said(opened: Open, tmp_path: Path) -> None:
    searcher = opened()
    for queries_ in (np.zeros((1, 5), np.float32), np.full((1, 12), np.nan, np.float32)):
        with pytest.raises(UdmlError, match="do not fit"):
            searcher.collection.search(queries_, 3)
    (tmp_path / "data" / "shards" / "000000.tar").unlink()
    with pytest.raises(GoneError, match="original of image"):
        searcher.image_bytes(image_id(BASE[2][0]))
