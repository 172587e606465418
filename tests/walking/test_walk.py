"""The walker: links, folders that can't be read, what lies among photos, and what a person leaves out."""

import os
from pathlib import Path

import pytest

from udml.errors import UdmlError
from udml.pixels import Reason
from udml.walking.clutter import file_kind, folder_kind, is_no_picture
from udml.walking.given import given_files
from udml.walking.rules import WalkRules
from udml.walking.walk import AGAIN, EXCLUDED, HIDDEN, LEADS_OUT, NO_PICTURE, LeftOut, walk

JPEG = b"\xff\xd8\xff\xe0 photo"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)
    return root


def found(root: Path, **rules: object) -> tuple[list[str], dict[str, int]]:
    left_out = LeftOut()
    names = [item.relative for item in walk(root, WalkRules(**rules), left_out)]  # type: ignore[arg-type]
    return names, dict(left_out.counts)


def test_folders_behind_links_inside_are_walked_once(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "real/a.jpg", ".store/b.jpg", ".store/deep/c.jpg")
    (root / "link").symlink_to(".store")
    (root / "again").symlink_to("real")
    (root / "absolute").symlink_to(root / ".store" / "deep")
    (root / "real" / "up").symlink_to("..")
    names, left_out = found(root)
    assert sorted(os.path.basename(name) for name in names) == ["a.jpg", "b.jpg", "c.jpg"]
    assert left_out[HIDDEN] == 1
    assert left_out[AGAIN] == 3  # again, real/up, and of absolute and link/deep the second


@pytest.mark.parametrize("target", ["outside", "outside/deep"])
def test_links_that_lead_out_are_counted_and_followed_on_request(tmp_path: Path, target: str) -> None:
    touch(tmp_path / "outside", "x.jpg", "deep/y.jpg")
    root = touch(tmp_path / "root", "a.jpg")
    (root / "far").symlink_to(tmp_path / target)
    (root / "twice").symlink_to(tmp_path / target)
    (root / "file.jpg").symlink_to(tmp_path / "outside" / "x.jpg")
    (tmp_path / "outside" / "back").symlink_to(root)
    left_out = LeftOut()
    assert [item.relative for item in walk(root, WalkRules(), left_out)] == ["a.jpg"]
    assert left_out.counts == {LEADS_OUT: 3}
    assert "far -> " in left_out.lines()[0]
    assert "--follow-links" in left_out.lines()[0]
    names, counts = found(root, follow_links=True)
    assert "file.jpg" in names
    assert sum(name.endswith("y.jpg") for name in names) == 1
    assert counts[AGAIN] >= 1


def test_links_to_files_inside_are_read_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    root = touch(tmp_path, ".git/annex/objects/1.jpg", "b.jpg")
    (root / "a.jpg").symlink_to(".git/annex/objects/1.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "circle.jpg").symlink_to("circle.jpg")
    problems = {item.relative: item.problem for item in walk(root, WalkRules(), LeftOut())}
    missing = Reason.MISSING
    assert problems == {"a.jpg": None, "b.jpg": None, "gone.jpg": missing, "circle.jpg": missing}


def test_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg", "locked/b.jpg", "deep/locked/c.jpg")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith(("locked", "root")):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("udml.walking.walk.os.scandir", guarded)
    problems = {item.relative: item.problem for item in walk(tmp_path, WalkRules(), LeftOut())}
    assert problems == {"a.jpg": None, "locked/": Reason.UNREADABLE, "deep/locked/": Reason.UNREADABLE}
    (tmp_path / "root").mkdir()
    with pytest.raises(UdmlError, match=r"cannot read .*root: Permission denied"):
        list(walk(tmp_path / "root", WalkRules(), LeftOut()))


CLUTTER = (
    "@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "2019/@eaDir/IMG_2.jpg/SYNOPHOTO_THUMB_M.jpg",
    ".picasaoriginals/IMG_1.jpg",
    "2019/.@__thumb/default1.jpg",
    "__MACOSX/._IMG_1.jpg",
    "#recycle/old.jpg",
    "$RECYCLE.BIN/old.jpg",
    "Catalog Previews.lrdata/1.jpg",
    "._IMG_1.jpg",
    "Thumbs.db",
    "2019/.DS_Store",
    "desktop.ini",
    "Picasa.ini",
    "IMG_1.jpg.json",
    "metadata.json",
    "IMG_1.xmp",
    "IMG_1.AAE",
    "MVI_1.THM",
    "IMG_1.MOV",
    "clip.mp4",
)


def test_clutter_of_photo_libraries_is_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "IMG_1.jpg", "2019/IMG_2.JPG", "2019/IMG_3.heic", *CLUTTER)
    for name in ("readme.txt", "list.csv", "index.html"):
        (tmp_path / name).write_text("<html>words</html>")
    left_out = LeftOut()
    names = [item.relative for item in walk(tmp_path, WalkRules(), left_out)]
    assert names == ["2019/IMG_2.JPG", "2019/IMG_3.heic", "IMG_1.jpg"]
    assert left_out.counts.total() == len(CLUTTER) + 3
    assert left_out.counts[NO_PICTURE] == 3
    text = "\n".join(left_out.lines())
    for word in (
        "Synology",
        "Picasa",
        "QNAP",
        "recycle",
        "Lightroom",
        "Mac",
        "Thumbs.db",
        "Takeout",
        "videos",
    ):
        assert word in text


