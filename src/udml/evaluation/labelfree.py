"""How good is an embedding when nobody has labelled anything? Numbers from arrays, no torch.

Shapes: n images (or queries), m gallery images, d embedding length. Embeddings are float32 rows of
unit length.
"""

import numpy as np

NEIGHBOURS = 10


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


def neighbours_found_again(views: np.ndarray, gallery: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """How much of an image's neighbourhood is mutual, and is found by a strong view of it, too.

    Of its ten nearest, the share that has the image among their own ten and is among the ten nearest of the
    view. Agreement alone rises with anything that training makes alike, reciprocity alone with anything that
    spreads; a training that harms loses one of them. docs/verdict.md has what that was chosen by.

    Args:
        views: [n, d] embeddings of strong views.
        gallery: [m, d] embeddings of plain images, m >= 2, no two of them copies of one another.
        positive: int [n], the gallery row each view was made from.

    Returns:
        float64 [n], 0..1.
    """
    k = min(NEIGHBOURS, len(gallery) - 1)
    own = _nearest(gallery[positive], gallery, positive, k)
    others, place = np.unique(own, return_inverse=True)
    back = _nearest(gallery[others], gallery, others, k)[place.reshape(own.shape)]
    mutual = (back == positive[:, None, None]).any(axis=2)
    seen = (own[:, :, None] == _nearest(views, gallery, positive, k)[:, None, :]).any(axis=2)
    return (mutual & seen).sum(axis=1) / k


def _nearest(queries: np.ndarray, gallery: np.ndarray, left_out: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k nearest of [m, d] to each of [n, d], int64 [n, k] in any order, one row each left out."""
    found = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), 256):  # bounded memory: 256 x m similarities at a time
        chunk = slice(start, start + 256)
        similarity = queries[chunk] @ gallery.T
        similarity[np.arange(len(similarity)), left_out[chunk]] = -np.inf
        found[chunk] = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    return found


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
