"""`udml search --where`, and what it prints for pipes and for spreadsheets."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from tests.serving.filtering.conftest import sources
from tests.serving.live import files, make_version
from tests.serving.small_service import BASE, NEW
from udml.cli import main
from udml.cli.search import FORMULA


@pytest.fixture
def here(registry, tmp_path, monkeypatch):
    for name in ("models", "data"):
        shutil.copytree(registry / name, tmp_path / name, symlinks=True)
    for number in range(2):
        (tmp_path / f"q{number}.png").write_bytes(NEW[number][1])
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)


def test_only_what_meets_the_filter_is_found(here, capsys):
    where = "folder = '2021/*' and number > 4"
    left = sources(lambda one: one["folder"].startswith("2021/") and one["number"] > 4)
    assert main(["search", "q0.png", "--all", "-k", "50", "--json", "--where", where]) == 0
    assert {hit["source"] for hit in json.loads(capsys.readouterr().out)["hits"]} == left
    assert main(["search", "q0.png", "--all", "--where", "label = 'nobody'"]) == 0
    said = capsys.readouterr()
    assert "no match: no image meets the filter" in said.out
    assert "no image of the collection meets the filter" in said.err


@pytest.mark.parametrize("where", ["colour = 'red'", "label = 'a", "taken > 2024-13", "\udcff = 1", ""])
def test_a_wrong_filter_is_said_before_anything_is_embedded(here, capsys, where):
    assert main(["search", "text.png", "--where", where]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "the filter is wrong at letter " in said.err
    assert "-> the columns are folder (text), taken (time)" in said.err
    assert "left out" not in said.err


def test_paths_are_separated_by_zeros_and_come_once(here, capfdbinary):
    assert main(["search", "q0.png", "q1.png", "--all", "-k", "24", "--paths0"]) == 0
    out = capfdbinary.readouterr().out
    assert out.endswith(b"\0")
    listed = out.removesuffix(b"\0").split(b"\0")
    assert sorted(listed) == sorted(file[0].encode() for file in BASE)
    assert main(["search", "q0.png", "--all", "--paths0", "--where", "label = 'nobody'"]) == 0
    assert capfdbinary.readouterr().out == b""


def test_a_table_has_a_row_a_neighbour_and_says_what_is_no_picture(here, capsys):
    assert main(["search", "q0.png", "text.png", "q1.png", "--all", "-k", "3", "--csv"]) == 0
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["query"] for row in read] == ["q0.png"] * 3 + ["text.png"] + ["q1.png"] * 3
    assert [row["rank"] for row in read] == ["1", "2", "3", "", "1", "2", "3"]
    assert read[3]["problem"] == "not_an_image"
    main(["search", "q0.png", "--all", "-k", "3", "--json"])
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert [(row["id"], row["source"], row["label"]) for row in read[:3]] == [
        (hit["id"], hit["source"], hit["label"]) for hit in hits
    ]
    assert [float(row["similarity"]) for row in read[:3]] == pytest.approx(
        [h["similarity"] for h in hits], abs=1e-6
    )


NAMES = [
    "=HYPERLINK(0).png", "+1.png", "-1.png", "@SUM(A1).png", "\t=1.png", "\r=1.png", "\n=1.png", "  =1.png",
    "\uff1d1.png", 'a","=1.png', "a\n=b.png", "a,b.png", "'quoted'.png", "plain.png",
]  # fmt: skip


def test_no_name_becomes_a_formula_and_none_is_lost(tmp_path, monkeypatch, capsys):
    made = files(len(NAMES), seed=5)
    make_version(tmp_path, [(name, data, name) for name, (_, data, _) in zip(NAMES, made, strict=True)])
    (tmp_path / "=cmd.png").write_bytes(made[0][1])
    monkeypatch.chdir(tmp_path)
    assert main(["search", "=cmd.png", "--all", "-k", "50", "--csv"]) == 0
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert len(read) == len(NAMES)
    for row in read:
        for cell in (row["query"], row["source"], row["label"]):
            assert not cell.lstrip().startswith(FORMULA)
    unmarked = {row["source"].removeprefix("'") for row in read}
    assert unmarked == {name.removeprefix("'") for name in NAMES}


def test_only_one_form_at_a_time(here, capsys):
    with pytest.raises(SystemExit):
        main(["search", "q0.png", "--json", "--csv"])
    assert "not allowed with" in capsys.readouterr().err
    assert Path("models").is_dir()
