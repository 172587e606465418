"""Batch norm with frozen statistics, folded into the convolution before it.

The method trains with frozen statistics (and clusters sorted into a batch would leak through live
ones), so a norm is an affine map per channel and convolution + norm is one convolution:
weight x scale, bias = beta - mean x scale. The gradients of weight, gamma and beta are those of the
unfolded pair; the passes over the activations that the norm costs are gone.
"""

import copy
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers.padding import pad_same
from torch import nn

from udml.learning.model.depthwise import SmallMapDepthwise, keeps_size


class FoldedConv(nn.Module):
    """A convolution and the frozen batch norm after it, computed as one convolution."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.weight = conv.weight
        self.conv_bias = conv.bias
        self.gamma = norm.weight
        self.beta = norm.bias
        self.register_buffer("mean", norm.running_mean)
        self.register_buffer("variance", norm.running_var)
        self.eps = norm.eps
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.groups, self.kernel_size = conv.groups, conv.kernel_size
        # timm's *Same convolutions pad by the input's size, as TensorFlow does
        self.pads_same = type(conv).__name__ == "Conv2dSame"
        self.keeps_size = keeps_size(conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [n, c, h, w] -> float [n, c', h', w']."""
        scale = self.gamma * torch.rsqrt(self.variance + self.eps)
        shift = self.mean if self.conv_bias is None else self.mean - self.conv_bias
        weight = self.weight * scale[:, None, None, None]
        bias = self.beta - shift * scale
        if self.pads_same:
            x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        elif self.keeps_size and self._is_trained_on_small_map(x):
            return SmallMapDepthwise.apply(x, weight, bias)
        return F.conv2d(
            x, weight, bias, self.stride, 0 if self.pads_same else self.padding, self.dilation, self.groups
        )

    def _is_trained_on_small_map(self, x: torch.Tensor) -> bool:
        trained = torch.is_grad_enabled() and self.weight.requires_grad
        return trained and x.device.type == "cpu" and max(x.shape[2:]) < self.kernel_size[0]


def fold_frozen_norms(trunk: nn.Module, side_px: int = 64) -> nn.Module:
    """Fold each convolution + batch norm pair of `trunk`, in place, where that is right; put it in eval mode.

    Pairs are found by order of registration, which is the order of execution in most trunks. Where it is
    not, the trunk is left as it is: slower, never wrong. Architecture and `side_px` decide, not the weights.
    """
    trunk.eval()
    if _has_pairs(trunk) and _is_folding_right(trunk, side_px):
        fold_every_norm(trunk)
    return trunk


def is_folded(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether the network that these weights, by name, are of was folded."""
    return any(name.endswith(".variance") for name in weights)


def _has_pairs(trunk: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())


@torch.no_grad()
def _is_folding_right(trunk: nn.Module, side_px: int) -> bool:
    """Try it on a copy whose weights and statistics are drawn at random.

    The trunk's own could hide a mistake, by a gamma of 0 such as residual branches begin with. In float64
    rounding stays below 1e-9 of the output, whatever the processor and its threads add up in which order.
    """
    generator = torch.Generator().manual_seed(0)
    tried = copy.deepcopy(trunk).double()
    for parameter in tried.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.normal_(0, math.sqrt(2 / fan_in), generator=generator)
    for module in tried.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    probe = torch.randn(2, 3, side_px, side_px, generator=generator, dtype=torch.float64)
    expected = tried(probe)
    fold_every_norm(tried)
    return bool((expected - tried(probe)).abs().max() <= 1e-6 * expected.abs().max())


def fold_every_norm(module: nn.Module) -> None:
    """Fold every pair, in place, whether or not that is right."""
    previous = ""
    for name, child in list(module.named_children()):
        before = getattr(module, previous, None) if previous else None
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            setattr(module, previous, FoldedConv(before, child))
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold_every_norm(child)
        previous = name
