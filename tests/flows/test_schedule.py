"""When `flows/serve.py` retrains: cron lines and time zones, without a Prefect server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tzlocal

from tests.conftest import ROOT
from udml.errors import UdmlError
from udml.flows import serve, serving
from udml.flows.schedule import local_zone, make_schedule


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Berlin."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        tzlocal.reload_localzone()
        yield
    tzlocal.reload_localzone()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
def test_three_at_night_is_three_at_night_there(zone: str) -> None:
    schedule, due = make_schedule("0 3 * * *", zone)
    assert (schedule.cron, schedule.timezone) == ("0 3 * * *", zone)
    assert (due.hour, due.minute, str(due.tzinfo)) == (3, 0, str(make_schedule("@daily", zone)[1].tzinfo))


@pytest.mark.usefixtures("berlin")
def test_the_machines_own_zone_is_the_default() -> None:
    assert local_zone() == "Europe/Berlin"
    assert make_schedule("0 3 * * *", None)[0].timezone == "Europe/Berlin"


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc/passwd", "CETX", "+02:00", "Europe"])
def test_a_zone_that_is_none_is_said(zone: str) -> None:
    with pytest.raises(UdmlError, match="there is no time zone"):
        make_schedule("0 3 * * *", zone)


@pytest.mark.parametrize("cron", ["", "nightly", "99 3 * * *", "0 3 * *", "0 3 * * * * * *", "0 0 31 2 *"])
def test_a_cron_line_that_is_none_is_said(cron: str) -> None:
    with pytest.raises(UdmlError, match="five fields: minute, hour"):
        make_schedule(cron, "UTC")


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("options", "zone"), [([], "Europe/Berlin"), (["--timezone", "Asia/Tokyo"], "Asia/Tokyo")]
)
def test_what_is_served_is_said(
    options: list[str],
    zone: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served: dict[str, Any] = {}
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "serve_forever", lambda schedule: served.update(schedule=schedule))
    monkeypatch.setattr(sys, "argv", ["serve.py", "--cron", "30 3 * * *", *options])
    serve.main()
    assert (served["schedule"].cron, served["schedule"].timezone) == ("30 3 * * *", zone)
    assert f"retraining at `30 3 * * *`, {zone}; next at " in (said := capsys.readouterr().out)
    assert " 03:30 +" in said


@pytest.mark.parametrize(
    "options", [["--cron", "nightly"], ["--cron", "0 3 * * *", "--timezone", "Nowhere/Land"]]
)
def test_what_is_wrong_is_one_sentence(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, str(ROOT / "flows" / "serve.py"), *options],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("udml: ")
    assert second.startswith("  -> ")
