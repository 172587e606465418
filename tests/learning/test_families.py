"""One small member of each family that people reach for, with random weights, through every stage.

A step, a checkpoint, a resume to the same bits, the ONNX file, parity with PyTorch, a search.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures
from tests.learning.tiny import tiny_fit, tiny_network, tiny_params
from udml.config import Index, Train
from udml.data.catalog import SUMMARY_FILE
from udml.export.export import (
    FROZEN_FILE,
    MODEL_FILE,
    Baselines,
    FrozenTrunk,
    model_card,
    onnx_embed,
    torch_embed,
)
from udml.export.graph import export_networks
from udml.export.looks import looking
from udml.export.parity import compare
from udml.files import write_json
from udml.learning.loop.checkpoint import CHECKPOINT_FILE, SHIPPED_FILE
from udml.learning.loop.run import TrainingSet
from udml.learning.model.backbone import create_backbone
from udml.learning.model.network import ModelSpec, Network, load, save
from udml.learning.model.tuning import merged
from udml.learning.views.strong import strong_views
from udml.learning.views.training import fixed_view
from udml.search.embedder import Embedder
from udml.search.gallery import open_index, search
from udml.search.index import index

STORE_PX = 40
INDEX = Index(
    exact_below=100,
    hnsw_below=1000,
    min_recall_at_10=0.95,
    recall_queries=10,
    no_match_error=0.05,
    mix_neighbours=False,
    reference_images=10,
)
FAMILIES = {  # and the least side, in px, that shows what is special about it
    "tf_efficientnet_lite1": 32,
    "resnet10t": 32,
    "convnext_atto": 32,
    "mobilenetv4_conv_small_050": 32,
    "efficientvit_b0": 32,
    "fastvit_t8": 32,
    "repvit_m1": 32,
    "deit_tiny_patch16_224": 32,
    "vit_small_patch14_reg4_dinov2.lvd142m": 28,
    "vit_small_patch16_dinov3.lvd1689m": 32,
    "vit_base_patch32_siglip_256.v2_webli": 32,
    "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": 32,
    "eva02_tiny_patch14_224.mim_in22k": 42,
    "swin_tiny_patch4_window7_224": 64,
    "hiera_tiny_224": 64,
    "maxvit_pico_rw_256": 64,
}


@torch.no_grad()
def lively_weights(path: Path, name: str, input_px: int) -> Path:
    """Random weights by which pictures differ: as they are drawn, some trunks give all the same features."""
    torch.manual_seed(0)
    trunk = create_backbone(name, False, input_px).trunk
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of what passes
        for key in ("gamma", "gamma_1", "gamma_2"):  # LayerScale begins with 1e-5
            if isinstance(getattr(module, key, None), torch.nn.Parameter):
                getattr(module, key).fill_(0.5)
    views = [fixed_view(image, input_px, 1.0) for image in pictures(16)]
    trunk.train()(torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2) / 128 - 1)
    save_file({key: value.contiguous() for key, value in trunk.state_dict().items()}, path)
    return path


class KilledError(Exception):
    """Stands for a kill between two steps."""


def data_of(params: Train) -> TrainingSet:
    """Pictures of six kinds, a few of them held out."""
    images = pictures(44, classes=6)

    def fixed(some: list[np.ndarray]) -> np.ndarray:
        return np.stack(
            [fixed_view(image, params.input_px, params.crop_share, params.view_ratio) for image in some]
        )

    held = images[36:]
    return TrainingSet(images[:36], fixed(images[:36]), fixed(held), fixed(strong_views(held, 0)))


def trained(scratch: Path, params: Train) -> dict[str, torch.Tensor]:
    """Weights to ship of a run that is killed after two steps and goes on: those of one that is not."""

    def killed_after_a_checkpoint(record: dict[str, Any]) -> None:
        if record["step"] == 2:
            raise KilledError

    data = data_of(params)
    with pytest.raises(KilledError):
        tiny_fit(scratch / "killed", params, data, on_round=killed_after_a_checkpoint)
    tiny_fit(scratch / "killed", params, data)
    tiny_fit(scratch / "whole", params, data)
    resumed, whole = (load_file(scratch / name / SHIPPED_FILE) for name in ("killed", "whole"))
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not torch.equal(resumed[name], whole[name])] == []
    return {
        name.removeprefix("network/"): value for name, value in whole.items() if name.startswith("network/")
    }


def trunk_moved(scratch: Path, before: dict[str, torch.Tensor]) -> bool:
    """Whether the last checkpoint has other weights in the trunk, or none where it is not trained."""
    now = load_file(scratch / CHECKPOINT_FILE)
    names = [name for name in now if name.startswith("network/trunk.")]
    return any(not torch.equal(now[name], before[name.removeprefix("network/")]) for name in names)


def spec_of(params: Train, mean_std: tuple[Any, Any]) -> ModelSpec:
    return ModelSpec(
        params.backbone, False, params.embedding_dim, params.rotation_hidden_dim, params.input_px,
        params.crop_share, *mean_std, "none", STORE_PX, "d" * 16, "test",
        view_ratio=params.view_ratio,
    )  # fmt: skip


def goes_through(root: Path, params: Train) -> None:
    """Train, ship, export, compare, index and search."""
    network, mean_std = tiny_network(params)
    weights = trained(root / "scratch", params)
    assert merged(network).state_dict().keys() == weights.keys()
    assert trunk_moved(root / "scratch" / "whole", network.state_dict()) == (params.tuning != "head")
    save(root / "train", weights, spec_of(params, mean_std))
    network, spec = load(root / "train")
    images = pictures(20, seed=1)
    network.trunk = looking(network.trunk, 2)
    exported(root / "export", network, spec, images)
    finds_itself(root, images)


def exported(directory: Path, network: Network, spec: ModelSpec, images: list[np.ndarray]) -> None:
    """A file of the network and one of its trunk, as `export` writes both baselines; they must agree."""
    directory.mkdir()
    frozen = FrozenTrunk(network.trunk).eval()
    models: dict[str, torch.nn.Module] = {FROZEN_FILE: frozen, MODEL_FILE: network}
    dims = network.embedding_head.in_features, spec.embedding_dim
    cards = [model_card(model, spec, "test", dim) for model, dim in zip(models.values(), dims, strict=True)]
    files = [directory / file for file in models]
    export_networks(Baselines(frozen, network), cards, spec.mean, spec.std, 18, files)
    for file, model in zip(files, models.values(), strict=True):
        parity = compare(torch_embed(model, spec), onnx_embed(file.read_bytes()), images)
        assert parity.min_cosine > 0.9999
        assert parity.max_norm_error < 1e-3


def finds_itself(root: Path, images: list[np.ndarray]) -> None:
    prepared = write_prepared(root / "prepare", images, [None] * len(images), ["train"] * len(images))
    write_json(prepared / SUMMARY_FILE, {"data_version": "d" * 16})
    index(root / "export", prepared, root / "index", INDEX)
    embedder = Embedder(root / "export" / MODEL_FILE, threads=1)
    similarity, ids = search(open_index(root / "index", embedder.card), embedder.embed(images), 1)
    assert (similarity > 0.999).all()
    assert len(set(ids[:, 0].tolist())) > len(images) // 2  # random weights may take some for the same


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_goes_through_every_stage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = lively_weights(tmp_path / "weights.safetensors", name, FAMILIES[name])
    goes_through(tmp_path, family_params(name, FAMILIES[name], weights=str(weights)))


def family_params(name: str, input_px: int, **changes: Any) -> Train:
    return tiny_params(
        **{"backbone": name, "pretrained": False, "input_px": input_px, "frozen_blocks": 1, "steps": 4,
           "rotation_images": 2, "clusters_per_batch": 2, "images_per_cluster": 3,
           "min_effective_rank_share": 0.0, **changes}
    )  # fmt: skip


@pytest.mark.parametrize("tuning", ["full", "lora", "head"])
def test_every_tuning_goes_through_every_stage(
    tuning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = lively_weights(tmp_path / "weights.safetensors", "test_vit", 32)
    goes_through(tmp_path, family_params("test_vit", 32, tuning=tuning, weights=str(weights)))
