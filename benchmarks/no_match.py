"""How often "no match" is said of pictures of the collection's kind, and how often of foreign ones.

    python -m benchmarks.no_match --strangers ../shared/data/grocery

On the finished workspace: half of the duplicate groups, picked at random, stay in the collection and
set the threshold; the other half asks, and so do pictures from elsewhere. Repeated with other halves.
"""

import argparse
from pathlib import Path

import faiss
import numpy as np

from udml import paths
from udml.config import load_params
from udml.data.catalog import read_catalog
from udml.search.embedder import Embedder, embed_files
from udml.search.gallery import open_index, vectors_of
from udml.search.no_match import nearest_others, spread_rows, threshold_at

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main() -> None:
    """Run and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--strangers", type=Path, required=True, help="a folder of other pictures")
    parser.add_argument("--count", type=int, default=500, help="how many of them")
    parser.add_argument("--halves", type=int, default=20)
    options = parser.parse_args()
    embedder = Embedder(paths.MODEL)
    catalog = read_catalog(paths.PREPARED)
    vectors = vectors_of(open_index(paths.INDEXED, embedder.card), catalog["image_id"].to_numpy())
    groups = catalog["group"].to_numpy()
    files = sorted(p for p in options.strangers.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    chosen = np.random.default_rng(0).permutation(len(files))[: options.count]
    strangers = embed_files(embedder, [files[i] for i in chosen]).vectors
    print(f"{len(vectors):,} images, {len(strangers)} strangers, {options.halves} random halves; in percent:")
    for error in sorted({0.01, 0.1, load_params().index.no_match_error}):
        found = [_shares(vectors, groups, strangers, error, seed) for seed in range(options.halves)]
        own, foreign, threshold = np.array(found).T
        print(f"stated {100 * error:4.1f}, threshold {threshold.mean():.3f}: told of the own kind", end=" ")
        print(f"{_said(100 * own)}, of strangers {_said(100 * foreign)}")


def _shares(
    vectors: np.ndarray, groups: np.ndarray, strangers: np.ndarray, error: float, seed: int
) -> tuple[float, float, float]:
    """Share of the other half, and of the strangers, that is told "no match"; and the threshold."""
    names = np.unique(groups)
    stays = np.isin(groups, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors[stays])
    rows = spread_rows(int(stays.sum()))
    threshold = threshold_at(nearest_others(index, vectors[stays][rows], groups[stays], rows), error)
    if threshold is None:
        raise SystemExit(f"{len(rows)} images are too few to state an error of {error}")
    own, foreign = (
        float((index.search(asked, 1)[0] < threshold).mean()) for asked in (vectors[~stays], strangers)
    )
    return own, foreign, threshold


def _said(shares: np.ndarray) -> str:
    return f"{shares.mean():.1f} ({shares.min():.1f} to {shares.max():.1f})"


if __name__ == "__main__":
    main()
