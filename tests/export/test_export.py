import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.export.photographs import SKLEARN, jpegs, write_images
from udml.config import Export
from udml.errors import UdmlError
from udml.export import export as stage
from udml.export import graph
from udml.export.graph import INPUT
from udml.learning.model.backbone import OFFLINE_BACKBONE, Backbone, create_backbone
from udml.learning.model.frozen_norm import fold_frozen_norms
from udml.learning.model.network import ModelSpec, save, with_heads
from udml.learning.model.preprocess import preprocess
from udml.model_card import read_model_card

GROCERY = Path(__file__).parents[3] / "shared/data/grocery"
PARAMS = Export(
    opset=18, looks=1, parity_images=24, min_cosine=0.9999, min_top1_agreement=0.999, quantize="none"
)
SPEC = ModelSpec(
    pretrained=True,
    backbone=OFFLINE_BACKBONE,
    embedding_dim=64,
    rotation_hidden_dim=16,
    input_px=96,
    crop_share=0.887,
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    weights_licence="Apache-2.0",
    store_short_side_px=160,
    data_version="fedcba9876543210",
    protocol="a test",
)
Workspace = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """(trained, prepared, data): EfficientNet-Lite0 with its ImageNet weights and a random head."""
    root = tmp_path_factory.mktemp("workspace")
    torch.manual_seed(0)
    backbone = create_backbone(SPEC.backbone, pretrained=True)
    fold_frozen_norms(backbone.trunk)
    save(root / "trained", with_heads(backbone, SPEC).state_dict(), SPEC)
    return (root / "trained", *write_images(root, jpegs()))


