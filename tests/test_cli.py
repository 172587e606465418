import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from udml.cli import main

HEAVY = ("torch", "numpy", "pandas", "faiss", "onnxruntime", "PIL", "great_expectations", "dvc", "prefect")


def imported_by(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    command = f"import sys\n{code}\nprint(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy() -> None:
    loaded = imported_by("from udml.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module",
    [
        "udml.pixels",
        "udml.data.prepare",
        "udml.evaluation.evaluate",
        "udml.search.index",
        "udml.monitor.monitor",
        "udml.serving.engine.searcher",
    ],
)
def test_what_searches_and_scores_never_imports_torch(module: str) -> None:
    assert "torch" not in imported_by(f"import {module}")


def test_errors_are_said_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train"]) == 1
    assert main(["search", "missing.jpg"]) == 1
    said = capsys.readouterr().err
    assert "no params.yaml here" in said
    assert "no such file or folder: missing.jpg" in said
    assert "Traceback" not in said


def test_a_full_disk_is_said_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    assert main(["preset", "laptop", "--write"]) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "udml: no room to write params.yaml: No space left on device",
        "  -> free some space, then run it again",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["prepare", "validate", "train", "export", "index", "evaluate"])
def test_every_stage_says_what_must_run_first(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    assert main([stage]) == 1
    assert "->" in capsys.readouterr().err
    assert not (tmp_path / "artifacts").exists()


def test_presets_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["preset", "paper"]) == 0
    printed = capsys.readouterr().out
    assert "backbone: googlenet" in printed
    assert main(["preset", "paper", "--write"]) == 0
    assert (tmp_path / "params.yaml").read_text() == printed


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.EROFS, "can't be written"),
        (errno.EACCES, "permissions"),
        (errno.EPERM, "permissions"),
        (errno.EIO, "check the path"),
        (errno.EMFILE, "check the path"),
        (errno.ENOTDIR, "is a file"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(
    code: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: object, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "replace", refuse)
    assert main(["preset", "laptop", "--write"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"udml: {os.strerror(code)}: ")
    assert hint in said


@pytest.mark.parametrize(
    "command",
    [
        ["embed", "a.jpg", "--out", "."],
        ["search", "a.jpg", "--picture", "folder"],
        ["report", "a.jpg", "--out", "folder"],
        ["monitor", "a.jpg", "--out", "folder"],
        ["search", ""],
        ["embed", "a.jpg", "", "--out", "a.parquet"],
        ["report", ""],
        ["monitor", ""],
    ],
)
def test_folders_as_output_and_empty_names_are_refused_at_once(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit):
        main(command)
    said = capsys.readouterr().err
    assert "name a file" in said or "an empty name is neither" in said
