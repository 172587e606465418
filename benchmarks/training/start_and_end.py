"""Does training end above where it starts? The whitened start and the end, on whole sets and on thinned ones.

    python -m benchmarks.training.start_and_end --prepared DIR --rotation-weights 0.1 0 --seeds 0 1 2
    python -m benchmarks.training.start_and_end --prepared DIR --thin 3 6 20 60 --ways as-set n/25

Thinned: so many images of each training class are trained on; a size that no class reaches is left out. The
test classes are whole. `as-set` goes by params.yaml, `n/25` by k-means with a cluster for 25 images, as
versions before did. Scored leave-one-out on the test classes; of each training the last checkpoint, as it
would ship. Other settings are those of params.yaml.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np

from benchmarks.contenders import machine, spread
from benchmarks.training.ceiling import Figures, start_and_end
from benchmarks.training.number import thinned
from benchmarks.training.train import Photos
from udml.config import Train, load_params
from udml.data.catalog import read_catalog
from udml.learning.labels.pseudo_labels import choose_clusters
from udml.machine import keep_freed_memory

WAYS = ("as-set", "n/25")


def main() -> None:
    """Train on every thinning, every way, and print a row of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"), help="with labels")
    parser.add_argument("--thin", type=int, nargs="*", default=[], help="images of a training class")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["as-set"])
    parser.add_argument("--rotation-weights", type=float, nargs="+", help="default: that of params.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    keep_freed_memory()
    settings = load_params()
    params, looks = settings.train, settings.export.looks
    weights = options.rotation_weights or [params.rotation_weight]
    print(f"{machine()}; {options.prepared}, {params.steps} steps, looks {looks}, seeds {options.seeds}\n")
    print("| images a class | labels | rotation | seed | start: R@1, % | MAP@R, % | end: R@1, % | MAP@R, % |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for size, way, weight in itertools.product(options.thin or [None], options.ways, weights):
        what = f"| {size or 'all'} | {way} | {weight:g}"
        found = []
        for seed in options.seeds:
            changed = dataclasses.replace(params, seed=seed, rotation_weight=weight)
            photos = _photos(options.prepared, size, seed, params)
            if photos is not None:
                found.append(start_and_end(photos, _labelled(way, changed, photos), looks))
                print(f"{what} | {seed} | {_row(found[-1:])} |", flush=True)
        if len(found) > 1:
            print(f"{what} | all | {_row(found)} |", flush=True)


def _photos(prepared: Path, size: int | None, seed: int, params: Train) -> Photos | None:
    """The set with so many images of each training class; None where every class has fewer."""
    catalog = read_catalog(prepared)
    training = np.flatnonzero(catalog["split"] == "train")
    labels = catalog["label"].iloc[training]
    if labels.isna().all():
        raise SystemExit("the training images have no labels: they can't be thinned class by class")
    codes = labels.astype("category").cat.codes.to_numpy()
    if size is not None:
        if np.bincount(codes).max() < size:
            return None
        left_out = np.setdiff1d(training, training[thinned(codes, size, seed)])
        split = catalog["split"].to_numpy().astype(object)
        split[left_out] = "excluded"
        catalog = catalog.assign(split=split)
    return Photos(Path(), prepared, catalog, params)


def _labelled(way: str, params: Train, photos: Photos) -> Train:
    if way == "as-set":
        return params
    images = int((photos.catalog["split"] == "train").sum())
    clusters = choose_clusters(images, params.clusters_per_batch)
    return dataclasses.replace(params, labels="kmeans", clusters=clusters)


def _row(found: list[tuple[Figures, Figures]]) -> str:
    """R@1 and MAP@R of the starts and of the ends: that MAP@R rises may show in its second decimal only."""
    columns = zip(*((*start, *end) for start, end in found), strict=True)
    return " | ".join(spread(list(values), 2) for values in columns)


if __name__ == "__main__":
    main()
