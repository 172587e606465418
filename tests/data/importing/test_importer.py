import errno
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from udml.data.identity import image_id
from udml.data.importing import importer as importing
from udml.data.importing import places
from udml.data.importing.importer import import_data
from udml.data.importing.manifest import MANIFEST_SCHEMA, read_manifest
from udml.data.shards import read_bytes
from udml.errors import UdmlError
from udml.pixels import Reason

GROCERY = Path(__file__).parents[4] / "shared" / "data" / "grocery"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b/c d.png", "b/ü\n.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 50, 0, 0)).save(root / name)
    (root / "empty.jpg").touch()
    (root / "notes.txt").write_text("hello")
    (root / "gone.jpg").symlink_to(root / "nowhere")
    return root


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project" / "data"


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_every_file_gets_a_row_and_its_bytes_come_back(photos: Path, data_root: Path) -> None:
    summary = import_data(photos, None, data_root)
    manifest = read_manifest(data_root)
    assert manifest.schema.equals(MANIFEST_SCHEMA, check_metadata=False)
    rows = {row["source"]: row for row in manifest.to_pylist()}
    assert set(rows) == {"a.png", "b/c d.png", "b/ü\n.png", "empty.jpg", "gone.jpg"}
    for source, row in rows.items():
        assert row["image_id"] == image_id(source)
        if row["shard"] >= 0:
            data = read_bytes(data_root, row["shard"], row["offset"], row["size_bytes"])
            assert data == (photos / source).read_bytes()
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
            assert row["problem"] is None
        else:
            assert (row["sha256"], row["offset"], row["size_bytes"]) == (None, -1, 0)
    assert rows["empty.jpg"]["problem"] == Reason.EMPTY
    assert rows["gone.jpg"]["problem"] == Reason.MISSING
    assert (summary.files, summary.stored, summary.shards) == (5, 3, 1)
    assert summary.problems == {"empty": 1, "missing": 1}
    assert summary.images == {("unassigned", "both"): 5}
    assert any("left out 1 no pictures" in line and "notes.txt" in line for line in summary.lines())
    assert any("1 not imported: the file is empty" in line for line in summary.lines())


def test_same_folder_gives_byte_identical_data_and_changes_change_the_version(
    photos: Path, data_root: Path
) -> None:
    first = import_data(photos, None, data_root)
    before = tree(data_root)
    os.utime(photos / "a.png", (1, 1))
    copied = photos.with_name("copy")
    shutil.copytree(photos, copied, symlinks=True)
    (data_root.parent / ".scratch" / "import-killed" / "data").mkdir(parents=True)
    assert import_data(copied, None, data_root) == first
    assert tree(data_root) == before
    assert _leftovers(data_root) == []
    (photos / "a.png").write_bytes(b"changed")
    assert import_data(photos, None, data_root).data_version != first.data_version


def test_metadata_names_layout_version_and_protocol(photos: Path, data_root: Path) -> None:
    summary = import_data(photos, "plain", data_root)
    metadata = read_manifest(data_root).schema.metadata
    assert metadata[b"layout"] == b"plain"
    assert metadata[b"data_version"].decode() == summary.data_version
    assert metadata[b"protocol"].decode() == summary.protocol
    assert len(summary.data_version) == 16


def test_a_manifest_brings_splits_roles_and_labels_and_survives_hostile_paths(
    photos: Path, data_root: Path
) -> None:
    os.mkfifo(photos / "pipe.png")
    (photos / "list.csv").write_text(
        "path,label,split,role\na.png,x,train,\nb/c d.png,y,test,query\n"
        "no.png,y,test,gallery\nb,z,,\npipe.png,z,,\nnul\0.png,z,,\n"
    )
    summary = import_data(photos / "list.csv", None, data_root)
    assert summary.images == {
        ("train", "both"): 1,
        ("test", "query"): 1,
        ("test", "gallery"): 1,
        ("unassigned", "both"): 3,
    }
    assert summary.labels == {"train": 1, "test": 1, "unassigned": 1}
    assert summary.problems == {"missing": 1, "unreadable": 3}


