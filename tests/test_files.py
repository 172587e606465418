import os
import subprocess
from pathlib import Path

import pytest

from udml.files import (
    atomic_directory,
    atomic_path,
    fingerprint,
    read_json,
    replace_directory,
    scratch_directory,
    write_json,
)


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


def test_replacing_a_directory_moves_all_of_it(tmp_path: Path) -> None:
    old, new = tmp_path / "out", tmp_path / "new"
    for directory, name in ((old, "stale"), (new, "fresh")):
        directory.mkdir()
        (directory / name).write_text(name)
    replace_directory(new, old)
    assert [p.name for p in old.iterdir()] == ["fresh"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
