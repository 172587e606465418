"""Looking twice at an image: as a whole, and closer at its middle.

One look at one scale has much of how near the thing was and how it was cut. The mean of two has less of that,
and finds more of a kind (docs/model.md has what it is worth, and what it costs).

Shapes: n images, S = input_px, c = length of a feature.
"""

import torch
import torch.nn.functional as F
from torch import nn

_CUT_AWAY = 8  # the middle begins an eighth of the side from each edge


class LooksTwice(nn.Module):
    """A trunk whose feature of an image is the mean of that of the whole and that of the middle.

    The middle, three quarters of each side, is stretched to the whole side. It is made of the pixels that
    the trunk sees anyway, so what comes before the network stays as it is. Weights are named `trunk.` once
    more in here; that is how `model_version` tells two looks from one.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [n, 3, S, S] -> features float [n, c]; one pass through the trunk, with 2 n images."""
        both: torch.Tensor = self.trunk(torch.cat([x, _middle(x)]))
        return both.unflatten(0, (2, -1)).mean(0)


def _middle(x: torch.Tensor) -> torch.Tensor:
    side = x.shape[-1]
    cut = side // _CUT_AWAY
    middle = x[..., cut : side - cut, cut : side - cut]
    return F.interpolate(middle, (side, side), mode="bilinear", align_corners=False)


def looking(trunk: nn.Module, looks: int) -> nn.Module:
    """The trunk as it looks at an image once or twice."""
    return LooksTwice(trunk) if looks == 2 else trunk
