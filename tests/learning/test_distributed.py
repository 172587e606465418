import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from udml.learning.loop.checkpoint import SHIPPED_FILE

WORKER = ROOT / "tests" / "learning" / "ddp_worker.py"


def run(out: Path, labels: str, *launcher: str) -> list[dict[str, float]]:
    out.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(out), labels],
        env=environment, capture_output=True, text=True, check=False, cwd=out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / "rounds-0.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["kmeans", "graph"])
def test_two_processes_train_as_one_does(labels: str, tmp_path: Path) -> None:
    """Two gloo processes share each batch: losses, clusters and weights follow those of one process."""
    alone = run(tmp_path / "alone", labels)
    together = run(
        tmp_path / "together", labels, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"
    )
    assert len(alone) == len(together) == 4
    for one, two in zip(alone, together, strict=True):
        for key in ("metric_loss", "score_mrr", "churn", "effective_rank"):
            # null in round 0, before any step
            assert two[key] == one[key] or two[key] == pytest.approx(one[key], rel=1e-3, abs=1e-4), key
    second = json.loads((tmp_path / "together" / "rounds-1.json").read_text())
    assert [r["score_mrr"] for r in second] == [r["score_mrr"] for r in together]
    weights = [load_file(tmp_path / name / "scratch" / SHIPPED_FILE) for name in ("alone", "together")]
    for name, value in weights[0].items():
        if value.is_floating_point():
            assert torch.allclose(value, weights[1][name], rtol=1e-3, atol=2e-4), name
