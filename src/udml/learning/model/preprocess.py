"""From decoded pixels to what a network sees. The ONNX graph does exactly the same.

`udml.export.graph` writes this arithmetic as ONNX nodes; the export stage compares the two on real
photographs and fails where they differ. Change both or neither.
"""

import torch
import torch.nn.functional as F

CROP_SHARE_STEPS = 1000
"""A crop share counts in thousandths, so that both sides use whole numbers and can't round apart."""

Channels = tuple[float, float, float]


def crop_share_steps(crop_share: float) -> int:
    """`crop_share`, above 0 and at most 1, as a whole number of thousandths."""
    steps = round(crop_share * CROP_SHARE_STEPS)
    if not 0 < steps <= CROP_SHARE_STEPS:
        raise ValueError(f"crop_share is {crop_share}: it must be from 0.001 to 1")
    return steps


def centre_square(height: int, width: int, crop_share: float) -> tuple[int, int, int]:
    """Where the centre square lies: (top, left, side) in px; the side is at least 1."""
    side = max(1, min(height, width) * crop_share_steps(crop_share) // CROP_SHARE_STEPS)
    return (height - side) // 2, (width - side) // 2, side


def preprocess(
    images: torch.Tensor, input_px: int, crop_share: float, mean: Channels, std: Channels
) -> torch.Tensor:
    """Cut the centre square, resize it (bilinear, antialiased) and normalise it.

    Args:
        images: uint8 [n, height, width, 3], RGB, of any strides.
        input_px: side of the square the network sees.
        crop_share: side of the centre square as a share of the shorter side, 0.001 to 1.
        mean: per channel, on the 0..255 scale.
        std: per channel, on the 0..255 scale.

    Returns:
        float32 [n, 3, input_px, input_px] on the device of `images`.
    """
    top, left, side = centre_square(images.shape[1], images.shape[2], crop_share)
    square = images[:, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
    resized = F.interpolate(
        square, (input_px, input_px), mode="bilinear", antialias=True, align_corners=False
    )
    offset = torch.tensor(mean, dtype=torch.float32, device=images.device).view(3, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(3, 1, 1)
    return (resized - offset) / scale
