import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tests.fixtures.kills import kill_again_and_again
from tests.serving.live import files, make_version
from udml import Searcher, UdmlError
from udml.data.identity import image_id
from udml.registry import store
from udml.registry.bundle import read_bundle
from udml.search.build import build, write_index
from udml.search.columns import value_at
from udml.search.gallery import open_index, vectors_of
from udml.serving.engine.compaction import compact

BASE = files(30, seed=1, prefix="base")
NEW = files(12, seed=2)
GONE = [BASE[0], BASE[17], NEW[3]]
KILLS = int(os.environ.get("UDML_KILLS", "20"))
LEFT = [f for f in BASE + NEW if f not in GONE]


@pytest.fixture
def root(tmp_path):
    make_version(tmp_path, BASE)
    with champion(tmp_path) as searcher:
        searcher.add(NEW)
        searcher.remove([image_id(source) for source, _, _ in GONE])
    return tmp_path


def champion(root):
    return Searcher.open(root / "models" / "champion", data=root / "data", threads=1)


def answers(searcher):
    """Ids and labels of everything in plain order, asked with every picture there ever was.

    By neighbourhoods the order is another once the removed ones have left them.
    """
    queries = searcher.embed_images([searcher.decode(data) for _, data, _ in BASE + NEW])
    found = searcher.neighbours(queries, 100, refine="none")
    return [[(hit.image_id, hit.label) for hit in hits] for hits in found]


def known(searcher):
    """What is known of every image besides its pixels, by id."""
    collection = searcher.collection
    overlay = collection.refresh()
    parts = (
        (collection.index.columns, collection.index.ids),
        (collection.added_columns.of(overlay), overlay.ids),
    )
    rows = {
        int(i): {name: value_at(column, row) for name, column in columns.items()}
        for columns, ids in parts
        for row, i in enumerate(ids)
    }
    return {i: row for i, row in rows.items() if i not in overlay.hidden}


def test_the_new_version_answers_as_the_old_one_did(root):
    models = root / "models"
    with champion(root) as old:
        before = answers(old)
        columns = known(old)
    (models / ".compact-killed" / "index").mkdir(parents=True)  # of a run that was
    new = compact(models, root / "data")
    assert not list(models.glob(".compact-*"))
    assert (new.name, new.images, new.compacted_from) == ("v2", len(LEFT), "v1")
    old_files, new_files = (read_bundle(models / "versions" / name).files for name in ("v1", "v2"))
    assert new_files["index/reference.npy"] == old_files["index/reference.npy"]
    assert new.git_revision == read_bundle(models / "versions" / "v1").git_revision
    assert store.champion_name(models) == "v2"
    assert store.verify(models, "v2") == new
    with champion(root) as opened:
        assert known(opened) == columns
        assert columns[image_id(NEW[0][0])]["label"] == NEW[0][2]
        assert "index/columns.json" in new_files
        overlay = opened.collection.refresh()
        assert (len(overlay.ids), len(overlay.hidden)) == (0, 0)
        assert opened.collection.index.info.additions_revision == 2
        assert answers(opened) == before
        for source, data, label in LEFT:
            assert opened.image_bytes(image_id(source)) == data
            assert opened.item(image_id(source)).label == label
    assert compact(models, root / "data") is None


def unverified(models, name):
    return read_bundle(models / "versions" / name)


def test_mixtures_are_to_the_bit_those_of_a_fresh_index_of_the_same_images(root, tmp_path, monkeypatch):
    params = root / "models" / "versions" / "v1" / "params.yaml"
    params.chmod(0o644)
    params.write_text(yaml.safe_dump({"index": {"mix_neighbours": True}}))
    monkeypatch.setattr("udml.serving.engine.searcher.verify", unverified)
    compact(root / "models", root / "data")
    with champion(root) as opened:
        index = opened.collection.index
        vectors = vectors_of(index, index.ids)
        built, _, _ = build([vectors], index.ids, "flat", None, 1.0)
        (tmp_path / "fresh").mkdir()
        write_index(tmp_path / "fresh", built, [vectors], index.info, [], mix_neighbours=True)
        again = open_index(tmp_path / "fresh", opened.embedder.card)
        assert replace(again.info, files={}) == replace(index.info, files={})
        assert again.mixed is not None
        assert again.mixed.tobytes() == index.mixed.tobytes()


