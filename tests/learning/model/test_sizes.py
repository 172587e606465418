"""Sizes that trunks take: refused by name before anything is computed, with those that work."""

import pytest
import torch

from udml.errors import UdmlError
from udml.learning.model.backbone import create_backbone
from udml.learning.model.sizes import feature_dim


@pytest.mark.parametrize(
    ("name", "input_px", "said"),
    [
        (
            "vit_tiny_patch16_224",
            100,
            "patches of 16 px don't divide it)\n  -> the nearest that it does: 96 and 112",
        ),
        ("vit_small_patch14_reg4_dinov2", 96, "the nearest that it does: 84 and 98"),
        ("hiera_tiny_224", 90, "the nearest that it does: 64 and 96"),
        pytest.param("inception_v4", 70, "the nearest that it does: 75 and 299", marks=pytest.mark.slow),
        pytest.param("efficientformer_l1", 230, "the nearest that it does: 224", marks=pytest.mark.slow),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_do(
    name: str, input_px: int, said: str
) -> None:
    with pytest.raises(
        UdmlError, match=f"train.input_px is {input_px}, which `{name}` does not take"
    ) as caught:
        create_backbone(name, False, input_px)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "input_px"),
    [("vit_tiny_patch16_224", 96), ("vit_tiny_patch16_224", 224), ("swin_tiny_patch4_window7_224", 64),
     ("resnet18", 65), ("googlenet", 227)],
)  # fmt: skip
def test_a_trunk_is_built_for_the_size_it_will_see(name: str, input_px: int) -> None:
    backbone = create_backbone(name, False, input_px)
    with torch.no_grad():
        features = backbone.trunk.eval()(torch.zeros(2, 3, input_px, input_px))
    assert features.shape == (2, backbone.feature_dim)


def test_dinov3_is_searched_by_its_class_token() -> None:
    assert create_backbone("vit_small_patch16_dinov3", False, 32).trunk.global_pool == "token"
    assert create_backbone("vit_tiny_patch16_224", False, 32).trunk.global_pool == "token"


class Maps(torch.nn.Module):
    """Gives feature maps, no vector."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_what_gives_no_vector_is_refused_by_name_with_the_reason() -> None:
    with pytest.raises(UdmlError, match="`maps` can't be used: it gives no single feature vector"):
        feature_dim("maps", lambda px: Maps(), 64, 224)


def test_asking_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    with pytest.raises(UdmlError):
        create_backbone("vit_tiny_patch16_224", False, 100)
    assert torch.equal(before, torch.get_rng_state())
