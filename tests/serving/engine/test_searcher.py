import gc
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.serving.live import files, make_version, png
from udml import Searcher, UdmlError
from udml.collection.outcome import Status
from udml.data.identity import image_id
from udml.files import read_json, write_json
from udml.registry import store
from udml.registry.bundle import record
from udml.registry.chosen import Chosen

BASE = files(20, seed=1, prefix="base")
NEW = files(10, seed=2)


@pytest.fixture
def root(tmp_path):
    make_version(tmp_path, BASE)
    return tmp_path


def open_champion(root):
    return Searcher.open(root / "models" / "champion", data=root / "data", threads=1)


@pytest.fixture
def searcher(root):
    with open_champion(root) as opened:
        yield opened


def first(searcher, data):
    """The nearest image of a file's bytes."""
    return searcher.neighbours(searcher.embed_images([searcher.decode(data)]), 1)[0][0]


def test_search_with_a_file(searcher, tmp_path):
    (tmp_path / "query.png").write_bytes(BASE[7][1])
    hits = searcher.search(tmp_path / "query.png", k=3)
    assert (hits[0].source, hits[0].label, hits[0].image_id) == (BASE[7][0], BASE[7][2], image_id(BASE[7][0]))
    assert hits[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert searcher.search(tmp_path / "query.png", k=100, threshold=0.999)[0] == hits[0]
    assert not searcher.search(tmp_path / "query.png", threshold=1.1)
    (tmp_path / "query.png").write_bytes(b"no picture")
    with pytest.raises(UdmlError, match="not_an_image"):
        searcher.search(tmp_path / "query.png")
    with pytest.raises(UdmlError, match="at least 1"):
        searcher.neighbours(np.zeros((1, 12), np.float32), 0)


def test_what_is_added_is_found_here_and_after_a_restart(root, searcher):
    before = searcher.version
    assert (before.name, before.data_version, before.revision) == ("v1", "data-0", 0)
    added = searcher.add(NEW)
    assert [a.status for a in added] == [Status.ADDED] * len(NEW)
    assert [a.image_id for a in added] == [image_id(source) for source, _, _ in NEW]
    assert (searcher.version.revision, len(searcher)) == (1, 30)
    with open_champion(root) as again:
        for opened in (searcher, again):
            for source, data, label in NEW:
                hit = first(opened, data)
                assert (hit.source, hit.label) == (source, label)
                assert hit.similarity == pytest.approx(1.0, abs=1e-5)
                assert opened.image_bytes(hit.image_id) == data
                assert opened.item(hit.image_id).label == label


def test_the_merged_answer_is_the_exact_one(searcher):
    searcher.add(NEW)
    searcher.remove([image_id(BASE[3][0]), image_id(NEW[4][0])])
    there = [f for f in BASE + NEW if f not in (BASE[3], NEW[4])]
    vectors = searcher.embed_images([searcher.decode(data) for _, data, _ in there])
    ids = np.array([image_id(source) for source, _, _ in there])
    queries = searcher.embed_images([searcher.decode(data) for _, data, _ in BASE + NEW])
    similarity = queries @ vectors.T
    for k in (1, 5, len(there), 500):
        found = searcher.neighbours(queries, k)
        for row, hits in enumerate(found):
            order = np.argsort(-similarity[row])[:k]
            np.testing.assert_allclose([h.similarity for h in hits], similarity[row, order], atol=1e-5)
            assert {h.image_id for h in hits} <= set(ids.tolist())
            assert len(hits) == min(k, len(there))


def test_the_same_bytes_are_not_embedded_again(searcher, monkeypatch):
    searcher.add(NEW[:2])
    monkeypatch.setattr(type(searcher.embedder), "embed", None)  # calling it would fail
    again = searcher.add([BASE[0], ("another name.png", NEW[1][1], None)])
    assert [a.status for a in again] == [Status.PRESENT] * 2
    assert [a.image_id for a in again] == [image_id(BASE[0][0]), image_id(NEW[1][0])]
    assert searcher.version.revision == 1


def test_within_one_call_the_first_of_equal_files_counts(searcher):
    added = searcher.add([NEW[0], ("copy.png", NEW[0][1], None), (NEW[0][0], NEW[1][1], None)])
    assert [a.status for a in added] == [Status.ADDED, Status.PRESENT, Status.ADDED]
    assert added[1].image_id == added[0].image_id
    assert (added[2].source, added[2].name) == (NEW[0][0], NEW[0][0].replace(".png", "-2.png"))
    assert added[2].image_id == image_id(added[2].name)
    assert added[1].name == added[0].name == NEW[0][0]


@pytest.mark.parametrize("name", ["image.jpg", "card/IMG_0001.JPG", "no suffix", ".hidden", "a.b.c/d"])
def test_a_name_that_is_taken_gets_a_number(searcher, name):
    stem, suffix = os.path.splitext(name)
    first_one = searcher.add([(name, NEW[0][1], None)])[0]
    later = searcher.add([(name, data, None) for _, data, _ in NEW[1:4]])
    assert [a.status for a in (first_one, *later)] == [Status.ADDED] * 4
    assert [a.name for a in (first_one, *later)] == [name, *(f"{stem}-{n}{suffix}" for n in (2, 3, 4))]
    assert [searcher.item(a.image_id).source for a in later] == [a.name for a in later]
    again = searcher.add([(name, NEW[2][1], None)])[0]
    assert (again.status, again.name) == (Status.PRESENT, f"{stem}-3{suffix}")


@pytest.mark.parametrize("which", [BASE[5], NEW[5]])
def test_what_was_removed_comes_back_under_its_id(root, searcher, which):
    source, data, _ = which
    searcher.add(NEW)
    key = image_id(source)
    searcher.remove([key])
    assert first(searcher, data).image_id != key
    for call in (searcher.item, searcher.image_bytes, lambda i: searcher.neighbours_of(i, 3)):
        with pytest.raises(UdmlError, match=f"no image {key}"):
            call(key)
    with pytest.raises(UdmlError, match=f"no image {key}"):
        searcher.remove([key])
    # its name is not free for anything else
    assert searcher.add([(source, files(1, seed=9)[0][1], None)])[0].name != source
    back = searcher.add([("under another name.png", data, None)])[0]
    assert (back.status, back.image_id) == (Status.RESTORED, key)
    with open_champion(root) as again:
        for opened in (searcher, again):
            assert first(opened, data).image_id == key
            assert opened.image_bytes(key) == data
            assert opened.item(key).source == source
            assert len(opened) == 31  # one came under the same name with a number


def test_removing_is_all_or_nothing(searcher):
    with pytest.raises(UdmlError, match="no image 77"):
        searcher.remove([image_id(BASE[0][0]), 77])
    assert len(searcher) == 20
    assert first(searcher, BASE[0][1]).source == BASE[0][0]


def test_everything_may_be_removed(searcher):
    searcher.remove([image_id(source) for source, _, _ in BASE])
    vectors = searcher.embed_images([searcher.decode(BASE[0][1])])
    assert searcher.neighbours(vectors, 5) == [[]]
    searcher.add(NEW[:1])
    assert [hit.source for hit in searcher.neighbours(vectors, 5)[0]] == [NEW[0][0]]


def test_a_file_that_cannot_be_used_is_refused_by_itself(searcher):
    added = searcher.add([("broken.jpg", b"\xff\xd8\xff no", None), NEW[0], ("", NEW[1][1], None)])
    assert [a.status for a in added] == [Status.REFUSED, Status.ADDED, Status.REFUSED]
    assert "damaged" in added[0].problem
    assert added[0].image_id is None
    assert len(searcher) == 21


def test_a_new_model_embeds_only_what_it_lacks(root, searcher, monkeypatch):
    searcher.add(NEW)
    make_version(root, BASE + NEW[:4], seed=5)
    embedded = []
    embed = type(searcher.embedder).embed
    monkeypatch.setattr(
        type(searcher.embedder),
        "embed",
        lambda self, images: embedded.append(len(images)) or embed(self, images),
    )
    for expected in ([1, 6], [1]):  # the first one is the warm-up
        embedded.clear()
        with open_champion(root) as opened:
            assert embedded == expected
            assert (opened.version.name, len(opened)) == ("v2", 30)
            for source, data, _ in NEW:
                assert first(opened, data).source == source
    searcher.add(files(2, seed=11, prefix="later"))  # by the old model, in the meantime
    with open_champion(root) as opened:
        assert len(opened) == 32
    store.rollback(root / "models", "")
    with open_champion(root) as opened:
        assert (opened.version.name, len(opened)) == ("v1", 32)


def test_two_searchers_see_each_other(root, searcher):
    with open_champion(root) as other:
        other.add(NEW[:3])
        assert first(searcher, NEW[1][1]).source == NEW[1][0]
        searcher.remove([image_id(NEW[1][0])])
        assert first(other, NEW[1][1]).source != NEW[1][0]
        assert searcher.version == other.version


def test_a_name_that_was_imported_since_with_another_content_is_the_imports(root, searcher):
    """Added, or removed, under a name; then a folder with another picture of that name is indexed."""
    searcher.add(NEW[:1])
    searcher.remove([image_id(BASE[0][0])])
    changed = [(BASE[0][0], NEW[5][1], None), (NEW[0][0], NEW[6][1], None), *BASE[1:]]
    make_version(root, changed, seed=0)
    with open_champion(root) as opened:
        assert len(opened) == len(changed)
        assert first(opened, NEW[5][1]).image_id == image_id(BASE[0][0])
        assert opened.image_bytes(image_id(NEW[0][0])) == NEW[6][1]
        assert opened.add([("elsewhere.png", NEW[0][1], None)])[0].status == Status.ADDED


def test_a_closed_one_lets_go_of_its_model_at_once(root):
    """Not when the garbage collector comes by: a service opens a model for every promotion."""
    gc.disable()
    try:
        opened = Searcher.open(root / "models" / "champion", root / "data")
        model = weakref.ref(opened.embedder)
        opened.close()
        with pytest.raises(UdmlError, match="closed"):
            opened.collection._embed([b""])
        del opened
        assert model() is None
    finally:
        gc.enable()


def test_neighbours_of_an_image_leave_itself_out(searcher):
    searcher.add(NEW)
    for source, data, _ in (BASE[2], NEW[2]):
        hits = searcher.neighbours_of(image_id(source), 4)
        vectors = searcher.embed_images([searcher.decode(data)])
        assert hits == [h for h in searcher.neighbours(vectors, 5)[0] if h.source != source]
        assert len(hits) == 4


def test_thumbnails_are_small_jpegs(searcher):
    big = png(np.zeros((300, 500, 3), np.uint8))
    key = searcher.add([("big.png", big, None)])[0].image_id
    picture = Image.open(io.BytesIO(searcher.thumbnail(key, 96)))
    assert (picture.format, picture.size) == ("JPEG", (96, 58))


def test_originals_that_are_not_what_was_indexed_are_refused(root, searcher):
    shard = next((root / "data").rglob("*.tar"))
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UdmlError, match="holds another import now"):
        searcher.image_bytes(image_id(BASE[0][0]))


