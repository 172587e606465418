"""`udml init`: what it writes is what this repository has, runs like it, and never takes anything's place."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.pipeline import environment, run
from udml.cli import main
from udml.registry.workspace import own_copy
from udml.workspace.code import CODE, link_code
from udml.workspace.start import start_workspace, template

OWN = {"README.md"}  # the one file that a workspace has otherwise


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as `udml init` leaves it."""
    place = tmp_path_factory.mktemp("fresh") / "new" / "workspace"
    assert main(["init", str(place)]) == 0
    return place


@pytest.fixture
def started(fresh: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(fresh, tmp_path / "workspace", symlinks=True)


def files_in(directory: Path) -> dict[str, bytes]:
    """All that is in a folder, but for what belongs to git and DVC."""
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    named = {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}
    return {name: data for name, data in named.items() if name.split("/")[0] not in (".git", ".dvc", "src")}


@pytest.mark.parametrize("name", sorted(set(template()) - OWN))
def test_a_workspace_begins_with_what_this_repository_has(name: str) -> None:
    place = "src/udml/workspace/template/" + name
    assert template()[name] == (ROOT / name).read_bytes(), f"copy {name} to {place}"


def test_every_file_that_the_stages_and_flows_need_is_among_them() -> None:
    flows = {f"flows/{path.name}" for path in (ROOT / "flows").glob("*.py")}
    assert flows | {"dvc.yaml", "params.yaml", "prefect.yaml", ".gitignore", ".dvcignore"} <= set(template())
    assert len(template()["README.md"].splitlines()) <= 10


def test_init_makes_a_workspace_in_which_stages_and_flows_find_all_they_need(fresh: Path) -> None:
    workspace = fresh
    assert files_in(workspace) == {
        name: data for name, data in template().items() if name[:4] != ".dvc/"[:4]
    } | {".dvcignore": template()[".dvcignore"]}
    for stage in yaml.safe_load((workspace / "dvc.yaml").read_text())["stages"].values():
        code = [dep for dep in stage["deps"] if dep.startswith("src/")]
        assert code
        assert all((workspace / dep).exists() for dep in code)
    status = run(workspace, "git", "status", "--short", "--untracked-files=all").stdout
    assert "src/" not in status
    assert run(workspace, "dvc", "config", "core.analytics").stdout.strip() == "false"
    names = sorted(path.stem for path in (workspace / "flows").glob("*.py") if path.stem != "__init__")
    code = "import " + ", ".join(f"flows.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(flows.retrain.retrain.name, flows.__file__)"],
        cwd=workspace, capture_output=True, text=True, check=False,
        env={key: value for key, value in environment().items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert done.stdout.strip() == f"retrain {workspace / 'flows' / '__init__.py'}", done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.jpg", "x"), (".env", "x"), ("dvc.yaml", "stages: {}\n"), ("params.yaml", "mine: 1\n"),
        ("README.md", "# mine\n"), ("flows/mine.py", "x"), ("flows/retrain.py", "x"),
        ("album/photo.jpg", "x"), ("src/mine/x.py", "x"),
    ],
)  # fmt: skip
def test_what_is_there_is_never_overwritten(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    assert main(["init", str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"udml: {tmp_path} is not empty: there is ")
    assert second.startswith("  -> ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == content


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["init", str(tmp_path / "file")]) == 1
    assert "is no folder\n  -> " in capsys.readouterr().err


@pytest.mark.parametrize("written", [1, 5, len(template()) - 1])
def test_an_init_that_was_killed_goes_on(written: int, started: Path) -> None:
    for name in list(template())[written:]:
        (started / name).unlink()
    (started / ".dvcignore").write_text("# what DVC begins with\n")
    shutil.rmtree(started / "src")
    assert start_workspace(started).startswith("made a workspace")
    assert files_in(started).keys() == set(template()) - {".dvc/config"}
    assert (started / CODE).exists()


def test_in_a_workspace_the_link_is_made_anew_and_nothing_else(started: Path) -> None:
    """As in a clone of it, or after an environment has gone."""
    (started / "params.yaml").write_text("mine: 1\n")
    before = files_in(started)
    link = started / CODE
    for other in (None, started / "gone", started):
        link.unlink(missing_ok=True)
        if other is not None:
            link.symlink_to(other)
        assert start_workspace(started).endswith("its link to the code of udml was set right")
        assert link.resolve() == ROOT / "src" / "udml"
        assert files_in(started) == before
    assert start_workspace(started).endswith("nothing was overwritten")


def test_a_checkouts_own_code_is_left_alone() -> None:
    assert not link_code(ROOT)
    assert not (ROOT / CODE).is_symlink()


def test_a_retrainings_copy_has_the_code_that_its_stages_name(started: Path) -> None:
    with own_copy(started, "holder") as copy:
        assert (copy / CODE).resolve() == ROOT / "src" / "udml"
    assert (started / CODE).exists()
    assert (ROOT / "src" / "udml" / "pixels.py").exists()  # removing the copy removed a link
