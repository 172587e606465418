"""The leading blocks that are not trained make the same of a fixed view in each round: it is kept.

They are most of a forward pass (60 % of it with four blocks of EfficientNet-Lite0 at 96 px), and each round
embeds all training images by all their fixed views.

Shapes: m images of a batch, S = input_px, c length of features.
"""

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from udml.config import Train
from udml.learning.model.backbone import blocks_of

KEPT_BYTES = 512 * 2**20
"""At most; what is left over goes through the whole trunk each round."""


@dataclass
class FrozenPart:
    """A trunk in two: what is not trained, and the rest.

    Attributes:
        trunk: the whole.
        block: the first block of it that is trained.
        rest: a copy that goes on from the input of `block`; its weights are the trunk's own.
        kept: what the frozen part made of a batch, by the batch's name.
    """

    trunk: nn.Module
    block: nn.Module
    rest: nn.Module
    kept: dict[Hashable, torch.Tensor] = field(default_factory=dict)

    def features(self, name: Hashable, batch: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Pooled features float32 [m, c] of preprocessed images float32 [m, 3, S, S], asked for once at most.

        Whether anything is kept makes no difference to a bit of them: a killed run goes on as it would have.
        """
        between = self.kept.get(name)
        if between is None:
            between = _until(self.block, self.trunk, batch())
            if between.nbytes + sum(one.nbytes for one in self.kept.values()) <= KEPT_BYTES:
                self.kept[name] = between
        return self.rest(between)


@torch.inference_mode()
def frozen_part(trunk: nn.Module, params: Train) -> FrozenPart | None:
    """`trunk` in two, or None where nothing is frozen, or what is can't be told from the rest.

    It can be where modules are called one after another as they are listed, as those of convolutional
    networks mostly are. A vision transformer adds positions in between. It is tried on made-up images.
    """
    blocks = blocks_of(trunk)
    if params.tuning != "blocks" or not 0 < params.frozen_blocks < len(blocks):
        return None
    shared: dict[int, Any] = {id(tensor): tensor for tensor in [*trunk.parameters(), *trunk.buffers()]}
    rest = copy.deepcopy(trunk, shared)
    _leave_out_before(blocks_of(rest)[params.frozen_blocks], rest)
    part = FrozenPart(trunk, blocks[params.frozen_blocks], rest)
    side = params.input_px
    images = torch.linspace(0, 99, 2 * 3 * side * side).reshape(2, 3, side, side).sin()
    images = images.to(memory_format=torch.channels_last)
    try:
        same = torch.equal(part.features("made up", lambda: images), trunk(images))
    except Exception:  # a trunk may object in any way to an input from its middle
        return None
    part.kept.clear()
    return part if same else None


class _ReachedError(Exception):
    """The frozen part is at its end."""


def _until(block: nn.Module, trunk: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What `block` is given when `trunk` is given images."""
    given: list[torch.Tensor] = []

    def stop(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        given.extend(inputs)
        raise _ReachedError

    hook = block.register_forward_pre_hook(stop)
    try:
        trunk(images)
    except _ReachedError:
        pass
    finally:
        hook.remove()
    (one,) = given
    return one


def _leave_out_before(block: nn.Module, module: nn.Module) -> None:
    """Put nothing in the place of everything that comes before `block` in `module`."""
    for name, child in module.named_children():
        if child is block:
            return
        if any(one is block for one in child.modules()):
            _leave_out_before(block, child)
            return
        setattr(module, name, nn.Identity())