@pytest.fixture(scope="module")
def exported(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifacts") / "export"
    stage.export(*workspace, out, PARAMS)
    return out


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def tiny_backbone(name: str, pretrained: bool, *_: Any) -> Backbone:
    """Small and quick, but with a strided convolution, so that edges count; `name` picks the weights."""
    torch.manual_seed(len(name) + pretrained)
    trunk = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    return Backbone(trunk, 16, (127.0,) * 3, (128.0,) * 3, "MIT")


@pytest.fixture
def tiny(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same images with a network that exports in a second."""
    monkeypatch.setattr("udml.learning.model.network.create_backbone", tiny_backbone)
    monkeypatch.setattr(stage, "create_backbone", tiny_backbone)
    save(tmp_path / "trained", with_heads(tiny_backbone(SPEC.backbone, False), SPEC).state_dict(), SPEC)
    return (tmp_path / "trained", *workspace[1:])


def test_writes_two_models_and_what_was_measured(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["frozen.onnx", "model.onnx", "parity.json"]
    assert json.loads((exported / "parity.json").read_text())["quantization"]["asked"] == "none"
    assert len(onnx.load(exported / "model.onnx").opset_import) == 1
    report = json.loads((exported / stage.PARITY_FILE).read_text())
    for kind, file, dim in (("trained", stage.MODEL_FILE, 64), ("frozen", stage.FROZEN_FILE, 1280)):
        assert report[kind]["images"] == 24
        assert report[kind]["sizes"] > 12
        assert report[kind]["min_cosine"] > 0.99999
        assert report[kind]["top1_agreement"] == 1.0
        assert report[kind]["max_pixel_difference"] < 2e-3
        assert report[kind]["batch_max_abs_difference"] < 1e-5
        card = read_model_card(session_of(exported / file).get_modelmeta().custom_metadata_map, file)
        assert (card.kind, card.embedding_dim) == (kind, dim)
        assert card.model_version == report[kind]["model_version"]
        assert (card.data_version, card.store_short_side_px) == (SPEC.data_version, 160)
    assert report["trained"]["model_version"] != report["frozen"]["model_version"]


def test_of_two_looks_the_mean_feature_is_embedded(
    exported: Path, workspace: Workspace, tmp_path: Path
) -> None:
    """Expected: the published trunk in PyTorch, on the whole view and on its stretched middle."""
    stage.export(*workspace, tmp_path / "export", replace(PARAMS, looks=2))
    photograph = np.asarray(Image.open(SKLEARN / "china.jpg").convert("RGB"))[None]
    whole = preprocess(torch.from_numpy(photograph.copy()), 96, SPEC.crop_share, SPEC.mean, SPEC.std)
    middle = torch.nn.functional.interpolate(whole[:, :, 12:84, 12:84], (96, 96), mode="bilinear")
    with torch.no_grad():
        trunk = create_backbone(OFFLINE_BACKBONE, pretrained=True).trunk.eval()
        features = (trunk(whole)[0] + trunk(middle)[0]) / 2
    expected = (features / features.norm()).numpy()
    session = session_of(tmp_path / "export" / stage.FROZEN_FILE)
    np.testing.assert_allclose(session.run(None, {INPUT: photograph})[0][0], expected, atol=1e-5)
    cards = [
        read_model_card(session_of(out / stage.MODEL_FILE).get_modelmeta().custom_metadata_map, "")
        for out in (exported, tmp_path / "export")
    ]
    assert [(card.looks, card.seen) for card in cards] == [
        (1, "96 x 96 px"),
        (2, "96 x 96 px, the whole and its middle"),
    ]
    assert cards[0].model_version != cards[1].model_version


@pytest.mark.parametrize("seed", [1, 2])
def test_the_version_of_the_whitened_model_is_the_same_whatever_was_drawn_before(seed: int) -> None:
    head = {"weight": torch.full((64, 16), 0.5), "bias": torch.zeros(64)}
    versions = []
    for drawn in (seed, 10 * seed):
        trunk = tiny_backbone(SPEC.backbone, False)
        torch.manual_seed(drawn)
        versions.append(stage.model_version(stage.whitened_network(trunk, SPEC, head), SPEC))
    assert versions[0] == versions[1]
    head["bias"] = head["bias"] + 1
    assert stage.model_version(stage.whitened_network(trunk, SPEC, head), SPEC) != versions[0]


def test_frozen_vectors_are_the_published_weights_own(exported: Path) -> None:
    """Expected: timm's network in PyTorch on Pillow's crop, `(x - 127) / 128`; a few pinned as numbers."""
    photograph = Image.open(SKLEARN / "china.jpg").convert("RGB")
    side = 427 * 887 // 1000
    left, top = (640 - side) // 2, (427 - side) // 2
    square = np.asarray(photograph.crop((left, top, left + side, top + side)))
    pixels = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(pixels, (96, 96), mode="bilinear", antialias=True)
    with torch.no_grad():
        features = create_backbone(OFFLINE_BACKBONE, pretrained=True).trunk.eval()((pixels - 127) / 128)[0]
    expected = (features / features.norm()).numpy()
    got = session_of(exported / stage.FROZEN_FILE).run(None, {INPUT: np.asarray(photograph)[None]})[0][0]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got[6:11], [0.0506, 0.0137, 0.0067, 0.0104, 0.0048], atol=1e-4)


def test_of_a_longer_photograph_as_much_is_seen_as_the_view_ratio_allows(
    tiny: Workspace, tmp_path: Path
) -> None:
    """Expected: the part of 640 x 427 px cut out by hand, squeezed to a square by PyTorch."""
    network, spec = stage.load(tiny[0])
    save(tmp_path / "longer", network.state_dict(), replace(spec, view_ratio=1.33))
    stage.export(tmp_path / "longer", *tiny[1:], tmp_path / "export", PARAMS)
    photograph = Image.open(SKLEARN / "china.jpg").convert("RGB")
    width, height = (427 * 1330 // 1000) * 887 // 1000, 427 * 887 // 1000
    left, top = (640 - width) // 2, (427 - height) // 2
    middle = np.asarray(photograph.crop((left, top, left + width, top + height)))
    pixels = torch.from_numpy(middle.copy()).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(pixels, (96, 96), mode="bilinear", antialias=True)
    with torch.no_grad():
        features = tiny_backbone(SPEC.backbone, True).trunk((pixels - 127) / 128)[0]
    session = session_of(tmp_path / "export" / stage.FROZEN_FILE)
    got = session.run(None, {INPUT: np.asarray(photograph)[None]})[0][0]
    np.testing.assert_allclose(got, (features / features.norm()).numpy(), atol=1e-5)
    assert read_model_card(session.get_modelmeta().custom_metadata_map, "").view_ratio == 1.33


@pytest.mark.skipif(not GROCERY.exists(), reason=f"the Grocery Store Dataset is not at {GROCERY}")
def test_real_smartphone_photographs_agree(exported: Path, workspace: Workspace, tmp_path: Path) -> None:
    lines = (GROCERY / "test.txt").read_text().splitlines()[::40]
    prepared, data = write_images(tmp_path, [(GROCERY / line.split(",")[0]).read_bytes() for line in lines])
    network, spec = stage.load(workspace[0])
    images = list(stage._parity_images(prepared, data, 60, spec))
    parity = stage.compare(
        stage.torch_embed(network, spec), stage.onnx_embed((exported / stage.MODEL_FILE).read_bytes()), images
    )
    assert parity.images == 60
    assert parity.min_cosine >= 0.9999
    assert parity.top1_agreement >= 0.999


def test_parity_images_have_every_shape_a_caller_may_send(workspace: Workspace) -> None:
    shapes = [image.shape for image in stage._parity_images(*workspace[1:], 24, SPEC)]
    shorter = [min(shape[:2]) for shape in shapes]
    assert len(shapes) == 24
    assert (33, 50, 3) in shapes
    assert min(shorter) < SPEC.input_px * SPEC.crop_share < SPEC.store_short_side_px < max(shorter)
    assert {shape[0] > shape[1] for shape in shapes} == {True, False}
    assert any(side % 2 for shape in shapes for side in shape[:2])


def test_the_same_input_gives_the_same_bytes(tiny: Workspace, tmp_path: Path) -> None:
    for name in ("first", "second"):
        stage.export(*tiny, tmp_path / name, PARAMS)
    for file in (stage.MODEL_FILE, stage.FROZEN_FILE, stage.PARITY_FILE):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


BREAKAGES = {"exclude_outside": 0, "antialias": 0, "coordinate_transformation_mode": "asymmetric"}


@pytest.mark.parametrize("attribute", BREAKAGES)
def test_a_resize_unlike_pytorchs_is_caught_and_leaves_nothing(
    attribute: str, tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = graph._node

    def broken(operator: str, *arguments, **attributes):
        if operator == "Resize":
            attributes[attribute] = BREAKAGES[attribute]
            if attribute == "antialias":
                attributes["exclude_outside"] = 0
        return honest(operator, *arguments, **attributes)

    out = tmp_path / "export"
    out.mkdir()
    (out / stage.MODEL_FILE).write_bytes(b"of an earlier run")
    monkeypatch.setattr(graph, "_node", broken)
    with pytest.raises(UdmlError, match=r"model\.onnx disagrees .* off by [1-9]\d*\.\d+ grey levels"):
        stage.export(*tiny, out, PARAMS)
    assert not [path for path in tmp_path.iterdir() if path.name != "trained"]


def test_a_wrong_normalisation_is_caught(
    tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = graph.preprocessing_model
    monkeypatch.setattr(
        graph, "preprocessing_model", lambda px, share, mean, std, *rest: honest(px, share, std, mean, *rest)
    )
    with pytest.raises(UdmlError, match="disagrees"):
        stage.export(*tiny, tmp_path / "export", PARAMS)


def test_a_network_whose_vectors_are_not_of_unit_length_is_refused(
    tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, spec = stage.load(tiny[0])
    network.embed = lambda features: 2 * network.embedding_head(features)  # type: ignore[method-assign]
    monkeypatch.setattr(stage, "load", lambda _: (network, spec))
    with pytest.raises(UdmlError, match="length off"):
        stage.export(*tiny, tmp_path / "export", PARAMS)


def test_a_missing_model_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="no trained model"):
        stage.export(tmp_path / "nothing", *workspace[1:], tmp_path / "export", PARAMS)


def test_the_version_follows_weights_and_preprocessing_and_nothing_else(tiny: Workspace) -> None:
    network, spec = stage.load(tiny[0])
    version = stage.model_version(network, spec)
    assert len(version) == 16
    assert stage.model_version(*stage.load(tiny[0])) == version
    assert stage.model_version(network, replace(spec, protocol="another", data_version="another")) == version
    for change in (
        {"input_px": 97},
        {"crop_share": 0.888},
        {"view_ratio": 1.001},
        {"mean": (0.0,) * 3},
        {"store_short_side_px": 9},
    ):
        assert stage.model_version(network, replace(spec, **change)) != version
    with torch.no_grad():
        network.embedding_head.bias[0] += 1e-6
    assert stage.model_version(network, spec) != version
