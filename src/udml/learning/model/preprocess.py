"""From decoded pixels to what a network sees. The ONNX graph does exactly the same.

`udml.export.graph` writes this arithmetic as ONNX nodes; the export stage compares the two on real
photographs and fails where they differ. Change both or neither.
"""

import torch
import torch.nn.functional as F

THOUSANDTHS = 1000
"""Shares and ratios count in thousandths, so that both sides use whole numbers and can't round apart."""

Channels = tuple[float, float, float]


def crop_share_steps(crop_share: float) -> int:
    """`crop_share`, above 0 and at most 1, as a whole number of thousandths."""
    steps = round(crop_share * THOUSANDTHS)
    if not 0 < steps <= THOUSANDTHS:
        raise ValueError(f"crop_share is {crop_share}: it must be from 0.001 to 1")
    return steps


def view_ratio_steps(view_ratio: float) -> int:
    """`view_ratio`, at least 1, as a whole number of thousandths."""
    steps = round(view_ratio * THOUSANDTHS)
    if steps < THOUSANDTHS:
        raise ValueError(f"view_ratio is {view_ratio}: it must be at least 1")
    return steps


def middle_of(
    height: int, width: int, crop_share: float, view_ratio: float = 1.0
) -> tuple[int, int, int, int]:
    """Where the part lies that is seen of an image: (top, left, height, width) in px, both at least 1."""
    longest = min(height, width) * view_ratio_steps(view_ratio) // THOUSANDTHS
    seen_height, seen_width = (
        max(1, min(side, longest) * crop_share_steps(crop_share) // THOUSANDTHS) for side in (height, width)
    )
    return (height - seen_height) // 2, (width - seen_width) // 2, seen_height, seen_width


def preprocess(
    images: torch.Tensor,
    input_px: int,
    crop_share: float,
    mean: Channels,
    std: Channels,
    view_ratio: float = 1.0,
) -> torch.Tensor:
    """Cut out the middle, resize it to a square (bilinear, antialiased) and normalise it.

    A square alone would leave out a quarter of most phones' photos, and half of a car. What is longer is
    squeezed, as the crops are that networks are trained with, which are up to 4/3 as long as wide.

    Args:
        images: uint8 [n, height, width, 3], RGB, of any strides.
        input_px: side of the square the network sees.
        crop_share: of the middle, what is kept of both its sides, 0.001 to 1.
        mean: per channel, on the 0..255 scale.
        std: per channel, on the 0..255 scale.
        view_ratio: the middle is at most so many times as long as wide; 1 is a square.

    Returns:
        float32 [n, 3, input_px, input_px] on the device of `images`.
    """
    top, left, height, width = middle_of(images.shape[1], images.shape[2], crop_share, view_ratio)
    middle = images[:, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
    resized = F.interpolate(
        middle, (input_px, input_px), mode="bilinear", antialias=True, align_corners=False
    )
    offset = torch.tensor(mean, dtype=torch.float32, device=images.device).view(3, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(3, 1, 1)
    return (resized - offset) / scale
