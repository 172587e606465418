"""What is said of how pseudo-classes came about."""

from collections.abc import Mapping
from typing import Any


def found_on_a_part(first: Mapping[str, Any]) -> str:
    """That the number of clusters was found on a part of the images, by the first round; "" where not."""
    part = first.get("clusters_found_on_images", 0)
    images = sum((first.get("cluster_sizes_histogram") or {"counts": []})["counts"])
    if not 0 < part < images:
        return ""
    return f"The number of clusters was found on {part:,} of {images:,} images, those around one of them."
