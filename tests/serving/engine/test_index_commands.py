import os
from pathlib import Path

import pytest

from tests.serving.live import files, make_version
from udml import Searcher, UdmlError
from udml.cli import main
from udml.data.identity import image_id

BASE = files(12, seed=1, prefix="base")
NEW = files(5, seed=2, prefix="more")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    make_version(tmp_path, BASE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("udml.serving.engine.index_commands._FILES_AT_ONCE", 3)
    for source, data, _ in NEW:
        path = tmp_path / "photos" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def test_add_remove_compact(workspace, capsys):
    (workspace / "photos" / "broken.jpg").write_bytes(b"nothing")
    (workspace / "photos" / ".hidden.png").write_bytes(NEW[0][1])
    assert main(["index", "add", "photos"]) == 0
    said = capsys.readouterr()
    assert "5 added, 1 refused" in said.out
    assert "v1 has 17 images" in said.out
    assert "left out broken.jpg: the file is not an image" in said.err
    assert main(["index", "add", "photos/more/000.png"]) == 0
    assert "1 present" in capsys.readouterr().out
    assert main(["index", "remove", NEW[1][0], str(image_id(BASE[0][0]))]) == 0
    assert "removed 2; the collection has 15 images" in capsys.readouterr().out
    assert main(["index", "remove", NEW[1][0]]) == 1
    assert f"no image {NEW[1][0]}" in capsys.readouterr().err
    assert main(["search", "photos/more/002.png", "-k", "1", "--version", "champion"]) == 0
    assert NEW[2][0] in capsys.readouterr().out
    assert main(["index", "compact", "--min-share", "0.99"]) == 0
    assert "too little" in capsys.readouterr().out
    assert main(["index", "compact"]) == 0
    assert "the champion is v2, 15 images" in capsys.readouterr().out


def test_below_the_threshold_there_is_no_match(tmp_path, monkeypatch, capsys):
    make_version(tmp_path, BASE, no_match_below=0.99)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known.png").write_bytes(BASE[3][1])
    (tmp_path / "new.png").write_bytes(NEW[0][1])
    search = ["search", "known.png", "new.png", "--version", "champion", "-k", "12"]
    assert main(search) == 0
    known, new = capsys.readouterr().out.split("new.png")
    assert BASE[3][0] in known
    assert "no match" not in known
    assert "no match: nothing is as similar as 0.9900" in new
    assert main([*search, "--all"]) == 0
    said = capsys.readouterr().out
    assert "no match" not in said
    assert said.count("base/") == 24
    assert main(["report", "known.png", "new.png", "--version", "champion", "--out", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "new.png</b>: no match" in page
    assert "known.png</b></figcaption>" in page


def test_what_cannot_be_added_is_said(workspace, capsys, monkeypatch):
    assert main(["index", "add", "nowhere"]) == 1
    assert "no such file or folder: nowhere" in capsys.readouterr().err
    (workspace / "photos" / "text.txt").write_text("no picture")
    assert main(["index", "add", "photos/text.txt"]) == 1
    assert "none of these files" in capsys.readouterr().err
    monkeypatch.setattr("udml.serving.engine.index_commands.MAX_FILE_BYTES", 3)
    assert main(["index", "add", "photos/text.txt"]) == 1
    assert "larger than allowed" in capsys.readouterr().err


def test_the_flow_adds_and_compacts(workspace):
    from udml.flows.reindex import add, compact

    add.fn("photos")
    compact.fn(0.9)
    with Searcher.open("models/champion") as opened:
        assert (opened.version.name, len(opened)) == ("v1", 17)
    compact.fn(0.1)
    with Searcher.open("models/champion") as opened:
        assert (opened.version.name, len(opened)) == ("v2", 17)
    with pytest.raises(UdmlError, match="no such file"):
        add.fn("nowhere")


def test_names_that_are_not_utf8_or_not_for_terminals(workspace, capsys):
    names = [os.fsdecode(name) for name in (b"latin \xe9.png", b"red \x1b[31m.png", "\u202egpj.png".encode())]
    (workspace / "odd").mkdir()
    for name, (_, data, _) in zip(names, NEW, strict=False):
        (workspace / "odd" / name).write_bytes(data)
    (workspace / "odd" / os.fsdecode(b"bad \xff\x1b[2J.jpg")).write_bytes(b"nothing")
    version = ["--version", "champion"]
    for command in (
        ["index", "add", "odd"],
        ["search", "odd", *version],
        ["report", "odd", *version, "--out", "page.html"],
    ):
        assert main(command) == 0
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        assert "\u202e" not in said.out + said.err
        (said.out + said.err).encode("utf-8")
        assert "bad \\xff\\x1b[2J.jpg" in said.err
    page = (workspace / "page.html").read_text(encoding="utf-8")
    assert "latin \\xe9.png" in page
    assert "\x1b" not in page


def test_a_photo_library_as_it_lies_on_a_nas(workspace, capsys):
    library = workspace / "library"
    for name, (_, data, _) in zip(("2019/a.png", "b.png", "@eaDir/b.png", "._b.png"), NEW, strict=False):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_bytes(data)
    for name in ("Thumbs.db", "b.png.json", "b.xmp", "c.mov", "notes.txt"):
        (library / name).write_bytes(b"{}")
    (library / "out").symlink_to(workspace / "photos")
    assert main(["index", "add", "library", "--exclude", "2019"]) == 0
    said = capsys.readouterr()
    assert "1 added" in said.out
    for words in (
        "Synology",
        "Mac",
        "Thumbs.db",
        "notes of photo programs",
        "videos",
        "notes.txt",
        "--exclude",
    ):
        assert words in said.err
    assert "1 links that lead out of the folder (--follow-links follows them), first out -> " in said.err
    assert main(["index", "add", "library", "--follow-links"]) == 0
    assert "4 added, 3 present" in capsys.readouterr().out


def test_two_cards_with_files_of_the_same_names(workspace, capsys):
    for card, (_, data, _) in zip(("A", "B", "C"), NEW, strict=False):
        (workspace / card).mkdir()
        (workspace / card / "IMG_0001.PNG").write_bytes(data)
    assert main(["index", "add", "A", "B", "C"]) == 0
    said = capsys.readouterr().out
    assert "3 added" in said
    assert "IMG_0001.PNG is called IMG_0001-2.PNG: the name was taken" in said
    assert "IMG_0001-3.PNG" in said


def test_a_phone_that_calls_every_photo_the_same(workspace, capsys):
    for number, (_, data, _) in enumerate(files(15, seed=4)):
        (workspace / "phone" / str(number)).mkdir(parents=True)
        (workspace / "phone" / str(number) / "image.png").write_bytes(data)
    folders = [f"phone/{number}" for number in range(15)]
    assert main(["index", "add", *folders]) == 0
    said = capsys.readouterr().out
    assert said.count("image.png is called image-") == 10
    assert "14 files in all got another name" in said
    assert "15 added\n" in said


def test_one_unreadable_file_does_not_stop_the_others(workspace, capsys, monkeypatch):
    read = Path.read_bytes

    def guarded(path):
        if path.name == "002.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert main(["index", "add", "photos"]) == 0
    said = capsys.readouterr()
    assert "4 added, 1 refused" in said.out
    assert "002.png: the file cannot be read from disk: Permission denied" in said.err
