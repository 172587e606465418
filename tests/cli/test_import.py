"""`udml data import` and `udml prepare`: what they say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from udml.cli import main
from udml.data.prepare import counts_line


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a project, without DVC or git, and a folder of photos beside it."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).write_text((ROOT / name).read_text())
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(photos / f"{number}.png")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("command", [["import", "../photos"], ["import", "places"], ["ensure"]])
@pytest.mark.parametrize("place", [".", "sub", "../photos"])
def test_outside_a_project_nothing_is_written(
    command: list[str],
    place: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "sub").mkdir()
    if place == ".":
        (project / "dvc.yaml").unlink()
    monkeypatch.chdir(place)
    before = sorted(project.parent.rglob("*"))
    assert main(["data", *command]) == 1
    assert "is no project of udml: there is no dvc.yaml\n  -> go to the top of" in capsys.readouterr().err
    assert sorted(project.parent.rglob("*")) == before


def test_what_is_replaced_and_what_comes_next_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "import", "../photos"]) == 0
    said = capsys.readouterr().out
    assert "replaces" not in said
    assert said.endswith("next: `dvc repro` prepares them, trains, and builds the index\n")
    version = said.split("data version ")[1][:16]
    assert main(["data", "import", "../photos"]) == 0
    again = capsys.readouterr().out
    assert again.startswith(f"replaces what is in data/: 6 files, layout plain, data version {version}\n")
    assert "nothing is new" in again
    Path("../photos/5.png").unlink()
    Path("data.dvc").write_text("outs: []\n")
    assert main(["data", "import", "../photos"]) == 0
    third = capsys.readouterr().out
    assert f"data version {version}; DVC's cache keeps them\n" in third
    assert "nothing is new" not in third


def test_prepare_says_how_many_were_kept_and_why_not_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("../photos/empty.png").touch()
    Path("../photos/small.png").write_bytes(Path("../photos/0.png").read_bytes()[:60])
    Path("../photos/text.png").write_text("no picture")
    assert main(["data", "import", "../photos"]) == 0
    capsys.readouterr()
    assert main(["prepare"]) == 0
    assert capsys.readouterr().out.startswith("6 kept, 3 in quarantine: 1 because ")


@pytest.mark.parametrize(
    ("quarantined", "said"),
    [
        ({}, "1,200 kept, 0 in quarantine"),
        ({"truncated": 3}, "1,200 kept, 3 in quarantine: 3 because the file ends before the image does"),
        (
            {"empty": 1000, "too_small": 2},
            "1,200 kept, 1,002 in quarantine: 1,000 because the file is empty; ",
        ),
    ],
)
def test_the_line_of_counts(quarantined: dict[str, int], said: str) -> None:
    assert counts_line({"images": 1200, "quarantined": quarantined}).startswith(said)
