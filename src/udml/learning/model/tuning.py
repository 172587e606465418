"""How much of a trunk is trained: all of it, its last blocks, low-rank adapters, or nothing but the head.

`docs/backbones.md` says which to take when.
"""

import copy
import warnings
from typing import Any

import torch
from torch import nn

from udml.config import Train
from udml.errors import UdmlError
from udml.learning.model.backbone import freeze_blocks

LORA_RANK = 16
"""Rank of the adapters, and their scale: an update counts as it is (Hu et al., ICLR 2022, section 4.1)."""


def tune(trunk: nn.Module, params: Train) -> None:
    """Leave gradients to what `train.tuning` trains, in place; seed torch before.

    Args:
        trunk: all of its weights trainable.
        params: the `train` section.

    Raises:
        UdmlError: if the trunk has fewer blocks, or nothing that adapters fit.
    """
    if params.tuning == "blocks":
        freeze_blocks(trunk, params.frozen_blocks)
    elif params.tuning == "lora":
        _add_adapters(trunk, params.backbone, params.input_px)
    elif params.tuning == "head":
        trunk.requires_grad_(False)


def _add_adapters(trunk: nn.Module, backbone: str, input_px: int) -> None:
    """Put an adapter beside each linear layer of the trunk (Hu et al., ICLR 2022), by peft."""
    names = _called_linear(trunk, input_px)
    if not names:
        raise UdmlError(
            f"train.tuning is lora, and `{backbone}` has no linear layers for adapters to go beside",
            "set it to blocks, full or head",
        )
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, lora_dropout=0.0, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a base model without a configuration: timm's have none
        inject_adapter_in_model(config, trunk)
    trunk.eval()


@torch.no_grad()
def _called_linear(trunk: nn.Module, input_px: int) -> list[str]:
    """Names of the linear layers that are called; some trunks read the weights of theirs instead."""
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in trunk.named_modules()
        if type(module) is nn.Linear
    ]
    trunk.eval()(torch.zeros(1, 3, input_px, input_px))
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(called))


@torch.no_grad()
def merged(module: nn.Module) -> nn.Module:
    """`module` with its adapters added to the weights beside them, under the names that it began with.

    What has no adapters is returned as it is; what has is copied.
    """
    if not any(hasattr(child, "lora_A") for child in module.modules()):
        return module
    whole = copy.deepcopy(module)
    _merge(whole)
    return whole


def _merge(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        adapted: Any = child
        if hasattr(child, "lora_A"):
            adapted.merge()
            setattr(module, name, adapted.get_base_layer())
        else:
            _merge(child)