def test_only_registered_versions_can_be_changed_and_damaged_ones_are_refused(root, tmp_path):
    with pytest.raises(UdmlError, match="no version at"):
        Searcher.open(tmp_path / "nowhere")
    version = root / "models" / "versions" / "v1"
    with Searcher.open(version, threads=1) as opened:
        assert opened.version.name == "v1"
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", version, copy], check=True)
    with Searcher.open(copy, threads=1) as opened, pytest.raises(UdmlError, match="can't be changed"):
        opened.add(NEW[:1])
    (copy / "metrics.json").chmod(0o644)
    (copy / "metrics.json").write_text("{}")
    with pytest.raises(UdmlError, match=r"metrics\.json was changed"):
        Searcher.open(copy)


@pytest.mark.parametrize("name", ["metrics.json", "index/index.faiss", "index/items.sqlite"])
def test_a_version_changed_together_with_its_manifest_is_refused(root, name):
    version = root / "models" / "versions" / "v1"
    for path in (version / name, version / "bundle.json"):
        path.chmod(0o644)
    (version / name).write_bytes((version / name).read_bytes() + b" ")
    told = read_json(version / "bundle.json")
    told["files"][name] = asdict(record(version / name))
    write_json(version / "bundle.json", told)
    for path in (version, root / "models" / "champion"):
        with pytest.raises(UdmlError, match=r"bundle\.json was changed"):
            Searcher.open(path)


