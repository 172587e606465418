"""`udml search` with several pictures as one query, and with a part of one."""

import numpy as np
import pytest
from PIL import Image

from tests.serving.live import files, make_version
from udml import Searcher
from udml.cli import main
from udml.cropping import Crop
from udml.search.mixed_query import mixed_query

BASE = files(12, seed=1, prefix="base")
NEW = files(4, seed=2)


@pytest.fixture
def queries(tmp_path, monkeypatch):
    make_version(tmp_path, BASE, no_match_below=0.9999)
    monkeypatch.chdir(tmp_path)
    names = []
    for number, (_, data, _) in enumerate([*NEW, BASE[0]]):
        names.append(f"q{number}.png")
        (tmp_path / names[-1]).write_bytes(data)
    return names


@pytest.fixture
def searcher(queries):
    with Searcher.open("models/champion") as opened:
        yield opened


def search(capsys, *options):
    """Answers by what was asked with, as the command prints them."""
    assert main(["search", *options, "--version", "champion"]) == 0
    answers, last = {}, None
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            last = answers.setdefault(line, [])
        elif "no match" not in line:
            last.append(line.split()[2])
    return answers


def vector(searcher, file, crop=None):
    return searcher.embed_images([searcher.decode(file[1], crop=crop)])[0]


def expected(searcher, query):
    return [hit.source for hit in searcher.neighbours(query[None], 8)[0]]


def test_several_files_are_answered_one_by_one_unless_asked_together(queries, searcher, capsys):
    assert search(capsys, *queries[:2], "--all") == {
        name: expected(searcher, vector(searcher, file)) for name, file in zip(queries, NEW[:2], strict=False)
    }
    mixed = mixed_query([vector(searcher, file) for file in NEW[:2]])
    assert search(capsys, *queries[:2], "--together") == {"q0.png + q1.png": expected(searcher, mixed)}


@pytest.mark.parametrize("together", [[], ["--together"]])
def test_pictures_to_stay_away_from(queries, searcher, capsys, together):
    like, away = [vector(searcher, file) for file in NEW[:2]], [vector(searcher, file) for file in NEW[2:4]]
    one = search(capsys, "q0.png", "--not", "q2.png", *together)
    assert one == {"q0.png, not q2.png": expected(searcher, mixed_query(like[:1], away[:1]))}
    several = search(capsys, "q0.png", "q1.png", "--not", "q2.png", "q3.png", *together)
    assert several == {"q0.png + q1.png, not q2.png, q3.png": expected(searcher, mixed_query(like, away))}


def test_no_match_is_said_of_single_pictures_only(queries, capsys):
    assert search(capsys, "q4.png") == {"q4.png": [BASE[0][0]]}
    assert search(capsys, "q0.png") == {"q0.png": []}
    assert len(search(capsys, "q0.png", "--not", "q1.png")["q0.png, not q1.png"]) == 8


@pytest.mark.parametrize("crop", ["0,0,0.5,0.5", "0.5,0,0.5,1"])
def test_a_part_of_a_picture(queries, searcher, capsys, crop):
    part = vector(searcher, NEW[0], Crop.parse(crop))
    assert search(capsys, "q0.png", "--crop", crop, "--all") == {"q0.png": expected(searcher, part)}
    mixed = mixed_query([part], [vector(searcher, NEW[1])])
    assert search(capsys, "q0.png", "--crop", crop, "--not", "q1.png") == {
        "q0.png, not q1.png": expected(searcher, mixed)
    }


def test_the_picture_of_a_crop_can_be_written(queries, tmp_path):
    command = [
        "search",
        "q0.png",
        "--crop",
        "0,0,1,0.5",
        "--all",
        "--picture",
        "out.jpg",
        "--version",
        "champion",
    ]
    assert main(command) == 0
    assert np.asarray(Image.open(tmp_path / "out.jpg")).shape[1] > 160


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["q0.png", "--not", "q0.png"], "nothing is left"),
        (["q0.png", "q1.png", "--not", "q1.png", "q0.png"], "nothing is left"),
        (["q0.png", "q1.png", "--crop", "0,0,1,1"], "--crop is for one picture"),
        (["q0.png", "--not", "missing.png"], "missing.png"),
        (["q0.png", "bad.png", "--together"], "bad.png"),
        (["bad.png", "--crop", "0,0,1,1"], "usable image"),
        (["q0.png", "--not", "q1.png", "--picture", "out.jpg"], "--picture is for one query"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(queries, tmp_path, capsys, options, said):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert main(["search", *options, "--version", "champion"]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--crop", "1,2"], ["--crop", "0,0,2,1"], ["--crop", "x"], ["--not", ""], ["--not"]]
)
def test_wrong_options_are_refused_at_once(queries, capsys, options):
    with pytest.raises(SystemExit):
        main(["search", "q0.png", *options])
    said = capsys.readouterr().err
    assert any(words in said for words in ("no part of a picture", "an empty name", "at least one"))
