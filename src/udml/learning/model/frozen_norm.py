"""Batch norm with frozen statistics, folded into the convolution before it.

The method trains with frozen statistics (and clusters sorted into a batch would leak through live
ones), so a norm is an affine map per channel and convolution + norm is one convolution:
weight x scale, bias = beta - mean x scale. The gradients of weight, gamma and beta are those of the
unfolded pair; the passes over the activations that the norm costs are gone.
"""

import copy

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


@torch.no_grad()
def fold_frozen_norms(trunk: nn.Module, side_px: int = 64) -> nn.Module:
    """Fold every convolution + batch norm pair of `trunk`, in place, and put it in eval mode.

    Pairs are found by order of registration, which is the order of execution in most trunks. That is
    tried first on a copy with random statistics; where the copy's output changes, the trunk is left
    as it is: slower, never wrong. The outcome depends on the architecture only, not on the weights.
    """
    trunk.eval()
    original = copy.deepcopy(trunk)
    generator = torch.Generator().manual_seed(0)
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    folded = copy.deepcopy(original)
    _fold_children(folded)
    probe = torch.randn(2, 3, side_px, side_px, generator=generator)
    expected, got = original(probe), folded(probe)
    if bool((expected - got).abs().max() <= 1e-3 * expected.abs().max()):
        _fold_children(trunk)
    return trunk


def _fold_children(module: nn.Module) -> None:
    previous = ""
    for name, child in list(module.named_children()):
        before = getattr(module, previous, None) if previous else None
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            setattr(module, previous, FoldedConv(before, child))
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            _fold_children(child)
        previous = name
