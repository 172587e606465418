"""How good is an embedding when nobody has labelled anything? Numbers from arrays, no torch.

Shapes: n images (or queries), m gallery images, d embedding length. Embeddings are float32 rows of
unit length.
"""

import numpy as np


def augmentation_ranks(views: np.ndarray, gallery: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Find each image again from a strong view of it. Ties count against the embedding.

    Args:
        views: [n, d] embeddings of strong views.
        gallery: [m, d] embeddings of plain images; the other m - 1 are distractors.
        positive: int [n], the gallery row each view was made from.

    Returns:
        int64 [n], the rank of each view's own image, 1 being first.
    """
    ranks = np.empty(len(views), np.int64)
    for start in range(0, len(views), 256):  # bounded memory: 256 x m similarities at a time
        chunk = slice(start, start + 256)
        similarity = views[chunk] @ gallery.T
        rows = np.arange(len(similarity))
        own = similarity[rows, positive[chunk]].copy()
        similarity[rows, positive[chunk]] = -np.inf
        # identical vectors may differ in the last bits after a matrix product
        ranks[chunk] = 1 + (similarity >= own[:, None] - 1e-6).sum(axis=1)
    return ranks


def augmentation_retrieval(views: np.ndarray, gallery: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """`r1`, the share of `augmentation_ranks` that are 1, and `mrr`, the mean of 1 / rank. Both 0..1.

    `mrr_error` is the standard error of `mrr`.
    """
    ranks = augmentation_ranks(views, gallery, positive)
    error = (1 / ranks).std() / np.sqrt(len(ranks))
    return {"r1": float((ranks == 1).mean()), "mrr": float((1 / ranks).mean()), "mrr_error": float(error)}


def effective_rank(embeddings: np.ndarray) -> float:
    """How many directions the embeddings use: exp of the entropy of the singular values.

    RankMe (arXiv 2210.02885), on [n, d] embeddings as they are; between 1 (collapsed to a line)
    and min(n, d).
    """
    singular = np.linalg.svd(embeddings.astype(np.float64), compute_uv=False)
    share = singular / max(singular.sum(), 1e-12)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def spread(embeddings: np.ndarray) -> dict[str, float]:
    """`embedding_std` (mean over dimensions; 1/sqrt(d) is spread evenly, 0 collapsed) and `mean_cosine`.

    `mean_cosine` is the mean over all pairs of different rows of [n, d], n >= 2.
    """
    n = len(embeddings)
    total = embeddings.astype(np.float64).sum(axis=0)
    own = float((embeddings.astype(np.float64) ** 2).sum())
    return {
        "embedding_std": float(embeddings.std(axis=0).mean()),
        "mean_cosine": float((total @ total - own) / max(n * (n - 1), 1)),
    }


def hubness(neighbours: np.ndarray, gallery_size: int) -> float:
    """Skewness of how often each gallery image is somebody's neighbour; 0 is fair, above 5 is poor.

    Args:
        neighbours: int [n, k] gallery rows.
        gallery_size: m.
    """
    counts = np.bincount(neighbours.ravel(), minlength=gallery_size).astype(np.float64)
    deviation = counts - counts.mean()
    scale = counts.std()
    return float((deviation**3).mean() / scale**3) if scale > 0 else 0.0
