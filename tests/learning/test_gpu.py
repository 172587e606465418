"""What only a GPU can show: batches made on it, and steps that are recorded and replayed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning.tiny import tiny_data, tiny_fit, tiny_params
from udml.learning.loop import run as run_module
from udml.learning.loop import steps as steps_module
from udml.learning.loop.replay import Replay
from udml.learning.views.device import resident_views, upload
from udml.learning.views.training import Variation, draw_all

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def test_every_call_of_a_replayed_function_does_its_work_once() -> None:
    weight = torch.zeros(3, device="cuda")

    def add(x: torch.Tensor) -> torch.Tensor:
        weight.add_(x)
        return weight * 2

    replayed = Replay(add)
    outputs = [replayed(torch.full((3,), float(value), device="cuda")) for value in range(8)]
    assert [float(output[0]) for output in outputs] == [0, 2, 6, 12, 20, 30, 42, 56]
    assert float(weight[0]) == 28


@pytest.mark.parametrize("input_px", [32, 96])
def test_views_sampled_on_the_gpu_are_those_of_the_cpu(input_px: int) -> None:
    images = list(tiny_data().images)
    drawn = draw_all([(40, 40)] * len(images), Variation((0.16, 1.0), 15, 1.0, 0.3), [0])
    on_cpu, on_gpu = (
        resident_views(upload(images, torch.device(name)), np.arange(len(images)), drawn, input_px)  # type: ignore[arg-type]
        for name in ("cpu", "cuda")
    )
    off = (on_cpu.int() - on_gpu.cpu().int()).abs()
    # a sample that falls between two grey levels, or on an image's border, is rounded either way
    assert float((off > 1).float().mean()) < 1e-3
    assert float((off > 0).float().mean()) < 1e-2


def gpu_fit(scratch: Path, **changes: Any) -> list[dict[str, Any]]:
    return tiny_fit(scratch, tiny_params(device="cuda", recluster_every_steps=6, steps=12, **changes))


@pytest.mark.parametrize("loss", run_module.NEVER_WAIT)
def test_recorded_steps_train_as_plain_ones_do(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 5 to 12 are replayed; bf16 and the order of sums make the difference that is allowed."""
    replayed = gpu_fit(tmp_path / "replayed", loss=loss)
    monkeypatch.setattr(run_module, "NEVER_WAIT", ())
    plain = gpu_fit(tmp_path / "plain", loss=loss)
    assert len(plain) == len(replayed) == 3
    for one, other in zip(plain[1:], replayed[1:], strict=True):
        assert other["metric_loss"] == pytest.approx(one["metric_loss"], rel=0.05)
        assert other["rotation_loss"] == pytest.approx(one["rotation_loss"], rel=0.05)
        assert other["score_mrr"] == pytest.approx(one["score_mrr"], abs=0.1)


def test_the_learning_rate_reaches_recorded_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[float] = []
    real = steps_module.set_learning_rate

    def set_and_look(run: run_module.Run, step: int) -> None:
        weights = dict(run.network.named_parameters())["embedding_head.weight"]
        moved.append(float(weights.detach().double().sum()))
        real(run, step)
        if step >= 8:
            for group in run.optimiser.param_groups:
                group["lr"].fill_(0.0)

    monkeypatch.setattr(steps_module, "set_learning_rate", set_and_look)
    gpu_fit(tmp_path)
    assert len(set(moved[:9])) == 9  # every step moved them,
    assert len(set(moved[8:])) == 1  # until the rate was 0


@pytest.mark.parametrize("loss", ["triplet_semihard", "contrastive", "proxy_anchor"])
def test_losses_that_cannot_be_recorded_train(loss: str, tmp_path: Path) -> None:
    rounds = gpu_fit(tmp_path, loss=loss)
    assert all(np.isfinite(r["metric_loss"]) for r in rounds[1:])


def test_images_too_many_for_the_gpu_are_sent_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = gpu_fit(tmp_path / "resident")
    monkeypatch.setattr(run_module, "upload", lambda images, device: None)
    sent = gpu_fit(tmp_path / "sent")
    for one, other in zip(resident[1:], sent[1:], strict=True):
        assert other["metric_loss"] == pytest.approx(one["metric_loss"], rel=0.2)


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gpu_fit(tmp_path / "whole")
    real = steps_module.set_learning_rate

    def die(run: run_module.Run, step: int) -> None:
        if step == 8:
            raise KeyboardInterrupt
        real(run, step)

    monkeypatch.setattr(steps_module, "set_learning_rate", die)
    with pytest.raises(KeyboardInterrupt):
        gpu_fit(tmp_path / "killed")
    monkeypatch.setattr(steps_module, "set_learning_rate", real)
    resumed = gpu_fit(tmp_path / "killed")
    assert [r["step"] for r in resumed] == [r["step"] for r in whole]
    assert resumed[-1]["metric_loss"] == pytest.approx(whole[-1]["metric_loss"], rel=0.1)