def test_rolling_back_keeps_the_collection(root):
    compact(root / "models", root / "data")
    with champion(root) as opened:
        opened.remove([image_id(NEW[0][0])])
        opened.add([NEW[3], BASE[17]])  # back again, one that was added, one that was not
        assert opened.image_bytes(image_id(BASE[17][0])) == BASE[17][1]
        after = answers(opened)
    store.rollback(root / "models", "")
    with champion(root) as opened:
        assert opened.version.name == "v1"
        assert answers(opened) == after


def test_a_folded_image_can_be_removed_and_come_back(root):
    compact(root / "models", root / "data")
    source, data, _ = NEW[5]
    with champion(root) as opened:
        opened.remove([image_id(source)])
        assert opened.add([(source, data, None)])[0].status == "restored"
        assert opened.image_bytes(image_id(source)) == data
        overlay = opened.collection.refresh()
        assert (len(overlay.ids), len(overlay.hidden)) == (0, 0)


def test_too_little_is_left_alone(root):
    assert compact(root / "models", root / "data", min_share=0.9) is None
    assert compact(root / "models", root / "data", min_share=0.3).name == "v2"


def test_changes_while_it_runs_lie_over_the_new_version(root, monkeypatch):
    write = store.register

    def change_and_register(*arguments, **more):
        with champion(root) as other:
            other.remove([image_id(BASE[5][0]), image_id(NEW[5][0])])
            other.add(files(1, seed=8, prefix="late"))
        return write(*arguments, **more)

    monkeypatch.setattr(store, "register", change_and_register)
    compact(root / "models", root / "data")
    with champion(root) as opened:
        assert opened.version.name == "v2"
        assert len(opened) == len(LEFT) - 2 + 1
        assert {image_id(BASE[5][0]), image_id(NEW[5][0])}.isdisjoint(i for i, _ in answers(opened)[5])


def test_another_champion_in_the_meantime_stays(root, monkeypatch):
    write = store.register

    def promote_and_register(models, *arguments, **more):
        monkeypatch.undo()
        make_version(root, BASE, seed=4)
        return write(models, *arguments, **more)

    monkeypatch.setattr(store, "register", promote_and_register)
    with pytest.raises(UdmlError, match="made to replace v1, but the champion is v2 now"):
        compact(root / "models", root / "data")
    assert store.champion_name(root / "models") == "v2"
    assert not list((root / "models").glob(".compact-*"))


def test_large_collections_are_folded_chunk_by_chunk_into_their_kind(root, monkeypatch):
    params = root / "models" / "versions" / "v1" / "params.yaml"
    params.chmod(0o644)
    monkeypatch.setattr("udml.serving.engine.compaction._CHUNK_ROWS", 7)
    monkeypatch.setattr("udml.serving.engine.searcher.verify", unverified)
    # an older udml did not know every key of today's, and knew one that is gone
    index = {"exact_below": 10, "hnsw_below": 1000, "min_recall_at_10": 0.9, "gone": 1}
    params.write_text(yaml.safe_dump({"index": index}))
    with champion(root) as old:
        before = answers(old)
    compact(root / "models", root / "data")
    with champion(root) as opened:
        info = opened.collection.index.info
        assert (info.kind, info.count) == ("hnsw", len(LEFT))
        same = [len({*a[:10]} & {*b[:10]}) / 10 for a, b in zip(answers(opened), before, strict=True)]
        assert np.mean(same) > 0.9


def test_an_empty_collection_is_not_folded(root):
    with champion(root) as opened:
        opened.remove([image_id(source) for source, _, _ in LEFT])
    with pytest.raises(UdmlError, match="every image was removed"):
        compact(root / "models", root / "data")


def test_killed_twenty_times_it_ends_as_if_it_had_not_been(root, tmp_path_factory):
    undisturbed = tmp_path_factory.mktemp("copy") / "root"
    shutil.copytree(root, undisturbed, symlinks=True)
    compact(undisturbed / "models", undisturbed / "data")
    searching = ["udml.serving.engine.compaction", "udml.serving.engine.index_commands"]
    command = ["index", "compact", "--min-share", "0"]
    kill_again_and_again(root, command, "ln -sfn versions/v1 models/champion", KILLS, searching)
    ends = [place / "models" / "champion" / "index" for place in (undisturbed, root)]
    for name in ("index.faiss", "reference.npy"):
        first, second = ((end / name).read_bytes() for end in ends)
        assert first == second
    assert not list((root / "models").glob(".compact-*"))
    assert not list((root / "models" / "versions").glob(".*"))
