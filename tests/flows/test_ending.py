"""What a person can mend ends a flow with one sentence: printed, in its log, and as the state of its run."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.flows.standin import ask
from tests.pipeline import environment
from udml.errors import UdmlError
from udml.flows.ending import or_failed

MENDABLE = {
    "no v7\n  -> name another": UdmlError("no v7", "name another"),
    "No space left on device": OSError(28, "No space left on device", "x.npy"),
    "this needs the package faiss": ModuleNotFoundError("No module named 'faiss'", name="faiss"),
}


@pytest.mark.parametrize("sentence", MENDABLE)
def test_the_state_is_failed_with_the_sentence(sentence: str) -> None:
    def do() -> None:
        raise MENDABLE[sentence]

    state = or_failed(do)
    assert state is not None
    assert state.is_failed()
    assert sentence in str(state.message)


def test_errors_in_udml_itself_go_on() -> None:
    with pytest.raises(ZeroDivisionError):
        or_failed(lambda: 1 // 0)


@pytest.mark.parametrize("sentence", MENDABLE)
def test_the_log_of_a_task_has_the_sentence(sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    or_failed(lambda: None)
    logger = logging.getLogger("prefect.task_runs")
    logger.addHandler(caplog.handler)
    try:
        raise MENDABLE[sentence]
    except Exception:
        logger.exception("Task run failed with exception")
    finally:
        logger.removeHandler(caplog.handler)
    assert sentence in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "sentence"),
    [
        (["monitor", "nowhere", "workspace"], "no model at artifacts/export/model.onnx"),  # in a task
        (["retrain"], "holds no DVC pipeline"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_flow_is_said_to_fail_in_a_sentence(
    flow: list[str], sentence: str, api_url: str, tmp_path: Path
) -> None:
    """On a real server, in a folder with settings and nothing else."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", f"flows.{flow[0]}", *flow[1:]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment() | {"PREFECT_API_URL": api_url, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert sentence in said
    [run] = ask(f"{api_url}/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"] in said
