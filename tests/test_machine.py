from pathlib import Path

import pytest

from udml import machine


@pytest.mark.parametrize(
    ("content", "cores"), [("150000 100000", 1.5), ("50000 100000", 1.0), ("max 100000", None), ("?", None)]
)
def test_a_containers_quota_is_read(content: str, cores: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert machine._cgroup_cores(tmp_path / "cpu.max") == cores


def test_no_quota_file_means_no_quota(tmp_path: Path) -> None:
    assert machine._cgroup_cores(tmp_path / "missing") is None


def test_at_least_one_core_and_no_more_than_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.usable_cores() >= 1
    monkeypatch.setattr(machine, "_cgroup_cores", lambda path: 1.5)
    assert machine.usable_cores() == 1
