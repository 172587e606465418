import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from udml.export.looks import LooksTwice, looking


class Seen(nn.Module):
    """A trunk whose features are the pixels themselves; keeps how many images each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(x))
        return x.flatten(1)


def images(count: int, side_px: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3, side_px, side_px))).float()


@pytest.mark.parametrize(("side_px", "cut_px"), [(96, 12), (224, 28), (30, 3), (7, 0)])
def test_a_feature_is_the_mean_of_the_whole_and_of_the_middle_stretched(side_px: int, cut_px: int) -> None:
    x = images(5, side_px)
    middle = x[:, :, cut_px : side_px - cut_px, cut_px : side_px - cut_px]
    stretched = F.interpolate(middle, (side_px, side_px), mode="bilinear", align_corners=False)
    trunk = Seen()
    torch.testing.assert_close(LooksTwice(trunk)(x), (x + stretched).flatten(1) / 2)
    assert trunk.passes == [10]


def test_an_image_alone_and_in_a_batch_are_the_same() -> None:
    x, trunk = images(4, 32), LooksTwice(Seen())
    torch.testing.assert_close(torch.cat([trunk(one[None]) for one in x]), trunk(x))


def test_one_look_leaves_a_trunk_as_it_is() -> None:
    trunk = Seen()
    assert looking(trunk, 1) is trunk
    assert isinstance(looking(trunk, 2), LooksTwice)
