"""`udml search`: for scripts, for people, and with paths that are not what one meant."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.cli.workspace import workspace
from tests.conftest import ROOT
from tests.fixtures.models import pictures
from tests.fixtures.vectors import unit
from tests.serving.live import files, make_version
from udml import Searcher
from udml.cli import main
from udml.collection.overlay import Overlay, search_overlaid
from udml.search.gallery import search_base

__all__ = ["workspace"]


def test_json_is_an_object_a_query_in_the_order_given(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.jpg").write_text("no picture")
    Path("cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    given = ["new/002.png", "text.jpg", "one.png", "cut.jpg", "one.png"]
    assert main(["search", *given, "--json", "--all", "-k", "3"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["query"] for answer in answers] == given
    problems = [answer.get("problem") for answer in answers]
    assert problems[:3] == [None, "not_an_image", None]
    assert problems[3] in ("truncated", "corrupt")
    for answer in (answers[0], answers[2]):
        assert set(answer) == {"query", "version", "model_version", "threshold", "hits"}
        assert (answer["version"], answer["threshold"]) == ("workspace", None)
        assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
        assert set(answer["hits"][0]) == {"rank", "similarity", "id", "source", "label"}
        assert all(isinstance(hit["id"], str) and -1 <= hit["similarity"] <= 1 for hit in answer["hits"])
    assert answers[2] == answers[4]
    documented = (ROOT / "docs" / "search.md").read_text()
    for field in {*answers[0], *answers[1]}:
        assert f"`{field}`" in documented
    for field in answers[0]["hits"][0]:
        assert f"`hits[].{field}`" in documented


NAMES = [
    b"latin \xe9.png",
    b"two\nlines.png",
    "\u202egpj.png".encode(),
    "Größe 大.png".encode(),
    b"red \x1b[31m.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_json_takes_any_name(name: bytes, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = os.fsdecode(name)
    Image.fromarray(pictures(1, seed=7)[0]).save(picture)
    assert main(["search", picture, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out)["query"] == name.decode("utf-8", "backslashreplace")
    json.loads(out)["query"].encode("utf-8")  # no half of a pair, which strict readers refuse


@pytest.mark.parametrize(
    "name", ["a.png", "name of many letters that fits into no square of a strip.png", "大.png"]
)
def test_the_strip_has_rank_similarity_and_name_and_stays_out_of_the_json(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def noting(self: ImageDraw.ImageDraw, place: tuple[int, int], text: str, *more: object) -> None:
        written.append(text)
        draw(self, place, text, *more)  # type: ignore[arg-type]

    base = files(6, seed=1, prefix="base")
    make_version(tmp_path, [(f"far/{name}", base[0][1], None), *base[1:]])
    (tmp_path / name).write_bytes(base[0][1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noting)
    assert main(["search", name, "-k", "3", "--json", "--picture", "found.jpg"]) == 0
    said = capsys.readouterr()
    hits = json.loads(said.out)["hits"]
    assert "found.jpg" in said.err
    assert Image.open("found.jpg").width > 4 * 160
    assert written[0] == "query"
    assert written[2::2] == [f"{hit['rank']}.  {hit['similarity']:.4f}" for hit in hits]
    sources = [name, *(hit["source"] for hit in hits)]
    for text, source in zip(written[1::2], sources, strict=True):
        assert source.endswith(text.removeprefix("..."))
        assert text == source or len(text) > 15
    assert main(["search", name, "-k", "3", "--picture", "found.jpg"]) == 0
    assert "as a picture: found.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["search", "report", "embed", "monitor", "index add"])
def test_unusable_files_are_counted_and_the_first_named(
    command: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "register"]) == main(["models", "promote", "v1"]) == 0
    for number in range(30):
        Path(f"new/broken-{number:02d}.jpg").write_bytes(b"text" if number % 3 else b"")
    capsys.readouterr()
    options = ["--out", "vectors.npy"] if command == "embed" else []
    assert main([*command.split(), "new", *options]) == (4 if command == "monitor" else 0)
    said = capsys.readouterr().err
    assert said.count("left out new/broken-") + said.count("left out broken-") == 10
    assert (
        "left out 30 files in all: 20 because the file is not an image of a known format; "
        "10 because the file is empty"
    ) in said


@pytest.mark.parametrize(
    "command",
    [
        ["search", ""],
        ["report", "one.png", ""],
        ["embed", "", "--out", "a.npy"],
        ["monitor", ""],
        ["index", "add", ""],
        ["data", "import", ""],
        ["serve", "--keys", ""],
        ["keys", "list", "--file", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    command: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(workspace.rglob("*"))
    with pytest.raises(SystemExit):
        main(command)
    assert "an empty name is neither a file nor a folder" in capsys.readouterr().err
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize("seed", range(3))
def test_a_similarity_is_never_above_one(seed: int) -> None:
    """Rounding makes the product of a unit vector with itself 1.0000001 for about every third one."""
    faiss = pytest.importorskip("faiss")
    from udml.search.gallery import GalleryIndex, IndexInfo

    vectors = unit(np.random.default_rng(seed).standard_normal((500, 64)))
    assert np.einsum("nd,nd->n", vectors, vectors).max() > 1
    flat = faiss.IndexFlatIP(64)
    flat.add(vectors)
    for exact in (None, vectors):
        similarity, positions = search_base(flat, vectors, 3, exact)
        assert (positions[:, 0] == np.arange(500)).all()
        assert similarity.max() == 1
    assert search_base(flat, -vectors, 500)[0].min() == -1
    ids = np.arange(500)
    index = GalleryIndex(IndexInfo("m", "d", "flat", 64, 500, 1.0, {}), ids, None, flat)
    overlay = Overlay(1, ids + 500, vectors, vectors, np.empty(0, np.int64))
    similarity, found = search_overlaid(index, overlay, vectors, 2)
    assert (np.sort(found, axis=1) == np.stack([ids, ids + 500], axis=1)).all()
    assert similarity.max() == 1


def test_an_empty_collection_is_said(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Searcher, "neighbours", lambda self, vectors, *_, **__: [[] for _ in vectors])
    assert main(["search", "one.png", "--all"]) == 0
    assert "the collection holds no other image" in capsys.readouterr().out
    assert main(["search", "one.png"]) == 0
    assert "nothing is as similar as 0." in capsys.readouterr().out


def test_json_of_a_query_of_several_pictures(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["new/000.png", "new/001.png"]
    assert main(["search", *asked, "--together", "--json", "-k", "3"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    answer = json.loads(line)
    assert answer["threshold"] is None
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["query"] == " + ".join(asked)
