"""How much of the bare network's speed the training loop keeps.

    python -m benchmarks.train_loop --prepared artifacts/prepare

Alternates, in one process, stretches of the real training loop (random crops made while it runs,
pseudo-label loss, rotation, optimiser, weight averaging) with the bare forward and backward pass of
the same batches from tensors that are already there. Settings are those of params.yaml.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.train import our_start
from udml.config import load_params
from udml.learning import fit
from udml.learning.batches import members_by_cluster
from udml.machine import keep_freed_memory, usable_cores


def main() -> None:
    """Run and print the two speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"))
    parser.add_argument("--steps", type=int, default=10, help="steps of a stretch")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each kind")
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        run = our_start(options.prepared, load_params().train, Path(scratch))
        # which images meet does not matter here
        run.assignment = np.arange(len(run.data.images)) % run.clusters
        batch = run.params.clusters_per_batch * run.params.images_per_cluster
        members = members_by_cluster(run.assignment, run.params.min_points_per_cluster)
        resident = [run.normalise(fit._make_batch(run, members, step)[0]) for step in range(options.steps)]
        _bare(run, resident[:2])
        loop, bare = [], []
        for _ in range(options.repeats):
            run.step = 0  # the same batches each time
            loop.append(_speed(lambda: fit._take_steps(run, options.steps), options.steps * batch))
            bare.append(_speed(lambda: _bare(run, resident), options.steps * batch))
    ratios = [a / b for a, b in zip(loop, bare, strict=True)]
    print(f"{run.params.backbone}, {run.params.input_px} px, batch {batch}, {usable_cores()} cores")
    for name, values in (("training loop, images/s", loop), ("bare pass, images/s", bare), ("ratio", ratios)):
        digits = 2 if name == "ratio" else 0
        low, high = min(values), max(values)
        print(f"{name:26} {statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")


def _bare(run: fit.Run, resident: list[torch.Tensor]) -> None:
    for x in resident:
        embeddings, logits = run.forward(x)
        (embeddings.sum() + logits.sum()).backward()
        run.optimiser.zero_grad(set_to_none=True)


def _speed(work: Callable[[], None], images: int) -> float:
    began = time.perf_counter()
    work()
    return images / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
