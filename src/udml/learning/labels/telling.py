"""What is said of how pseudo-classes came about."""

from collections.abc import Mapping
from typing import Any


def found_on_a_part(first: Mapping[str, Any]) -> str:
    """That the number of clusters was found on a part of the images, by the first round; "" where not.

    A round of a version before did not say how many images it had, and nothing is said of it.
    """
    part = first.get("clusters_found_on_images", 0)
    images = first.get("images", 0)
    if not 0 < part < images:
        return ""
    return f"The number of clusters was found on {part:,} of {images:,} images, those around one of them."
