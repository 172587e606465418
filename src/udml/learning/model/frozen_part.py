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


class Remembered(nn.Module):
    """Stands for a block: whatever it is given, what that block has made before comes out."""

    made: torch.Tensor

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        """What the block made: [m, ...]."""
        return self.made


@dataclass
class FrozenPart:
    """A trunk, and what is needed to go through its frozen blocks once only.

    Attributes:
        trunk: the whole.
        last: its last frozen block.
        rest: a copy whose weights are the trunk's own, with something else in the place of that block.
        remembered: what is there.
        any_image: float32 [1, 3, S, S]; what comes before sees it in place of all images.
        kept: what the last frozen block made of a batch, by the batch's name.
    """

    trunk: nn.Module
    last: nn.Module
    rest: nn.Module
    remembered: Remembered
    any_image: torch.Tensor
    kept: dict[Hashable, torch.Tensor] = field(default_factory=dict)

    def features(self, name: Hashable, batch: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Pooled features float32 [m, c] of preprocessed images float32 [m, 3, S, S], asked for once at most.

        Whether anything is kept makes no difference to a bit of them: a killed run goes on as it would have.
        """
        made = self.kept.get(name)
        if made is None:
            made = _made_by(self.last, self.trunk, batch())
            if made.nbytes + sum(one.nbytes for one in self.kept.values()) <= KEPT_BYTES:
                self.kept[name] = made
        self.remembered.made = made
        return self.rest(self.any_image)


@torch.inference_mode()
def frozen_part(trunk: nn.Module, params: Train) -> FrozenPart | None:
    """The frozen part of `trunk`, or None where nothing is frozen, or what is can't be told from the rest.

    It can be where blocks are called one after another, as almost everywhere. It is tried on made-up images.
    """
    blocks, count, side = blocks_of(trunk), params.frozen_blocks, params.input_px
    if params.tuning != "blocks" or not 0 < count < len(blocks):
        return None
    images = torch.linspace(0, 99, 2 * 3 * side * side).reshape(2, 3, side, side).sin()
    images = images.to(memory_format=torch.channels_last)
    shared: dict[int, Any] = {id(tensor): tensor for tensor in [*trunk.parameters(), *trunk.buffers()]}
    rest, remembered = copy.deepcopy(trunk, shared), Remembered()
    last = blocks[count - 1]
    rest.set_submodule(next(name for name, module in trunk.named_modules() if module is last), remembered)
    part = FrozenPart(trunk, last, rest, remembered, images[:1])
    try:
        whole = trunk(images)
        # twice, as a block may write over what it is given
        same = all(torch.equal(part.features("made up", lambda: images), whole) for _ in range(2))
    except Exception:  # a trunk may object in any way to being entered at its middle
        return None
    part.kept.clear()
    return part if same else None


class _MadeError(Exception):
    """The frozen part is at its end."""


def _made_by(block: nn.Module, trunk: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What `block` makes when `trunk` is given images; what comes after it is not called."""
    made: list[torch.Tensor] = []

    def stop(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        made.append(output)
        raise _MadeError

    hook = block.register_forward_hook(stop)
    try:
        trunk(images)
    except _MadeError:
        pass
    finally:
        hook.remove()
    return made[0]
