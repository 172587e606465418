"""`udml quickstart`: where it works, what it does not do twice, and which version it makes the champion."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipeline import write_pictures
from tests.registry.workspace import make_sources
from udml import paths
from udml.cli import main
from udml.errors import UdmlError
from udml.quickstart import champion, quickstart
from udml.quickstart.champion import have_champion
from udml.quickstart.quickstart import default_workspace, have_pictures, list_files, require_enough
from udml.registry import store


def test_the_workspace_lies_here_but_never_among_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "home" / "photos"
    (photos / "2024").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for here, expected in (
        (tmp_path / "elsewhere", tmp_path / "elsewhere" / "udml-photos"),
        (tmp_path / "home", tmp_path / "home" / "udml-photos"),
        (photos, tmp_path / "home" / "udml-photos"),
        (photos / "2024", tmp_path / "home" / "udml-photos"),
    ):
        monkeypatch.chdir(here)
        assert default_workspace(Path(os.path.relpath(photos))) == expected
        assert default_workspace(None) == here / "udml-places"


@pytest.mark.parametrize("name", ["file.txt", "nowhere"])
def test_what_is_no_folder_is_refused_before_anything_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    assert main(["quickstart", name]) == 1
    assert f"{name} is no folder\n  -> " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, in which we are; no git and no DVC."""
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(place)
    return place


def test_pictures_are_imported_once_and_again_when_they_change(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_pictures(tmp_path / "photos", kinds=13, each=10, labelled=False)

    def said() -> str:
        have_pictures(photos)
        return capsys.readouterr().out

    assert "importing" in said()
    manifest = (paths.DATA / "manifest.parquet").stat().st_mtime_ns
    assert "the 130 files of" in said()
    assert (paths.DATA / "manifest.parquet").stat().st_mtime_ns == manifest
    for change in (
        lambda: (photos / "new.jpg").write_bytes((photos / "00-00.jpg").read_bytes()),
        (photos / "new.jpg").unlink,
        lambda: os.utime(photos / "00-01.jpg", (1, 1)),
    ):
        before = list_files(photos)
        change()
        assert list_files(photos) != before
        assert "importing" in said()
        assert "are imported already" in said()


def test_too_few_pictures_are_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path / "photos", kinds=4, each=10)
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "photos"]) == 1
    said = capsys.readouterr().err
    assert "holds 40 pictures, too few to learn from: it takes 125" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_how_many_are_enough_is_what_the_workspaces_settings_say(workspace: Path, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", kinds=4, each=10)
    text = (workspace / "params.yaml").read_text()
    assert "min_train_images: 100" in text
    (workspace / "params.yaml").write_text(
        text.replace("min_train_images: 100", "min_train_images: 30").replace(
            "min_test_images: 20", "min_test_images: 8"
        )
    )
    require_enough(photos, workspace)
    with pytest.raises(UdmlError, match="too few"):
        require_enough(photos, tmp_path / "new")


def test_a_step_that_fails_says_which_and_that_the_rest_is_kept(workspace: Path) -> None:
    with pytest.raises(UdmlError, match=r"`false` failed in .*; why is said above") as failed:
        quickstart.run_step(["false"])
    assert "what was done is kept" in failed.value.hint


def test_what_the_pipeline_made_becomes_the_champion_once(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a person chose since stays."""
    models = workspace / "models"

    def made(seed: int) -> None:
        (place := workspace / f"made-{seed}").mkdir()
        sources = make_sources(place, seed)
        monkeypatch.setattr(champion, "workspace_sources", lambda: sources)
        monkeypatch.setattr(paths, "INDEXED", sources.index)

    made(1)
    assert have_champion(models) == "v1 is the champion, which is what is searched"
    assert have_champion(models).startswith("v1 is the champion, and what the pipeline made last is v1")
    made(2)
    assert have_champion(models) == "v2 is the champion, which is what is searched"
    store.rollback(models, "v1 was better")
    assert have_champion(models) == "v1 is the champion, and what the pipeline made last is v2"
    assert store.champion_name(models) == "v1"
    assert store.version_names(models) == ["v1", "v2"]
