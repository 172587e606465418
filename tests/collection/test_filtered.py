"""Filters mean the same on both stores of a collection: FAISS with SQLite, and Milvus."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.lite import Lite
from tests.serving.live import files, make_version
from udml import Searcher
from udml.collection.shared.connection import Connection
from udml.collection.shared.filtering import among, columns, said
from udml.collection.shared.following import SharedStore, collection_of, push_champion
from udml.data.identity import folder_of, image_id
from udml.errors import UdmlError
from udml.registry import store
from udml.search.build import write_index
from udml.search.columns import Kind, columns_of, write_columns
from udml.serving.engine.shared import open_champion

BASE = files(30, seed=1, prefix="base")
NEW = files(6, seed=2)
KINDS: dict[str, Kind] = {
    "folder": "text",
    "taken": "time",
    "camera": "text",
    "label": "text",
    "number": "number",
}
FACTS = [
    {"folder": f"20{20 + row % 4}/trip", "label": label, "number": float(row)}
    for row, (_, _, label) in enumerate(BASE)
]
FILTERS: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("number >= 12", lambda one: (one["number"] or -1) >= 12),
    ("folder = '2021/*' and number > 4", lambda one: one["folder"] == "2021/trip" and one["number"] > 4),
    ("label in ('label-0', 'label-2')", lambda one: one["label"] in ("label-0", "label-2")),
    ("not label = 'label-1'", lambda one: one["label"] != "label-1"),
    ("number is missing", lambda one: one["number"] is None),
    ("taken is missing", lambda one: True),
    ("number = 29", lambda one: one["number"] == 29),
    ("number > 1000", lambda one: False),
]
Open = Callable[[], Searcher]


def put_columns(patch: pytest.MonkeyPatch) -> None:
    def with_columns(directory: Path, *what: Any) -> None:
        write_index(directory, *what)
        write_columns(directory, columns_of(FACTS, KINDS))

    patch.setattr("tests.serving.live.write_index", with_columns)


@pytest.fixture
def shared(lite: Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedStore:
    """A small registry at tmp_path whose champion's collection is in Milvus."""
    monkeypatch.chdir(tmp_path)
    put_columns(monkeypatch)
    make_version(tmp_path, BASE, mixed=True)
    found = SharedStore(lite.database())
    push(found)
    return found


def push(to: SharedStore) -> None:
    push_champion(Path("models"), store.version_directory(Path("models"), "champion"), to)


