from dataclasses import replace
from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.cli import main
from udml.files import write_json
from udml.registry import compare, store


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two registered versions in it."""
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        directory = tmp_path / f"made-{seed}"
        directory.mkdir()
        store.register(Path("models"), make_sources(directory, seed, map_at_r=0.4 + seed / 10))
    return tmp_path


def test_a_version_s_way_to_the_champion_and_back(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: str) -> str:
        assert main(["models", *command]) == 0
        return capsys.readouterr().out

    assert said("promote", "v1") == "the champion is v1\n"
    said("promote", "v2", "--reason", "MAP@R rose")
    lines = said("list").splitlines()
    assert [line[:4] for line in lines] == ["  v1", "* v2"]
    assert "MAP@R 50.0 % (frozen 50.0 %)" in lines[1]
    shown = said("show", "champion")
    assert "model-1" in shown
    assert "index/index.faiss" in shown
    differences = said("diff", "v1", "champion")
    assert "train.seed" in differences
    assert "trained.leave_one_out.map_at_r" in differences
    assert "% of an image's ten nearest are the same" in differences
    assert said("rollback") == "the champion is v1 again\n"
    assert said("verify").count("are what was registered") == 2
    assert "MAP@R rose" in said("log")


@pytest.mark.parametrize(
    ("figures", "protocols", "said"),
    [
        ({"leave_one_out": {"map_at_r": 0.5, "protocol": "as then"}}, None, "as then"),
        ({"label_free": {"found_again_at_1": 0.5, "protocol": "views"}}, None, "views"),
        ({"leave_one_out": {"map_at_r": 0.5}}, {"leave_one_out": "36 images"}, "36 images"),
        ({"query_gallery": {"map_at_r": 0.5}}, {"query_gallery": "q", "leave_one_out": "l"}, "q"),
        ({"leave_one_out": {"map_at_r": 0.5}}, None, None),
    ],
)
def test_versions_of_any_age_say_how_they_were_measured(
    figures: dict,
    protocols: dict | None,
    said: str | None,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = workspace / "made"
    made.mkdir()
    sources = make_sources(made, 9)
    write_json(sources.metrics, {"trained": figures, "frozen": figures})
    if protocols is not None:
        write_json(made / "protocols.json", {"trained": protocols, "frozen": protocols})
    store.register(Path("models"), replace(sources, protocols=made / "protocols.json"))
    assert main(["models", "show", "v3"]) == 0
    shown = [
        line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines() if line[:8] == "measured"
    ]
    assert shown == ([] if said is None else [said])
    assert main(["models", "diff", "v1", "v3"]) == 0
    assert main(["models", "list"]) == 0
    assert main(["models", "verify", "v3"]) == 0


def test_mistakes_are_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "rollback"]) == 1
    assert "no earlier champion" in capsys.readouterr().err
    assert main(["models", "show", "champion"]) == 1
    assert "udml models promote" in capsys.readouterr().err
    assert main(["models", "register"]) == 1
    assert "dvc repro" in capsys.readouterr().err


def test_a_version_has_all_its_neighbours_in_common_with_itself(workspace: Path) -> None:
    first, second = (store.version_directory(Path("models"), name) for name in ("v1", "v2"))
    assert compare.shared_neighbours(first, first) == 1.0
    assert compare.shared_neighbours(first, second) < 0.7  # 30 random vectors: a third by chance


def test_differing_values_go_by_dotted_keys() -> None:
    before = {"a": {"x": 1, "y": 2}, "b": 3}
    after = {"a": {"x": 1, "y": 5}, "c": 4}
    assert compare.differing_values(before, after) == {"a.y": (2, 5), "b": (3, None), "c": (None, 4)}
