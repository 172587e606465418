"""How many pseudo-classes are found, beside what the labels of the training images say of each number.

    python -m benchmarks.training.number --prepared artifacts/prepare
    python -m benchmarks.training.number --prepared DIR --thin 3 6 20     with so many images of each class

On the whitened features of the frozen backbone, where the first round of training finds the number. Labels,
of training classes only, are read to print AMI: agreement of k-means clusters with the classes, chance taken
off, in percent. "Strength" is prediction strength, by which the number is chosen without labels.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.contenders import machine
from benchmarks.training.train import Photos, our_start
from udml.config import load_params
from udml.data.catalog import read_catalog
from udml.evaluation.agreement import adjusted_mutual_information
from udml.learning.labels.number import find_clusters
from udml.learning.labels.pseudo_labels import cluster
from udml.learning.loop import embedding
from udml.learning.mixing import unit_rows
from udml.learning.model.head import principal_head


def main() -> None:
    """Embed once, then print a table for the whole set and for each thinned one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"), help="with labels")
    parser.add_argument("--thin", type=int, nargs="*", default=[], help="images of a class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    params = load_params().train
    photos = Photos(Path(), options.prepared, read_catalog(options.prepared), params)
    with tempfile.TemporaryDirectory() as scratch:
        run = our_start(photos, params, Path(scratch))
        one_view = embedding.embed(run, run.data.views, "embed", True)[0]
        features = embedding.averaged_over_views(run, one_view)
    labels = run.data.monitor_labels
    if labels is None:
        raise SystemExit("the training images have no labels: there is nothing to compare with")
    print(f"{machine()}; {options.prepared}, seed {options.seed}\n")
    for at_most in [len(labels), *options.thin]:
        rows = thinned(labels, at_most, options.seed)
        weight, bias = principal_head(features[rows], params.embedding_dim, params.head_whitening)
        vectors = unit_rows(features[rows] @ weight.T + bias).astype(np.float32)
        _show(vectors, labels[rows], params.clusters_per_batch, options.seed)


def thinned(labels: np.ndarray, at_most: int, seed: int) -> np.ndarray:
    """Rows, at most so many of each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    members = (order[labels[order] == one][:at_most] for one in np.unique(labels))
    return np.sort(np.concatenate(list(members)))


def _show(vectors: np.ndarray, labels: np.ndarray, at_least: int, seed: int) -> None:
    found = find_clusters(vectors, at_least, seed)
    classes = len(np.unique(labels))
    print(f"{len(vectors):,} images, {classes} classes of {len(vectors) / classes:.1f}\n")
    print("| images of a cluster | clusters | strength, % | AMI, % |\n|---|---|---|---|")
    for size, strength in found.strengths.items():
        k = max(at_least, len(vectors) // size)
        assignment = cluster(vectors, k, 20, 256, seed).assignment
        ami = 100 * adjusted_mutual_information(labels, assignment)
        print(f"| {size} | {k} | {100 * strength:.1f} | {ami:.1f} |", flush=True)
    print(f"\nfound: {found.clusters} clusters\n")


if __name__ == "__main__":
    main()