@pytest.mark.parametrize("name", CLUTTER)
def test_each_kind_of_clutter_is_known_by_its_name(name: str) -> None:
    *folders, last = name.split("/")
    assert file_kind(last) or any(folder_kind(folder) for folder in folders)


def test_what_is_a_picture_by_name_or_content_stays(tmp_path: Path) -> None:
    contents = {
        "no_suffix": JPEG,
        "wrong.txt": b"\x89PNG\r\n\x1a\n",
        "photo.dat": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "page.jpg": b"<!DOCTYPE html>",
        "empty.jpg": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert sorted(found(tmp_path)[0]) == sorted(contents)
    for name, content in {
        "a.bin": bytes(9),
        "empty": b"",
        "b.docx": b"PK\3\4",
        "c.svg.txt": b"<svg>",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert is_no_picture(str(tmp_path / name))


@pytest.mark.parametrize(
    ("globs", "left"),
    [
        ((), ["a/1.jpg", "a/2.png", "b/thumb/3.jpg", "b/x_small.jpg"]),
        (("*.png",), ["a/1.jpg", "b/thumb/3.jpg", "b/x_small.jpg"]),
        (("thumb",), ["a/1.jpg", "a/2.png", "b/x_small.jpg"]),
        (("thumb/", "*_small.*"), ["a/1.jpg", "a/2.png"]),
        (("a/*",), ["b/thumb/3.jpg", "b/x_small.jpg"]),
        (("/a",), ["b/thumb/3.jpg", "b/x_small.jpg"]),
        (("*", "!*.png", "!a/"), ["a/2.png"]),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_globs_leave_out(tmp_path: Path, globs: tuple[str, ...], left: list[str], by_file: bool) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.png", "b/thumb/3.jpg", "b/x_small.jpg")
    if by_file:
        (tmp_path / ".udmlignore").write_text("\ufeff# what to leave out\n\n" + "\n".join(globs) + "\n")
    names, counts = found(tmp_path, exclude=() if by_file else globs)
    assert names == left
    assert (EXCLUDED in counts) == bool(globs)


def test_an_ignore_file_speaks_of_its_own_folder_and_lets_clutter_in(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/c/1.jpg", ".hidden/2.jpg")
    (tmp_path / "b" / ".udmlignore").write_text("/1.jpg\n")
    (tmp_path / ".udmlignore").write_text("!.hidden\n")
    assert found(tmp_path)[0] == [".hidden/2.jpg", "a/1.jpg", "b/c/1.jpg"]


def test_given_files_take_what_is_named_and_say_what_they_leave_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = touch(tmp_path / "root", "a.jpg", "b/Thumbs.db")
    (root / "gone.jpg").symlink_to("nowhere")
    odd = touch(tmp_path, "named.txt") / "named.txt"
    assert [item.relative for item in given_files([root, odd], WalkRules())] == ["a.jpg", "named.txt"]
    said = capsys.readouterr().err
    assert "left out 1 settings and thumbnails" in said
    assert "gone.jpg" in said
    for nothing in ([tmp_path / "no"], [touch(tmp_path / "only", "Thumbs.db")]):
        with pytest.raises(UdmlError, match=r"no such file|no pictures"):
            given_files(nothing, WalkRules())
