"""Does the exported model say the same as the model that was trained? Numbers from two callables.

Shapes: n images, d embedding length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from udml.errors import UdmlError
from udml.progress import progress

Embed = Callable[[np.ndarray], np.ndarray]
"""uint8 [n, height, width, 3] -> float32, mostly [n, d] unit rows."""

_TIE = 1e-6  # two neighbours this close in cosine similarity are equally near
_BATCH = 32  # images; more adds nothing to the comparison but memory


@dataclass(frozen=True)
class Parity:
    """How far two models that should be the same are apart.

    Attributes:
        images: number of images compared.
        sizes: number of different image sizes among them.
        min_cosine: smallest cosine similarity between the two models' vectors of an image, alone or in
            a batch.
        top1_agreement: share of images whose nearest other image is the same for a query from
            either model (gallery: the reference's vectors); equally near ones count as the same.
        max_abs_difference: largest difference of a single component.
        batch_max_abs_difference: largest difference of a single component between images in a batch
            and one by one, both by the candidate.
        max_norm_error: largest distance of a candidate vector's length from 1.
    """

    images: int
    sizes: int
    min_cosine: float
    top1_agreement: float
    max_abs_difference: float
    batch_max_abs_difference: float
    max_norm_error: float


def compare(reference: Embed, candidate: Embed, images: Sequence[np.ndarray]) -> Parity:
    """Embed `images` with both models and compare.

    Args:
        reference: the trained model; sees images in batches of their size.
        candidate: the exported model; sees each image alone and in the same batches.
        images: uint8 [height, width, 3] each, at least 2, of any sizes.

    Raises:
        UdmlError: with fewer than 2 images, or if a vector is not finite.
    """
    if len(images) < 2:
        raise UdmlError("parity needs at least 2 images: one has no neighbour", "import more images")
    ordered = sorted(images, key=lambda image: image.shape)
    expected, alone, batched = [], [], []
    for batch in progress(list(_batches(ordered)), "parity", unit="batch"):
        together = np.stack(batch)
        expected.append(reference(together))
        alone += [candidate(image[None]) for image in batch]
        batched.append(candidate(together))
    return compare_vectors(
        np.concatenate(expected),
        np.concatenate(alone),
        np.concatenate(batched),
        sizes=len({image.shape for image in images}),
    )


def largest_pixel_difference(reference: Embed, candidate: Embed, images: Sequence[np.ndarray]) -> float:
    """Largest difference between what two preprocessings make of any pixel of `images`.

    Vectors alone can hide a wrong resize: a pooled network may shrug off a few wrong edges on these
    images and not on others.

    Args:
        reference: uint8 [1, height, width, 3] -> float32 [1, 3, S, S].
        candidate: the same, by the exported model.
        images: uint8 [height, width, 3] each, of any sizes.
    """
    return max(float(np.abs(reference(image[None]) - candidate(image[None])).max()) for image in images)


def compare_vectors(expected: np.ndarray, alone: np.ndarray, batched: np.ndarray, sizes: int) -> Parity:
    """The numbers of `Parity` from float [n, d] vectors of the same n images, n >= 2.

    Args:
        expected: by the reference, in batches.
        alone: by the candidate, one image at a time.
        batched: by the candidate, in batches.
        sizes: number of different image sizes.
    """
    expected, alone, batched = (vectors.astype(np.float64) for vectors in (expected, alone, batched))
    if not all(np.isfinite(vectors).all() for vectors in (expected, alone, batched)):
        raise UdmlError("a model returned NaN or infinity", "train again, with a lower learning rate")
    norm_error = np.abs(np.linalg.norm(np.concatenate([alone, batched]), axis=1) - 1)
    return Parity(
        images=len(expected),
        sizes=sizes,
        min_cosine=float(min(_cosines(expected, alone).min(), _cosines(expected, batched).min())),
        top1_agreement=_top1_agreement(expected, alone),
        max_abs_difference=float(np.abs(expected - alone).max()),
        batch_max_abs_difference=float(np.abs(alone - batched).max()),
        max_norm_error=float(norm_error.max()),
    )


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    scale = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / np.maximum(scale, 1e-12)


def _top1_agreement(expected: np.ndarray, alone: np.ndarray) -> float:
    """Share of rows whose nearest other row of `expected` is the same from either side."""
    rows = np.arange(len(expected))
    similarity = expected @ expected.T
    np.fill_diagonal(similarity, -np.inf)
    candidate_similarity = alone @ expected.T
    np.fill_diagonal(candidate_similarity, -np.inf)
    chosen = candidate_similarity.argmax(axis=1)
    return float((similarity[rows, chosen] >= similarity.max(axis=1) - _TIE).mean())


def _batches(ordered: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Split images sorted by shape into batches of one shape."""
    batches: list[list[np.ndarray]] = []
    for image in ordered:
        if batches and batches[-1][0].shape == image.shape and len(batches[-1]) < _BATCH:
            batches[-1].append(image)
        else:
            batches.append([image])
    return batches
