"""Depthwise convolution on maps smaller than its kernel, with a weight gradient that is not slow.

oneDNN's own weight gradient takes 70 to 110 ms for a 5 x 5 kernel on 128 maps of 1,152 x 3 x 3, a
hundred times what its forward pass takes, and the last stages of a small input are made of such
layers. One product and sum per kernel position takes 7 ms. On larger maps oneDNN is the faster one.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def keeps_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution is one that `SmallMapDepthwise` can compute."""
    kernel = conv.kernel_size[0]
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size == (kernel, kernel)
        and kernel % 2 == 1
        and conv.padding == (kernel // 2, kernel // 2)
        and conv.stride == conv.dilation == (1, 1)
    )


class SmallMapDepthwise(torch.autograd.Function):
    """Depthwise convolution, stride 1, output as large as the input: (x, weight, bias) -> y.

    Shapes: x and y float [n, c, h, w], weight float [c, 1, k, k] with k odd, bias float [c].
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.functional.conv2d` computes it."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        wanted = ctx.needs_input_grad
        padding = [weight.shape[2] // 2] * 2
        of_x = None
        if wanted[0]:
            of_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight),
                [True, False, False],
            )[0]  # fmt: skip
        of_weight = weight_gradient(gradient, x, weight.shape[2]) if wanted[1] else None
        return of_x, of_weight, gradient.sum((0, 2, 3)) if wanted[2] else None


def weight_gradient(gradient: torch.Tensor, x: torch.Tensor, kernel: int) -> torch.Tensor:
    """Gradient float [c, 1, k, k] of the weight, from those of the output and the input [n, c, h, w]."""
    out = gradient.new_zeros(kernel, kernel, x.shape[1])
    height, width = x.shape[2:]
    for row in range(kernel):
        for column in range(kernel):
            down, right = row - kernel // 2, column - kernel // 2
            (out_rows, in_rows), (out_columns, in_columns) = _overlap(height, down), _overlap(width, right)
            products = gradient[:, :, out_rows, out_columns] * x[:, :, in_rows, in_columns]
            out[row, column] = products.sum((0, 2, 3))
    return out.permute(2, 0, 1)[:, None]


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Where output and input, shifted against each other, meet: empty where they don't."""
    first = slice(max(0, -shift), max(0, min(length, length - shift)))
    second = slice(max(0, shift), max(0, min(length, length + shift)))
    return first, second
