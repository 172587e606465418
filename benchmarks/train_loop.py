"""How much of the bare network's speed the training loop keeps.

    python -m benchmarks.train_loop --prepared artifacts/prepare
    python -m benchmarks.train_loop --backbone resnet50 --input-px 224     on a GPU, say

Alternates, in one process, stretches of the real training loop (random crops made while it runs,
pseudo-label loss, rotation, optimiser, weight averaging) with the bare forward and backward pass of
the same batches from tensors that are already there. Other settings are those of params.yaml; the device
is the one that `train` would choose, and what it compiles is compiled for the bare pass too.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.contenders import spread
from benchmarks.train import our_start
from udml.config import load_params
from udml.learning import fit
from udml.learning.batches import members_by_cluster
from udml.machine import keep_freed_memory, usable_cores


def main() -> None:
    """Run and print the two speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"))
    parser.add_argument("--backbone", help="default: that of params.yaml")
    parser.add_argument("--input-px", type=int, help="default: that of params.yaml")
    parser.add_argument("--steps", type=int, default=10, help="steps of a stretch")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each kind")
    options = parser.parse_args()
    keep_freed_memory()
    asked = {"backbone": options.backbone, "input_px": options.input_px}
    params = dataclasses.replace(
        load_params().train, **{name: value for name, value in asked.items() if value is not None}
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = our_start(options.prepared, params, Path(scratch))
        # which images meet does not matter here
        run.assignment = np.arange(len(run.data.images)) % run.clusters
        batch = run.params.clusters_per_batch * run.params.images_per_cluster
        members = members_by_cluster(run.assignment, run.params.min_points_per_cluster)
        resident = [run.normalise(fit._make_batch(run, members, step)[0]) for step in range(options.steps)]
        fit._take_steps(run, 2)  # compiles, on a GPU
        _bare(run, resident[:2])
        loop, bare = [], []
        for _ in range(options.repeats):
            run.step = 0  # the same batches each time
            loop.append(_speed(lambda: fit._take_steps(run, options.steps), options.steps * batch))
            bare.append(_speed(lambda: _bare(run, resident), options.steps * batch))
    device = run.accelerator.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{usable_cores()} cores"
    print(f"{params.backbone}, {params.input_px} px, batch {batch}, {where}\n")
    print("| | |\n|---|---|")
    print(f"| training loop, images/s | {spread(loop, 0)} |")
    print(f"| bare pass, images/s | {spread(bare, 0)} |")
    print(f"| ratio | {spread([a / b for a, b in zip(loop, bare, strict=True)], 2)} |")


def _bare(run: fit.Run, resident: list[torch.Tensor]) -> None:
    for x in resident:
        with run.accelerator.autocast():
            embeddings, logits = run.forward(x)
        (embeddings.sum() + logits.sum()).backward()
        run.optimiser.zero_grad(set_to_none=True)


def _speed(work: Callable[[], None], images: int) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
