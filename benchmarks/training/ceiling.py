"""How far from supervised: the same training by pseudo-labels and by the true labels of its classes.

    python -m benchmarks.training.ceiling --prepared artifacts/prepare
    python -m benchmarks.training.ceiling --prepared DIR --steps 240 --same-light   as benchmarks.grocery does

Same trunk, loss, sampler, views and number of steps; in the second row the clustering is replaced by the
labels of the training classes, and nothing else. Scored, leave-one-out, on the test classes, which neither
sees; of both the last checkpoint, as it would ship, `export.looks` at an image. "Gap closed" is how much of
the way from the whitened start to the supervised end the unlabelled training goes, in MAP@R. Other settings
are those of params.yaml.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.contenders import machine, spread
from benchmarks.training.train import Photos, as_shipped, embed, our_start, rounds, teach
from udml.config import Train, load_params
from udml.data.catalog import read_catalog
from udml.evaluation.metrics import score_queries
from udml.export.looks import looking
from udml.learning.loop.run import Run
from udml.machine import keep_freed_memory

Figures = tuple[float, float]  # R@1 and MAP@R, percent


def main() -> None:
    """Train both ways with each seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"), help="with labels")
    parser.add_argument("--steps", type=int, help="default: that of params.yaml")
    parser.add_argument(
        "--same-light", action="store_true", help="training views keep their light and colour"
    )
    parser.add_argument("--clusters", type=int, help="default: that of params.yaml")
    parser.add_argument("--rotation-weight", type=float, help="default: that of params.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    keep_freed_memory()
    settings = load_params()
    params, looks = settings.train, settings.export.looks
    params = dataclasses.replace(
        params, steps=options.steps or params.steps, clusters=options.clusters or params.clusters
    )
    if options.rotation_weight is not None:
        params = dataclasses.replace(params, rotation_weight=options.rotation_weight)
    if options.same_light:
        params = dataclasses.replace(params, light_stops=0.0, cast_stops=0.0)
    photos = Photos(Path(), options.prepared, read_catalog(options.prepared), params)
    ways: dict[str, list[tuple[Figures, Figures]]] = {"pseudo-labels": [], "supervised": []}
    for seed in options.seeds:
        for way, found in ways.items():
            seeded = dataclasses.replace(params, seed=seed)
            found.append(start_and_end(photos, seeded, looks, supervised=way == "supervised"))
    given = f"{params.steps} steps, {params.input_px} px, looks {looks}, rotation {params.rotation_weight:g}"
    print(f"\n{machine()}; {given}, seeds {options.seeds}\n")
    print(table(ways))


def start_and_end(
    photos: Photos, params: Train, looks: int, supervised: bool = False
) -> tuple[Figures, Figures]:
    """Figures of the whitened start and of the last checkpoint, each as it would ship."""
    with tempfile.TemporaryDirectory() as scratch:
        run = our_start(photos, params, Path(scratch))
        if supervised:
            teach(run)
        going_on = rounds(run)
        next(going_on)
        start = figures(run, photos, looks)
        for _ in going_on:
            pass
        return start, figures(run, photos, looks)


def figures(run: Run, photos: Photos, looks: int) -> Figures:
    """R@1 and MAP@R of the test images, in percent, by what would ship now."""
    shipped = as_shipped(run)
    shipped.trunk = looking(shipped.trunk, looks)
    every = photos.scored(embed(run, shipped, photos.test_views))
    found = score_queries(every, every, np.arange(len(every.labels)), [1], False, 2**29).values
    return 100 * float(found["recall_at_1"].mean()), 100 * float(found["map_at_r"].mean())


def gap_closed(start: float, own: float, ceiling: float) -> float:
    """How much of the way from the whitened start to the supervised end is gone without labels, percent."""
    return 100 * (own - start) / (ceiling - start)


def table(ways: dict[str, list[tuple[Figures, Figures]]]) -> str:
    """Markdown: the whitened start, both ends, and the share of the gap that is closed."""
    starts = [start for start, _ in ways["pseudo-labels"]]
    ends = {way: [end for _, end in found] for way, found in ways.items()}
    closed = [
        gap_closed(start[1], own[1], ceiling[1])
        for start, own, ceiling in zip(starts, *ends.values(), strict=True)
    ]
    return "\n".join([
        "| model | R@1, % | MAP@R, % | gap closed, % |",
        "|---|---|---|---|",
        _row("frozen backbone, whitened", starts, "0"),
        _row("trained by pseudo-labels", ends["pseudo-labels"], spread(closed, 0)),
        _row("trained by the true labels, same loss and steps", ends["supervised"], "100"),
    ])  # fmt: skip


def _row(name: str, figures: Sequence[Figures], closed: str) -> str:
    r1, map_at_r = (spread(list(values), 1) for values in zip(*figures, strict=True))
    return f"| {name} | {r1} | {map_at_r} | {closed} |"


if __name__ == "__main__":
    main()
