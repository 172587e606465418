import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from udml.errors import UdmlError
from udml.learning.model.backbone import OFFLINE_BACKBONE, blocks_of, create_backbone, freeze_blocks
from udml.learning.model.frozen_norm import FoldedConv, fold_frozen_norms, is_folded
from udml.learning.model.head import finish_head, principal_head, start_head
from udml.learning.model.network import ModelSpec, Network, load, read_spec, save, with_heads

SPEC = ModelSpec(
    OFFLINE_BACKBONE, False, 8, 4, 32, 0.9, (127.0,) * 3, (128.0,) * 3, "Apache-2.0", 160, "d", "p"
)


def with_random_statistics(trunk: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return trunk.eval()


@pytest.mark.parametrize("name", [OFFLINE_BACKBONE, "resnet18", "mobilenetv3_small_100", "googlenet"])
def test_folding_changes_neither_outputs_nor_gradients(name: str) -> None:
    trunk = with_random_statistics(create_backbone(name, pretrained=False).trunk)
    folded = fold_frozen_norms(copy.deepcopy(trunk)).double()
    assert any(isinstance(module, FoldedConv) for module in folded.modules())
    outcomes = []
    for model in (trunk.double(), folded):
        x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
        outputs = model(x)
        outputs.sum().backward()
        outcomes.append((outputs.detach(), x.grad))
    for expected, got in zip(*outcomes, strict=True):
        assert torch.allclose(got, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_norms_before_their_convolution_are_left_alone() -> None:
    trunk = timm.create_model("densenet121", num_classes=0)
    x = torch.randn(1, 3, 64, 64)
    expected = with_random_statistics(trunk)(x)
    folded = fold_frozen_norms(trunk)
    assert any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert torch.allclose(folded(x), expected, rtol=1e-3, atol=1e-4)


def test_the_offline_weights_are_the_imagenet_ones() -> None:
    trunk = create_backbone(OFFLINE_BACKBONE, pretrained=True).trunk.eval()
    again = create_backbone(OFFLINE_BACKBONE, pretrained=True).trunk.eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trunk(x), again(x))
    random = create_backbone(OFFLINE_BACKBONE, pretrained=False).trunk.eval()
    assert not torch.allclose(trunk(x), random(x), atol=1e-2)


@pytest.mark.parametrize(
    "name", [OFFLINE_BACKBONE, "resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224"]
)
def test_the_feature_length_is_what_the_trunk_gives(name: str) -> None:
    backbone = create_backbone(name, pretrained=False)
    side = 224 if "224" in name else 64
    assert backbone.trunk.eval()(torch.zeros(1, 3, side, side)).shape == (1, backbone.feature_dim)


def test_unknown_names_are_refused_with_close_ones() -> None:
    with pytest.raises(UdmlError, match=r"timm knows no model `resnet18x`"):
        create_backbone("resnet18x", pretrained=False)


@pytest.mark.parametrize(("name", "blocks"), [(OFFLINE_BACKBONE, 16), ("resnet18", 8), ("googlenet", 12)])
def test_freezing_stops_exactly_the_leading_blocks(name: str, blocks: int) -> None:
    trunk = create_backbone(name, pretrained=False).trunk
    assert len(blocks_of(trunk)) == blocks
    freeze_blocks(trunk, 3)
    frozen = [all(not p.requires_grad for p in block.parameters()) for block in blocks_of(trunk)]
    assert frozen == [True] * 3 + [False] * (blocks - 3)
    with pytest.raises(UdmlError, match=f"this backbone has {blocks} blocks"):
        freeze_blocks(trunk, blocks + 1)


def test_principal_head_centres_and_evens_out_variances() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 12)) * np.arange(1, 13) + 5).astype(np.float32)
    for whitening, expected in [(0.0, np.arange(12, 4, -1)), (1.0, np.ones(8))]:
        weight, bias = principal_head(features, 8, whitening)
        outputs = features @ weight.T + bias
        assert np.allclose(outputs.mean(axis=0), 0, atol=1e-3)
        assert np.allclose(outputs.std(axis=0, ddof=1), expected, rtol=0.15)
        correlation = np.corrcoef(outputs, rowvar=False) - np.eye(8)
        assert np.abs(correlation).max() < 1e-3


