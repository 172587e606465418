"""Which input sizes a trunk takes, found out without computing anything.

A trunk on PyTorch's `meta` device has shapes and no numbers, so that building one and passing an image
through it takes a fraction of a second, whatever its size. What fails there would fail in training.

Shapes: S = input_px, c = length of a pooled feature vector.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import timm
import torch
from torch import nn

from udml.errors import UdmlError
from udml.progress import progress

Make = Callable[[int], nn.Module]
"""Builds a trunk, with random weights, for inputs of that many px."""

_FURTHEST_PX = 128  # sizes further away than this are no help
_DINOV3 = re.compile(r"vit_.*_dinov3")


def timm_options(name: str, input_px: int) -> dict[str, Any]:
    """What `timm.create_model` is to be told so that it builds a trunk for images of that size.

    Position embeddings, windows and biases then have that size once and for all. DINOv3's authors search by
    the class token, where timm averages the patches; every other pooling is as timm defines it.
    """
    options: dict[str, Any] = {"num_classes": 0, "img_size": input_px}
    if _DINOV3.match(name):
        options["global_pool"] = "token"
    try:
        _on_meta(lambda px: timm.create_model(name, **options), input_px)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        del options["img_size"]  # convolutions take what comes
    except (AssertionError, RuntimeError, ValueError):
        pass  # a size that does not fit: `feature_dim` says which do
    return options


def feature_dim(name: str, make: Make, input_px: int, native_px: int) -> int:
    """Length c of the features that the trunk gives for images of S px; `make` builds it.

    Args:
        name: what people call it.
        make: see `Make`.
        input_px: S.
        native_px: a size that it was made for.

    Raises:
        UdmlError: naming the nearest sizes that work, or why none does.
    """
    found = _try(make, input_px)
    if isinstance(found, int):
        return found
    reason = _try(make, native_px)
    if not isinstance(reason, int):
        raise UdmlError(f"train.backbone `{name}` can't be used: {reason}", "choose another one")
    sizes = _nearest(make, input_px, native_px)
    raise UdmlError(
        f"train.input_px is {input_px}, which `{name}` does not take ({found})",
        f"the nearest that it does: {' and '.join(map(str, sizes))}",
    )


def _nearest(make: Make, input_px: int, native_px: int) -> list[int]:
    """The nearest sizes on either side that work, in order; the native one stands in for one that is far."""
    below = _first(make, range(input_px - 1, max(0, input_px - _FURTHEST_PX), -1))
    above = _first(make, range(input_px + 1, input_px + _FURTHEST_PX))
    found = {size for size in (below, above) if size}
    return sorted(found | ({native_px} if len(found) < 2 else set()))


def _first(make: Make, sizes: Iterable[int]) -> int | None:
    bar = progress(list(sizes), "sizes tried", unit="size")
    return next((size for size in bar if isinstance(_try(make, size), int)), None)


def _try(make: Make, input_px: int) -> int | str:
    """Length of its features, or why images of that size don't pass."""
    try:
        trunk = _on_meta(make, input_px)
        side = _patch_side(trunk)
        if side and input_px % side:
            return f"patches of {side} px don't divide it"
        with torch.no_grad():
            features = trunk.eval()(torch.zeros(2, 3, input_px, input_px, device="meta"))
    except Exception as error:  # whatever an architecture raises where it does not fit
        return str(error).strip().split("\n")[0] or type(error).__name__
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        return "it gives no single feature vector for an image"
    return int(features.shape[1])


def _on_meta(make: Make, input_px: int) -> nn.Module:
    with torch.device("meta"):
        return make(input_px)


def _patch_side(trunk: nn.Module) -> int:
    """Side of the patches that an image is cut into, in px, or 0. Some trunks drop what is left over."""
    patches = getattr(trunk, "patch_embed", None) or getattr(trunk, "stem", None)
    size = getattr(patches, "patch_size", 0)
    return int(size if isinstance(size, int) else size[0])
