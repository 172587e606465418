"""A training run small enough to repeat many times: real trunk, 32 px pictures, six steps."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from udml.config import Train, load_params
from udml.learning.loop import steps
from udml.learning.loop.checkpoint import CHECKPOINT_FILE
from udml.learning.loop.fit import fit
from udml.learning.loop.run import TrainingSet
from udml.learning.model.network import Network, start_network

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE = 32


def tiny_params(**changes: Any) -> Train:
    base: dict[str, Any] = {
        "input_px": SIDE,
        "embedding_dim": 16,
        "rotation_hidden_dim": 8,
        "clusters": 6,
        "clusters_per_batch": 4,
        "images_per_cluster": 2,
        "rotation_images": 4,
        "recluster_every_steps": 2,
        "steps": 6,
        "frozen_blocks": 8,
        "device": "cpu",
    }
    return dataclasses.replace(load_params(PARAMS).train, **{**base, **changes})


def tiny_data(images: int = 60, held: int = 12, monitor_labels: bool = True) -> TrainingSet:
    """Pictures of six kinds: a kind is a random pattern, a picture is the pattern with noise."""
    rng = np.random.default_rng(0)
    kinds = np.arange(images + held) % 6
    patterns = rng.integers(0, 256, (6, 8, 8, 3)).repeat(5, axis=1).repeat(5, axis=2)
    pictures = np.clip(patterns[kinds] + rng.normal(0, 30, (images + held, 40, 40, 3)), 0, 255).astype(
        np.uint8
    )
    views = pictures[:, 4 : 4 + SIDE, 4 : 4 + SIDE]
    strong = pictures[:, 8 : 8 + SIDE, 8 : 8 + SIDE]
    labels = kinds[:images] if monitor_labels else None
    return TrainingSet(list(pictures[:images]), views[:images], views[images:], strong[images:], labels)


def tiny_network(params: Train) -> tuple[Network, tuple[Any, Any]]:
    network, backbone = start_network(params)
    return network, (backbone.mean, backbone.std)


def tiny_fit(
    scratch: Path, params: Train, data: TrainingSet | None = None, **kwargs: Any
) -> list[dict[str, Any]]:
    scratch.mkdir(parents=True, exist_ok=True)
    network, mean_std = tiny_network(params)
    return fit(network, data or tiny_data(), params, mean_std, scratch, **kwargs)


class KilledError(Exception):
    pass


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """In here a training dies before its `step`-th optimiser step, counted from 0; it must come to that."""
    taken = 0
    real = steps._step

    def dying_step(*arguments: Any) -> torch.Tensor:
        nonlocal taken
        if taken == step:
            raise KilledError
        taken += 1
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_step", dying_step)
        with pytest.raises(KilledError):
            yield


def weights(scratch: Path, name: str = CHECKPOINT_FILE) -> dict[str, torch.Tensor]:
    return load_file(scratch / name)


def assert_identical(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def without_timing(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "images_per_second"} for r in rounds]