def test_principal_head_of_few_images_has_no_made_up_directions() -> None:
    features = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    weight, bias = principal_head(features, 8, 0.5)
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).all()
    assert (np.abs(weight[4:]).max(axis=1) == 0).all()  # 5 centred points span 4 directions


def test_starting_a_head_keeps_its_scale_and_finishing_it_whitens_its_outputs() -> None:
    torch.manual_seed(0)
    features = np.random.default_rng(1).normal(size=(400, 12)).astype(np.float32) * np.arange(1, 13)
    features = features.astype(np.float32)
    head = nn.Linear(12, 6)
    scale = float(head.weight.detach().norm())
    start_head(head, *principal_head(features, head.out_features, 0.5))
    assert float(head.weight.detach().norm()) == pytest.approx(scale, rel=1e-4)
    nn.init.normal_(head.weight)
    finish_head(head, features, 1.0)
    outputs = head(torch.from_numpy(features)).detach().numpy()
    assert np.allclose(np.cov(outputs, rowvar=False), np.eye(6), atol=0.02)
    assert np.allclose(outputs.mean(axis=0), 0, atol=1e-3)


def test_a_saved_network_loads_to_the_same_embeddings(tmp_path: Path) -> None:
    trunk = fold_frozen_norms(create_backbone(OFFLINE_BACKBONE, pretrained=True).trunk)
    network = Network(trunk, 1280, 8, 4)
    save(tmp_path, network.state_dict(), SPEC)
    loaded, spec = load(tmp_path)
    x = torch.randn(3, 3, 32, 32)
    assert spec == SPEC
    assert torch.equal(loaded(x), network.eval()(x))
    assert torch.allclose(loaded(x).norm(dim=1), torch.ones(3), atol=1e-5)


def test_a_model_from_before_weights_could_be_a_file_loads(tmp_path: Path) -> None:
    network = Network(create_backbone(OFFLINE_BACKBONE, False).trunk, 1280, 8, 4)
    save(tmp_path, network.state_dict(), SPEC)
    values = json.loads((tmp_path / "model.json").read_text())
    del values["weights"], values["weights_sha256"]
    (tmp_path / "model.json").write_text(json.dumps(values))
    assert load(tmp_path)[1] == SPEC


@pytest.mark.parametrize(("when_trained", "when_loaded"), [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_network_loads_whatever_threads_trained_and_load_it(
    when_trained: int, when_loaded: int, pretrained: bool, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(when_trained)
        backbone = create_backbone(OFFLINE_BACKBONE, pretrained)
        fold_frozen_norms(backbone.trunk)
        network = with_heads(backbone, SPEC)
        assert is_folded(network.state_dict())
        save(tmp_path, network.state_dict(), SPEC)
        torch.set_num_threads(when_loaded)
        loaded, _ = load(tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert [*loaded.state_dict()] == [*network.state_dict()]


@pytest.mark.parametrize("name", [OFFLINE_BACKBONE, "resnet18", "convnext_atto"])
def test_a_network_that_was_not_folded_when_it_was_trained_loads(name: str, tmp_path: Path) -> None:
    backbone = create_backbone(name, pretrained=False)
    network = with_heads(backbone, SPEC).eval()
    spec = replace(SPEC, backbone=name)
    save(tmp_path, network.state_dict(), spec)
    loaded, _ = load(tmp_path)
    assert not is_folded(loaded.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(x), network(x))


class OutOfOrder(nn.Module):
    """Norms registered behind convolutions that they do not follow; a `gain` of 0 hides it."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return (x + self.norm(self.second(x))).mean((2, 3))


@pytest.mark.parametrize("gain", [1.0, 0.0])
def test_norms_are_not_folded_into_what_they_do_not_follow(gain: float) -> None:
    trunk = OutOfOrder(gain).eval()
    x = torch.randn(2, 3, 16, 16)
    expected = trunk(x)
    fold_frozen_norms(trunk)
    assert not is_folded(trunk.state_dict())
    assert torch.equal(trunk(x), expected)


def test_missing_or_foreign_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="no trained model"):
        load(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(UdmlError, match="not a model spec of this version"):
        read_spec(tmp_path)
