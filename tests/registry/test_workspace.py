import os
import time
from pathlib import Path

import pytest

from tests.pipeline import commit, run
from udml.errors import UdmlError
from udml.registry.workspace import COPIES, has_remote, own_copy, run_in, take_over_leftovers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A workspace with committed, changed and new files, and things that must not be copied."""
    source = tmp_path / "source"
    (source / "src" / "package").mkdir(parents=True)
    (source / "dvc.yaml").write_text("stages: {}\n")
    (source / "params.yaml").write_text("a: 1\n")
    (source / "src" / "package" / "old.py").write_text("old\n")
    (source / "src" / "package" / "removed.py").write_text("removed\n")
    (source / "link").symlink_to("src")
    (source / ".gitignore").write_text("/.scratch/\n/models/\n*.secret\n")
    run(source, "git", "init", "-q")
    run(source, "dvc", "init", "-q")
    run(source, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    commit(source, "start")
    (source / "params.yaml").write_text("a: 2\n")
    (source / "src" / "package" / "removed.py").unlink()
    (source / "src" / "package" / "new.py").write_text("new\n")
    (source / "src" / "ours.secret").write_text("secret\n")
    (source / "data.dvc").write_text("outs: []\n")
    (source / "dvc.lock").write_text("schema: '2.0'\n")
    (source / "photographs").mkdir()
    (source / "photographs" / "big.jpg").write_text("big\n")
    return source


def files(directory: Path) -> set[str]:
    paths = (
        path.relative_to(directory) for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()
    )
    return {str(path) for path in paths if path.parts[0] not in (".dvc", ".git")}


def test_what_counts_is_what_lies_on_disk(source: Path) -> None:
    before = run(source, "git", "status", "--porcelain").stdout
    with own_copy(source, "one") as copy:
        assert copy == source / COPIES / "one"
        assert files(copy) == {
            ".dvcignore", ".gitignore", "data.dvc", "dvc.yaml", "link", "models", "params.yaml",
            "src/package/new.py", "src/package/old.py",
        }  # fmt: skip
        assert (copy / "params.yaml").read_text() == "a: 2\n"
        assert (copy / "link").is_symlink()
        assert (copy / "models").readlink() == source / "models"
        assert run(source, "git", "status", "--porcelain").stdout == before
    assert list((source / COPIES).iterdir()) == []
    assert run(source, "git", "status", "--porcelain").stdout == before


def test_cache_and_remotes_are_the_source_s(source: Path, tmp_path: Path) -> None:
    run(source, "dvc", "remote", "add", "-q", "--local", "other", "../beside")
    with own_copy(source, "one") as copy:
        assert has_remote(copy)
        assert run(copy, "dvc", "cache", "dir").stdout.strip() == str(source / ".dvc" / "cache")
        listed = run(copy, "dvc", "remote", "list").stdout
        assert str(tmp_path / "remote") in listed
        settings = (copy / ".dvc" / "config").read_text()
        url = next(line for line in settings.splitlines() if "beside" in line).split("=")[1].strip()
        assert (copy / ".dvc" / url).resolve() == tmp_path / "beside"
        run(copy, "dvc", "status")
        assert (copy / ".dvc" / "tmp").is_dir()
    assert not (source / ".dvc" / "tmp" / "rwlock").exists()


def test_commands_run_the_copy_s_code(source: Path) -> None:
    said: list[str] = []
    with own_copy(source, "one") as copy:
        (copy / "src" / "told.py").write_text("import os; print(os.getcwd(), __file__)\n")
        run_in(copy, ["told"], said.append)
        assert said == [f"{copy} {copy / 'src' / 'told.py'}"]


def interrupted(copy: Path) -> None:
    (copy / ".scratch" / "train-key").mkdir(parents=True)
    (copy / ".scratch" / "train-key" / "checkpoint").write_text("half")
    (copy / "data").mkdir()
    raise KeyboardInterrupt


def test_a_failure_leaves_nothing_but_a_stage_s_unfinished_work(source: Path) -> None:
    with pytest.raises(RuntimeError, match="stage"), own_copy(source, "one"):
        raise RuntimeError("stage")
    assert list((source / COPIES).iterdir()) == []
    with pytest.raises(KeyboardInterrupt), own_copy(source, "two") as copy:
        interrupted(copy)
    assert files(source / COPIES) == {"two/.scratch/train-key/checkpoint"}


def test_the_next_one_goes_on_with_the_newest_work_and_removes_the_rest(source: Path) -> None:
    for age, name in ((2, "older"), (1, "newer"), (0, "other")):  # a killed run leaves all of its copy
        leftover = source / COPIES / name
        (leftover / "data").mkdir(parents=True)
        (leftover / "data" / "image").write_text("image")
        if name != "other":
            (leftover / ".scratch" / "train-key").mkdir(parents=True)
            (leftover / ".scratch" / "train-key" / "checkpoint").write_text(name)
        moment = time.time() - 1000 * age
        os.utime(leftover, (moment, moment))
    with own_copy(source, "next") as copy:
        take_over_leftovers(copy)
        assert (copy / ".scratch" / "train-key" / "checkpoint").read_text() == "newer"
        assert [path.name for path in (source / COPIES).iterdir()] == ["next"]
    assert list((source / COPIES).iterdir()) == []


def test_a_directory_without_a_pipeline_or_git_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UdmlError, match="holds no DVC pipeline"), own_copy(tmp_path, "one"):
        pass
    (source / ".git").rename(tmp_path / "git")
    with pytest.raises(UdmlError, match="git does not know"), own_copy(source, "one"):
        pass
    assert list((source / COPIES).iterdir()) == []
