"""Checkpoints that survive a kill: one safetensors file, written atomically, nothing pickled.

It holds the network, the optimiser, the loss's own weights, assignments and the log so far. What
a step draws at random is a function of (seed, step), so the step number is the random state.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from udml.files import atomic_path

CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"
SHIPPED_FILE = "shipped.safetensors"
WHITENED_FILE = "whitened.safetensors"


@dataclass(frozen=True)
class Progress:
    """Where training stands, besides tensors.

    Attributes:
        step: optimiser steps done.
        rounds: one health record per clustering round so far.
        best_round: index of the picked round, or -1.
    """

    step: int
    rounds: list[dict[str, Any]]
    best_round: int


def save_checkpoint(
    directory: Path,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    clustering: dict[str, torch.Tensor],
    progress: Progress,
) -> None:
    """Write `directory`/checkpoint.safetensors, replacing the last one."""
    tensors = {f"clustering/{name}": value for name, value in clustering.items()}
    for prefix, module in modules.items():
        tensors |= {f"{prefix}/{name}": value for name, value in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": value for name, value in state.items()}
    metadata = {"progress": json.dumps(progress.__dict__)}
    write_tensors(directory / CHECKPOINT_FILE, tensors, metadata)


def load_checkpoint(
    directory: Path, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer
) -> tuple[dict[str, torch.Tensor], Progress] | None:
    """Restore modules and optimiser in place; returns clustering and progress, or None if there is none."""
    path = directory / CHECKPOINT_FILE
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = Progress(**json.loads(file.metadata()["progress"]))
    for prefix, module in modules.items():
        module.load_state_dict(_under(tensors, prefix))
    state = optimiser.state_dict()
    state["state"] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, value in _under(tensors, "optimiser").items():
        index, key = name.split("/")
        state["state"].setdefault(int(index), {})[key] = _laid_out(value, parameters[int(index)])
    optimiser.load_state_dict(state)
    return _under(tensors, "clustering"), progress


def _laid_out(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value` laid out in memory as its parameter is: a fused optimiser goes through both side by side."""
    return (
        torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if value.shape == parameter.shape
        else value
    )


def write_tensors(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors as safetensors, atomically. Shared storage is copied apart."""
    flat = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(flat, temporary, metadata)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{prefix}/"): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}/")
    }