def test_files_too_large_to_be_photos_are_not_stored(
    photos: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_FILE_BYTES", 4)
    (photos / "tiny.jpg").write_bytes(b"abc")
    summary = import_data(photos, None, data_root)
    assert (summary.stored, summary.problems["too_large"]) == (1, 3)


def test_clear_refusals(photos: Path, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    for path, layout, message in (
        (tmp_path / "no", None, "does not exist"),
        (tmp_path / "void", None, "no files to import"),
        (photos / "a.png", None, "is a file"),
        (photos, "groceries", "did you mean `grocery`"),
        (photos, "places", "takes no folder"),
        (None, "cub", "needs a folder"),
    ):
        with pytest.raises(UdmlError, match=message):
            import_data(path, layout, data_root)
    assert not data_root.exists()


def test_the_project_does_not_swallow_itself(photos: Path, data_root: Path) -> None:
    import_data(photos, None, data_root)
    for path in (data_root, data_root.parent, data_root / "shards"):
        with pytest.raises(UdmlError, match="project's own"):
            import_data(path, "plain", data_root)


def test_wholly_missing_files(photos: Path, data_root: Path) -> None:
    (photos / "lost.csv").write_text("path\nx.png\ny.png\n")
    with pytest.raises(UdmlError, match=r"none of the 2 files .* is there"):
        import_data(photos / "lost.csv", None, data_root)


def _leftovers(data_root: Path) -> list[Path]:
    return list((data_root.parent / ".scratch").iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("bug")])
def test_a_crash_leaves_the_old_data(
    error: BaseException, photos: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_data(photos, None, data_root)
    before = tree(data_root)
    (photos / "new.png").write_bytes(b"new")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(importing.ShardWriter, "add", fail)
    expected = UdmlError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        import_data(photos, None, data_root)
    assert tree(data_root) == before
    assert _leftovers(data_root) == []


def test_too_little_space_is_said_before_anything_is_written(
    photos: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(photos)._replace(free=10)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UdmlError, match="GiB free"):
        import_data(photos, None, data_root)
    assert not data_root.exists()


def test_places_is_the_default(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACES_PER_SPLIT", 8)
    monkeypatch.setattr(places, "VIEWS_PER_PLACE", 2)
    summary = import_data(None, None, data_root)
    assert summary.layout == "places"
    assert summary.images == {("train", "both"): 16, ("test", "both"): 16}
    assert summary.labels == {"train": 8, "test": 8}
    assert summary.problems == {}
    assert _leftovers(data_root) == []


def test_read_manifest_refuses_what_is_none(data_root: Path) -> None:
    with pytest.raises(UdmlError, match="no data"):
        read_manifest(data_root)
    data_root.mkdir()
    (data_root / "manifest.parquet").write_bytes(b"nothing")
    with pytest.raises(UdmlError, match="cannot read"):
        read_manifest(data_root)
    pa.parquet.write_table(pa.table({"a": [1]}), data_root / "manifest.parquet")
    with pytest.raises(UdmlError, match="another version"):
        read_manifest(data_root)


def test_inside_a_dvc_repository_the_data_is_tracked(photos: Path, data_root: Path) -> None:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
    subprocess.run(command, cwd=data_root.parent, env=environment, check=True)
    import_data(photos, None, data_root)
    assert "path: data" in data_root.with_name("data.dvc").read_text()
    before = data_root.with_name("data.dvc").read_text()
    (photos / "a.png").write_bytes(b"changed")
    import_data(photos, None, data_root)
    assert data_root.with_name("data.dvc").read_text() != before


@pytest.mark.skipif(not GROCERY.is_dir(), reason="the Grocery Store Dataset is not at ../shared/data/grocery")
def test_the_real_grocery_store_dataset(data_root: Path) -> None:
    summary = import_data(GROCERY, None, data_root)
    assert (summary.files, summary.stored, summary.layout) == (5421, 5421, "grocery")
    assert summary.images == {("train", "both"): 3051, ("test", "query"): 1061, ("test", "gallery"): 1309}
    assert summary.labels == {"train": 41, "test": 40}


@pytest.mark.parametrize(
    "names", [("cat", "cat ", " cat", "cat\t"), ("caf\u00e9", "cafe\u0301"), ("\u00c5", "\u212b", "A\u030a")]
)
def test_labels_that_look_the_same_are_one(tmp_path: Path, data_root: Path, names: tuple[str, ...]) -> None:
    lines = ["path,label"]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{name}")
    (tmp_path / "list.csv").write_text("\n".join([*lines, "0.png.gone,  "]), encoding="utf-8")
    import_data(tmp_path / "list.csv", None, data_root)
    labels = read_manifest(data_root)["label"].to_pylist()
    assert len(set(labels[:-1])) == 1
    assert labels[-1] is None


@pytest.mark.parametrize(
    ("folders", "hint"), [(("2023", "2024", "2025"), "--layout plain"), ((".", "a/b"), "--layout classes")]
)
def test_a_guess_names_the_other_layout(
    tmp_path: Path, data_root: Path, folders: tuple[str, ...], hint: str
) -> None:
    for number, name in enumerate(folders * 2):
        (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "in" / name / f"{number}.png")
    assert any(hint in line for line in import_data(tmp_path / "in", None, data_root).lines())


LONE = {"notes.txt": "no pictures", "a/b.json": "notes of photo programs", ".a/b.png": "hidden", "a/": ""}


WHY = {
    "it holds files and no folders": ([], ["1.png", "2.png"]),
    "--layout says so": (["--layout"], ["a/1.png", "a/2.png"]),
    "no folder holds more than one image": ([], ["a/1.png", "b/2.png", "c/3.png"]),
    "only one folder holds more than one image": ([], ["a/1.png", "a/2.png", "c/3.png"]),
    "3.png lies in no folder": ([], ["a/1.png", "a/2.png", "b/1.png", "b/2.png", "3.png"]),
    "a/b/1.png lies deeper": ([], ["a/b/1.png", "a/b/2.png", "c/d/1.png"]),
    "the folders are called like splits": ([], ["train/1.png", "train/2.png", "val/3.png", "val/4.png"]),
    "at least two folders hold more than one": ([], ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]),
    "its folders are called train, val, test": ([], ["train/a/1.png", "val/a/2.png"]),
}


@pytest.mark.parametrize("why", WHY)
def test_why_a_layout_was_chosen_is_said(why: str, tmp_path: Path, data_root: Path) -> None:
    given, names = WHY[why]
    for number, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "in" / name)
    lines = import_data(tmp_path / "in", "plain" if given else None, data_root).lines()
    assert lines[1].startswith("  chosen because ")
    assert why in lines[1]


@pytest.mark.parametrize("name", LONE)
@pytest.mark.parametrize("layout", [None, "plain", "classes"])
def test_a_folder_without_a_picture_says_what_it_holds(
    name: str, layout: str | None, tmp_path: Path, data_root: Path
) -> None:
    (tmp_path / "in" / name).parent.mkdir(parents=True)
    if not name.endswith("/"):
        (tmp_path / "in" / name).write_text("words")
    with pytest.raises(UdmlError, match=rf"no files to import[\s\S]*{LONE[name]}"):
        import_data(tmp_path / "in", layout, data_root)
    assert not data_root.exists()


def test_dvc_says_in_its_own_words_why_it_failed(photos: Path, data_root: Path) -> None:
    (data_root.parent / ".dvc").mkdir()
    with pytest.raises(UdmlError, match=r"`dvc add data` failed: ERROR: [\s\S]*(git|DVC) repository"):
        import_data(photos, None, data_root)


def test_data_behind_a_link_stay_there_and_it_is_said(photos: Path, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    data_root.symlink_to(tmp_path / "disk" / "data")
    for _ in range(2):
        summary = import_data(photos, None, data_root)
        assert data_root.is_symlink()
        assert read_manifest(data_root).num_rows == summary.files
        assert any("data is a link: DVC tracks nothing behind one" in line for line in summary.lines())
        assert not [path for path in (tmp_path / "disk").iterdir() if path.name.endswith(".old")]


@pytest.fixture
def tracked(photos: Path, data_root: Path) -> Path:
    """Where data go in a DVC repository."""
    command = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
    subprocess.run(command, cwd=data_root.parent, check=True)
    return data_root


@pytest.mark.parametrize("cause", ["its lock is held", "its cache cannot be written"])
def test_why_dvc_tracks_nothing_is_never_left_open(cause: str, tracked: Path, photos: Path) -> None:
    project = tracked.parent
    lock = project / ".dvc" / "tmp" / "lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        if cause == "its lock is held":
            fcntl.flock(file, fcntl.LOCK_EX)
        else:  # nobody, root neither, can make a folder there
            config = "[core]\n    no_scm = true\n[cache]\n    dir = /proc/cache\n"
            (project / ".dvc" / "config").write_text(config)
        with pytest.raises(UdmlError) as raised:
            import_data(photos, None, tracked)
    said = raised.value.what.removeprefix("the images are imported, but `dvc add data` failed: ")
    assert said.startswith("ERROR: ")
    assert ("lock" if "lock" in cause else "/proc/cache") in said
    assert "Having any troubles" not in said
    assert raised.value.hint == "mend that, then run `dvc add data`"
    assert (tracked / "manifest.parquet").exists()


def test_imports_at_once_take_turns(photos: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, store = [], importing._import

    def watched(*arguments: Any) -> Any:
        inside.append(len(list(data_root.parent.glob(".scratch/import-*"))))
        return store(*arguments)

    monkeypatch.setattr(importing, "_import", watched)
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(import_data, photos, None, data_root) for _ in range(4)]
        assert len({one.result().data_version for one in done}) == 1
    assert inside == [1] * 4
    assert tree(data_root)


@pytest.mark.parametrize("kind", ["device", "pipe", "socket", "folder"])
def test_a_manifest_that_names_what_is_no_file(photos: Path, data_root: Path, kind: str) -> None:
    place = photos / "odd.png"
    with socket.socket(socket.AF_UNIX) as opened:
        {
            "device": lambda: place.symlink_to("/dev/zero"),
            "pipe": lambda: os.mkfifo(place),
            "socket": lambda: opened.bind(str(place)),
            "folder": place.mkdir,
        }[kind]()
    (photos / "list.csv").write_text("path\na.png\nodd.png\n")
    import_data(photos / "list.csv", None, data_root)
    rows = {row["source"]: row["problem"] for row in read_manifest(data_root).to_pylist()}
    assert rows == {"a.png": None, "odd.png": str(Reason.UNREADABLE)}
