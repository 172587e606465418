import pytest
import torch
import torch.nn.functional as F
from torch import nn

from udml.learning.model.depthwise import SmallMapDepthwise, keeps_size, weight_gradient
from udml.learning.model.frozen_norm import FoldedConv


@pytest.mark.parametrize(
    ("height", "width", "kernel"), [(3, 3, 5), (1, 1, 3), (2, 4, 5), (1, 6, 7), (6, 6, 3)]
)
def test_values_and_gradients_are_those_of_the_plain_convolution(
    height: int, width: int, kernel: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    inputs = (x, weight, bias)
    plain = F.conv2d(*inputs, padding=kernel // 2, groups=6)
    ours = SmallMapDepthwise.apply(*inputs)
    torch.testing.assert_close(ours, plain)
    outside = torch.randn_like(plain)
    for got, expected in zip(
        torch.autograd.grad(ours, inputs, outside), torch.autograd.grad(plain, inputs, outside), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_gradient_by_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 2, 2), (3, 1, 3, 3), (3,)]
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(SmallMapDepthwise.apply, inputs)


def test_what_is_frozen_gets_no_gradient() -> None:
    x, weight, bias = torch.randn(1, 2, 2, 2), torch.randn(2, 1, 3, 3, requires_grad=True), torch.zeros(2)
    SmallMapDepthwise.apply(x, weight, bias).sum().backward()
    assert x.grad is None
    assert bias.grad is None
    torch.testing.assert_close(weight.grad, weight_gradient(torch.ones(1, 2, 2, 2), x, 3))


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), True),
        (nn.Conv2d(4, 4, 5, padding=2), False),
        (nn.Conv2d(4, 8, 5, padding=2, groups=4), False),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4, stride=2), False),
        (nn.Conv2d(4, 4, 5, padding=4, groups=4, dilation=2), False),
        (nn.Conv2d(4, 4, 4, padding=2, groups=4), False),
        (nn.Conv2d(4, 4, (5, 3), padding=(2, 1), groups=4), False),
        (nn.Conv2d(4, 4, 5, groups=4), False),
    ],
)
def test_which_convolutions_it_computes(conv: nn.Conv2d, expected: bool) -> None:
    assert keeps_size(conv) == expected


def test_a_folded_convolution_uses_it_where_it_trains_on_small_maps() -> None:
    folded = FoldedConv(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False), nn.BatchNorm2d(4))
    used = [type(folded(torch.randn(1, 4, side, side)).grad_fn).__name__ for side in (3, 4, 5, 8)]
    assert used == ["SmallMapDepthwiseBackward"] * 2 + ["ConvolutionBackward0"] * 2
    with torch.no_grad():
        assert folded(torch.randn(1, 4, 3, 3)).grad_fn is None