@pytest.mark.parametrize("change", ["shorter", "empty", "longer", "flipped", "missing"])
@pytest.mark.parametrize("name", ["index.faiss", "items.sqlite", "mixed.npy"])
def test_a_workspaces_index_is_what_was_written_or_is_refused(tmp_path, name, change):
    make_version(tmp_path, BASE, mixed=True)
    index = tmp_path / "models" / "versions" / "v1" / "index"
    for path in (index, index / name):
        path.chmod(0o755)
    whole = (index / name).read_bytes()
    changed = {"shorter": whole[:-9], "empty": b"", "longer": whole + b"x", "flipped": whole[:-1] + b"\xf1"}
    (index / name).write_bytes(changed[change]) if change in changed else (index / name).unlink()
    unregistered = Chosen("workspace", index.parent / "model.onnx", index, None, "")
    with pytest.raises(UdmlError, match=r"missing|no index" if change == "missing" else re.escape(name)):
        Searcher.open(unregistered)


def test_readers_go_on_while_one_writes(searcher):
    """Four threads search while one adds and removes: every answer is whole, what stays is found."""
    stop, failures = threading.Event(), []
    queries = searcher.embed_images([searcher.decode(data) for _, data, _ in BASE])

    def read():
        while not stop.is_set():
            found = searcher.neighbours(queries, 5)
            if any(len(h) != 5 for h in found) or any(
                h[0].source != f[0] for h, f in zip(found, BASE, strict=True)
            ):
                failures.append(found)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            searcher.add(NEW)
            searcher.remove([image_id(source) for source, _, _ in NEW])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert (len(searcher), searcher.version.revision) == (20, 30)


