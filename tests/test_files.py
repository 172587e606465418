import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from udml.files import (
    atomic_directory,
    atomic_path,
    discard_scratch,
    fingerprint,
    read_json,
    replace_directory,
    scratch_beside,
    scratch_directory,
    write_json,
)
from udml.processes import own_directory


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_finished_write_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen(["sleep", "0"])
    killed.wait()
    (tmp_path / f".a.txt.{killed.pid}.tmp").write_text("half")
    (tmp_path / f".a.txt.{os.getppid()}.tmp").write_text("in work")
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", f".a.txt.{os.getppid()}.tmp"}


def test_a_directory_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    target, killed = tmp_path / "out", subprocess.Popen(["sleep", "0"])
    killed.wait()
    (tmp_path / f".out.{killed.pid}.tmp").mkdir()

    def write(fails: bool) -> None:
        with atomic_directory(target) as building:
            (building / ("new" if fails else "old")).write_text("")
            if fails:
                raise RuntimeError

    write(fails=False)
    with pytest.raises(RuntimeError):
        write(fails=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}


def test_fingerprints_tell_values_apart_and_not_their_order() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(1) != fingerprint("1")
    assert len(fingerprint("x")) == 16


def test_scratch_of_other_work_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = scratch_directory("train", "aaa")
    (first / "checkpoint").write_text("x")
    assert (scratch_directory("train", "aaa") / "checkpoint").exists()
    scratch_directory("prepare", "bbb")
    assert first.exists()
    scratch_directory("train", "ccc")
    assert not first.exists()


@pytest.mark.parametrize("files", [1, 7])
def test_scratch_that_was_half_removed_is_nothing_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.chdir(tmp_path)
    scratch = scratch_directory("train", "aaa")
    for number in range(files):
        (scratch / str(number)).write_text("x")

    def killed(path: Path) -> None:
        if path.exists():
            next(path.iterdir()).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("udml.files.remove", killed)
        with pytest.raises(KeyboardInterrupt):
            discard_scratch(scratch)
    again = scratch_directory("train", "aaa")
    assert list(again.iterdir()) == []
    discard_scratch(again)
    assert list(Path(".scratch").iterdir()) == []


USES = """
import sys, time
from pathlib import Path
from udml.files import scratch_directory
from udml.processes import own_directory
if sys.argv[1] == "scratch":
    directory = scratch_directory("train", "theirs")
else:
    directory = (context := own_directory(Path("."), ".own-")).__enter__()
(directory / "work").write_text("x")
print(directory, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["scratch", "own"])
def test_a_directory_is_left_alone_while_another_process_uses_it_and_removed_when_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen([sys.executable, "-c", USES, kind], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        for running in (True, False):
            if not running:
                other.kill()
                other.wait()
            if kind == "scratch":
                scratch_directory("train", f"ours-{running}")
            else:
                with own_directory(Path(), ".own-") as ours:
                    assert ours != theirs
            assert (theirs / "work").exists() == running
    assert len(list(tmp_path.glob(".own-*"))) == 0
    assert len(list(tmp_path.glob(".scratch/*"))) == (kind == "scratch")


def test_replacing_a_directory_moves_all_of_it(tmp_path: Path) -> None:
    old, new = tmp_path / "out", tmp_path / "new"
    for directory, name in ((old, "stale"), (new, "fresh")):
        directory.mkdir()
        (directory / name).write_text(name)
    replace_directory(new, old)
    assert [p.name for p in old.iterdir()] == ["fresh"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("refused", ["old", "new"])
def test_content_is_replaced_where_the_folder_itself_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, refused: str
) -> None:
    """A mount point can't be renamed (EBUSY), nothing can be renamed from one disk to another (EXDEV)."""
    target, finished = tmp_path / "big" / "data", tmp_path / "small" / "finished"
    for folder, name in ((target, "old.txt"), (finished / "deep", "new.txt")):
        folder.mkdir(parents=True)
        (folder / name).write_text(name)
    replace = os.replace
    guarded_name = target if refused == "old" else finished

    def guarded(source: Path, destination: Path) -> None:
        if Path(source) == guarded_name:
            raise OSError(code, os.strerror(code))
        replace(source, destination)

    monkeypatch.setattr("udml.files.os.replace", guarded)
    inode = target.stat().st_ino
    replace_directory(finished, target)
    assert (target / "deep" / "new.txt").read_text() == "new.txt"
    assert [path.name for path in target.iterdir()] == ["deep"]
    assert [path.name for path in target.parent.iterdir()] == ["data"]
    assert target.stat().st_ino == inode
    assert not finished.exists()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("through", [1, 2])
def test_a_link_stays_a_link(tmp_path: Path, there: bool, through: int) -> None:
    big = tmp_path / "disk" / "data"
    big.parent.mkdir()
    if there:
        big.mkdir()
        (big / "old.txt").touch()
    target = tmp_path / "data"
    (tmp_path / "data1").symlink_to(big)
    target.symlink_to(big if through == 1 else tmp_path / "data1")
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "new.txt").touch()
    replace_directory(finished, target)
    assert target.is_symlink()
    assert [path.name for path in big.iterdir()] == ["new.txt"]
    assert scratch_beside(target) == big.parent / ".scratch"


def test_another_error_leaves_the_old_directory_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, finished = tmp_path / "data", tmp_path / "finished"
    for folder in (target, finished):
        folder.mkdir()
        (folder / folder.name).touch()
    replace = os.replace

    def guarded(source: Path, destination: Path) -> None:
        if Path(source) == finished:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr("udml.files.os.replace", guarded)
    with pytest.raises(OSError, match="Input/output"):
        replace_directory(finished, target)
    assert (target / "data").exists()
