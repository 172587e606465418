"""What is said of how pseudo-classes came about."""

from collections.abc import Mapping
from typing import Any

from udml.learning.labels.number import DOUBTFUL_STRENGTH


def found_on_a_part(first: Mapping[str, Any]) -> str:
    """That the number of clusters was found on a part of the images, by the first round; "" where not.

    A round of a version before did not say how many images it had, and nothing is said of it.
    """
    part = first.get("clusters_found_on_images", 0)
    images = first.get("images", 0)
    if not 0 < part < images:
        return ""
    return f"The number of clusters was found on {part:,} of {images:,} images, those around one of them."


def doubtful_strength(first: Mapping[str, Any]) -> float | None:
    """The share of pairs in a cluster on which two halves of the images agree, where that is too little.

    None where it is enough, and where the number of clusters was given, so that nobody looked.
    """
    strengths = first.get("strengths_by_cluster_size", {})
    strength: float | None = strengths.get(str(first.get("found_cluster_size")))
    return None if strength is None or strength >= DOUBTFUL_STRENGTH else strength