def test_the_code_of_the_documentation_runs(root, monkeypatch, capsys):
    page = (ROOT / "docs" / "search.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(root)
    (root / "photo.jpg").write_bytes(BASE[4][1])
    exec(compile(code, "docs/search.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0] == f"1.000 {BASE[4][0]} {BASE[4][2]}"
    python = page.split("## From Python")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \|", python, re.MULTILINE)
    calls = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    assert calls <= set(dir(Searcher))
    assert {"search", "add", "thumbnail"} <= calls


def test_searching_needs_neither_torch_nor_table_libraries():
    code = (
        "import sys, udml.serving.engine.searcher, udml.serving.engine.search_page; "
        "print(sorted({'torch', 'pandas', 'pyarrow', 'prefect', 'dvc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("used_before", [True, False])
def test_a_forked_child_searches_and_adds(root, tmp_path, threads, used_before):
    """Threads of the parent, ONNX Runtime's and OpenMP's too, are not there in a child."""
    (tmp_path / "query.png").write_bytes(BASE[3][1])
    with Searcher.open(root / "models" / "champion", data=root / "data", threads=threads) as searcher:
        if used_before:
            assert [one.status for one in searcher.add(NEW[:3])] == [Status.ADDED] * 3
            searcher.search(tmp_path / "query.png")
        child = os.fork()
        if child == 0:
            try:
                added = searcher.add(NEW[3:6])
                found = [first(searcher, data).source for _, data, _ in NEW[3:6]]
                expected = [source for source, _, _ in NEW[3:6]]
                good = found == expected and {one.status for one in added} == {Status.ADDED}
                good &= searcher.search(tmp_path / "query.png")[0].source == BASE[3][0]
                os._exit(0 if good else 1)
            finally:
                os._exit(2)
        assert status_of(child) == 0
        assert first(searcher, NEW[4][1]).source == NEW[4][0]
        assert [one.status for one in searcher.add(NEW[6:])] == [Status.ADDED] * 4


def status_of(child):
    """The exit status of a forked child; one that hangs is ended."""
    deadline = time.monotonic() + 300
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(done[1])


def test_searching_prints_nothing_where_there_is_no_terminal(searcher, tmp_path, capfd):
    for row in range(3):
        (tmp_path / f"{row}.png").write_bytes(BASE[row][1])
    searcher.search(tmp_path / "0.png")
    searcher.embed([tmp_path / f"{row}.png" for row in range(3)])
    searcher.add(NEW[:2])
    assert capfd.readouterr() == ("", "")
