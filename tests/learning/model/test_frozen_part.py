import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.learning.tiny import assert_identical, tiny_data, tiny_fit, tiny_params, weights
from udml.config import Train
from udml.learning.loop import run as run_module
from udml.learning.model import frozen_part as module
from udml.learning.model.backbone import blocks_of, create_backbone
from udml.learning.model.frozen_part import FrozenPart, frozen_part

NAMES = (
    "tf_efficientnet_lite0",
    "resnet10t",
    "convnext_atto",
    "mobilenetv4_conv_small_050",
    "deit_tiny_patch16_224",
    "vit_small_patch16_dinov3.lvd1689m",
    "hiera_tiny_224",
    "swin_tiny_patch4_window7_224",
)


class TwoBlocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))


def in_two(name: str, params: Train) -> tuple[nn.Module, FrozenPart | None]:
    torch.manual_seed(0)
    trunk = create_backbone(name, False, params.input_px).trunk.eval()
    trunk.to(memory_format=torch.channels_last).requires_grad_(False)
    return trunk, frozen_part(trunk, params)


def images(count: int, side: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last)


def never_asked() -> torch.Tensor:
    raise AssertionError("the batch was asked for again")


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_features_are_those_of_the_whole_trunk_and_a_batch_is_seen_once(name: str) -> None:
    trunk, part = in_two(name, tiny_params(frozen_blocks=3, input_px=64))
    assert part is not None
    batch = images(5, 64)
    expected = trunk(batch)
    assert torch.equal(part.features("batch", lambda: batch), expected)
    assert torch.equal(part.features("batch", never_asked), expected)
    other = images(3, 64, seed=1)
    assert torch.equal(part.features("other", lambda: other), trunk(other))


@torch.inference_mode()
def test_what_is_trained_meanwhile_counts() -> None:
    trunk, part = in_two("tf_efficientnet_lite0", tiny_params(frozen_blocks=4))
    assert part is not None
    batch = images(4, 32)
    before = part.features("batch", lambda: batch)
    for parameter in blocks_of(trunk)[4].parameters():
        parameter.mul_(1.5)
    after = part.features("batch", never_asked)
    assert not torch.equal(after, before)
    assert torch.equal(after, trunk(batch))


@torch.inference_mode()
def test_what_there_is_no_room_for_is_made_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, part = in_two("tf_efficientnet_lite0", tiny_params(frozen_blocks=4))
    assert part is not None
    first, second = images(4, 32), images(4, 32, seed=1)
    part.features("first", lambda: first)
    monkeypatch.setattr(module, "KEPT_BYTES", 1 + sum(kept.nbytes for kept in part.kept.values()))
    for _ in range(2):
        assert torch.equal(part.features("second", lambda: second), trunk(second))
    assert list(part.kept) == ["first"]


@pytest.mark.parametrize("changes", [{"tuning": "full"}, {"tuning": "lora"}, {"frozen_blocks": 0}])
def test_there_is_none_where_nothing_is_frozen(changes: dict[str, object]) -> None:
    assert in_two("tf_efficientnet_lite0", tiny_params(**changes))[1] is None


def test_there_is_none_where_something_goes_past_the_blocks() -> None:
    class Past(TwoBlocks):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(x).mean((2, 3)) + x.mean((1, 2, 3))[:, None]

    assert frozen_part(Past().eval().requires_grad_(False), tiny_params(frozen_blocks=1)) is None


def test_there_is_none_where_a_block_writes_over_its_input() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.SiLU(inplace=True), nn.Conv2d(8, 8, 3)))
    named = nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    params = tiny_params(frozen_blocks=1)
    assert frozen_part(named.eval().requires_grad_(False), params) is None
    trunk[1][0].inplace = False
    assert frozen_part(named, params) is not None


def test_there_is_none_where_a_trunk_objects() -> None:
    class Objecting(TwoBlocks):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = self.blocks(x)
            assert len(made) == len(x)
            return made.mean((2, 3))

    assert frozen_part(Objecting().eval().requires_grad_(False), tiny_params(frozen_blocks=1)) is None


def test_a_run_ships_the_same_bits_with_it_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data()
    looked_at = dataclasses.replace(data, further_views=(np.ascontiguousarray(data.views[:, :, ::-1]),))
    made: list[FrozenPart | None] = []

    def noting(trunk: nn.Module, params: Train) -> FrozenPart | None:
        made.append(frozen_part(trunk, params))
        return made[-1]

    monkeypatch.setattr(run_module, "frozen_part", noting)
    tiny_fit(tmp_path / "with", tiny_params(), looked_at)
    assert made[0] is not None
    assert len(made[0].kept) == 4  # fixed views, a look, and two views of what is held out
    monkeypatch.setattr(run_module, "frozen_part", lambda *_: None)
    tiny_fit(tmp_path / "without", tiny_params(), looked_at)
    assert_identical(weights(tmp_path / "with"), weights(tmp_path / "without"))
