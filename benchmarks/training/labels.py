"""Pseudo-labels by k-means, by the graph of neighbours, and by it without further views, on left-out classes.

    python -m benchmarks.training.labels --prepared places=artifacts/prepare grocery=DIR ...

Half of each set's training classes are trained on without their labels, the other half is scored, as in
`benchmarks.verdict`; no test class is seen. A row is a checkpoint as it would ship: R@1 and MAP@R,
leave-one-out, and of its round's labels: clusters, share left out of batches, share of the largest, and AMI
with the classes trained on.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from benchmarks.contenders import machine
from benchmarks.training.ceiling import figures
from benchmarks.training.train import Photos, our_start, rounds
from benchmarks.verdict.trainings import split_classes
from udml.config import Train, load_params
from udml.config.train import LABELS
from udml.evaluation.agreement import adjusted_mutual_information
from udml.learning.loop.run import Run
from udml.machine import keep_freed_memory

ONE_VIEW = "graph-of-one-view"
WAYS = (*LABELS, ONE_VIEW)


def main() -> None:
    """Train every way on every set with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", nargs="+", required=True, metavar="NAME=DIR", help="sets with labels")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--same-light", action="store_true", help="training views keep light and colour")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{machine()}; {options.steps} steps, seeds {options.seeds}\n")
    print("| set, seed | labels | step | R@1, % | MAP@R, % | clusters | left out, % | largest, % | AMI, % |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for given in options.prepared:
        name, _, directory = given.partition("=")
        params = dataclasses.replace(load_params().train, steps=options.steps)
        if options.same_light:
            params = dataclasses.replace(params, light_stops=0.0, cast_stops=0.0)
        photos = split_classes(Path(directory), params, most_scored=10**9)
        for seed in options.seeds:
            for way in options.ways:
                _show(f"{name}, {seed}", way, photos, dataclasses.replace(params, seed=seed))


def _show(place: str, way: str, photos: Photos, params: Train) -> None:
    """Train one way; a row of every checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        labels = "graph" if way == ONE_VIEW else way
        run = our_start(photos, dataclasses.replace(params, labels=labels), Path(scratch))
        if way == ONE_VIEW:
            run.data = dataclasses.replace(run.data, further_views=())
        for _ in rounds(run):
            print(_row(place, way, photos, run), flush=True)


def _row(place: str, way: str, photos: Photos, run: Run) -> str:
    last, labels = run.state.rounds[-1], run.data.monitor_labels
    if labels is None:
        raise SystemExit("the training images have no labels: there is nothing to compare with")
    ami = 100 * adjusted_mutual_information(labels, run.state.assignment)
    r1, map_at_r = figures(run, photos, looks=1)  # what is compared are labels
    return (
        f"| {place} | {way} | {last['step']} | {r1:.1f} | {map_at_r:.1f} | {last['clusters']} "
        f"| {100 * last['share_left_out']:.1f} | {100 * last['largest_share']:.1f} | {ami:.1f} |"
    )


if __name__ == "__main__":
    main()