@pytest.fixture(params=["files", "milvus", "milvus, few at once"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the champion of a small registry, as often as wanted."""
    searchers: list[Searcher] = []
    shared = request.getfixturevalue("shared") if request.param != "files" else None
    if shared is None:
        monkeypatch.chdir(tmp_path)
        put_columns(monkeypatch)
        make_version(tmp_path, BASE, mixed=True)
    if "few" in request.param:  # as if there were many images: those left are not named in one request
        monkeypatch.setattr(among, "_NAMED_AT_ONCE", 4)

    def open_one() -> Searcher:
        if shared is None:
            searchers.append(Searcher.open(Path("models/champion"), Path("data"), 1))
        else:
            searchers.append(open_champion(shared, Path("models"), Path("data")))
        return searchers[-1]

    yield open_one
    for searcher in searchers:
        searcher.close()


def embed(searcher: Searcher, stored: list[tuple[str, bytes, str | None]]) -> np.ndarray:
    return searcher.embed_images([searcher.decode(data) for _, data, _ in stored])


def by_sorting(asked: np.ndarray, vectors: np.ndarray, ids: np.ndarray, k: int) -> list[list[int]]:
    return [ids[np.argsort(-(vectors @ one), kind="stable")][:k].tolist() for one in asked]


def test_a_filtered_search_is_filtering_and_then_sorting(opened: Open) -> None:
    searcher = opened()
    gone, added = [BASE[13], BASE[22]], searcher.add(NEW)
    for source, _, _ in gone:
        searcher.remove([image_id(source)])
    facts = dict(zip([image_id(source) for source, _, _ in BASE], FACTS, strict=True))
    for (source, _, label), done in zip(NEW, added, strict=True):
        assert done.image_id is not None
        facts[done.image_id] = {"folder": folder_of(source), "label": label, "number": None}
    for source, _, _ in gone:
        del facts[image_id(source)]
    asked = embed(searcher, NEW[:2] + BASE[:3])
    ids = np.array(list(facts), np.int64)
    vectors = searcher.collection.vectors(ids.tolist())
    assert set(searcher.collection.columns()) == set(KINDS)
    for where, meets in FILTERS:
        left = np.array([meets(facts[one]) for one in ids.tolist()])
        chosen = searcher.collection.choose(where)
        assert len(chosen) == left.sum()
        assert chosen.holds(ids.tolist()) == set(ids[left].tolist())
        for k in (1, 5, 100):
            found = searcher.neighbours(asked, k, refine="none", where=where)
            assert [[hit.image_id for hit in hits] for hits in found] == by_sorting(
                asked, vectors[left], ids[left], k
            )
        refined = searcher.neighbours(asked, 100, where=where)
        assert all({hit.image_id for hit in hits} == set(ids[left].tolist()) for hits in refined)


def test_what_one_adds_or_removes_is_filtered_by_another_at_once(opened: Open) -> None:
    one, other = opened(), opened()
    folder = folder_of(NEW[0][0])
    where = f"folder = '{folder}'"
    asked = embed(other, NEW[:1])
    assert other.neighbours(asked, 50, where=where) == [[]]
    added = [done.image_id for done in one.add(NEW)]
    assert {hit.image_id for hit in other.neighbours(asked, 50, where=where)[0]} == set(added)
    assert added[0] is not None
    one.remove([added[0]])
    assert {hit.image_id for hit in other.neighbours(asked, 50, where=where)[0]} == set(added[1:])
    one.add(NEW[:1])
    assert {hit.image_id for hit in other.neighbours(asked, 50, where=where)[0]} == set(added)


@pytest.mark.parametrize("where", ["number >", "owner = 'me'", "number > 'x'", "", "label = 'a' or"])
def test_a_wrong_filter_is_a_sentence(opened: Open, where: str) -> None:
    searcher = opened()
    with pytest.raises(UdmlError, match="the filter"):
        searcher.neighbours(embed(searcher, NEW[:1]), 5, where=where)


def test_a_version_pushed_before_there_were_filters_says_what_to_do(shared: SharedStore) -> None:
    name = collection_of(store.version_directory(Path("models"), "champion"))
    said.forget(Connection(shared.uri), [columns._head(name)])
    with open_champion(shared, Path("models"), Path("data")) as searcher:
        asked = embed(searcher, NEW[:1])
        assert len(searcher.neighbours(asked, 5)[0]) == 5
        with pytest.raises(UdmlError, match="index push"):
            searcher.neighbours(asked, 5, where="number > 3")
    push(shared)
    with open_champion(shared, Path("models"), Path("data")) as searcher:
        assert len(searcher.neighbours(asked, 100, where="number > 3")[0]) == len(BASE) - 4


def test_what_changes_while_filters_look_is_not_forgotten(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"folder = '{folder_of(NEW[0][0])}'"
    with open_champion(shared, Path("models"), Path("data")) as searcher:
        added = [done.image_id for done in searcher.add(NEW[:2])]
        rows, changes = Connection.rows, [lambda: searcher.remove(added[:1]), lambda: searcher.add(NEW[:1])]

        def rows_then_change(self: Connection, collection: str, ids: Any, fields: Any) -> Any:
            found = rows(self, collection, ids, fields)
            if changes and list(fields) == ["image_id", "source", "label"]:
                changes.pop(0)()
            return found

        monkeypatch.setattr(Connection, "rows", rows_then_change)
        for left in (added[1:], added):
            searcher.collection.choose(where)  # either it is seen at once, or the next one sees it
            assert searcher.collection.choose(where).holds(added) == set(left)
