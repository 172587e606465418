import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from udml.errors import UdmlError
from udml.export.graph import (
    INPUT,
    OUTPUT,
    export_network,
    export_networks,
    preprocessing_model,
    preprocessing_of,
)
from udml.learning.model.preprocess import preprocess
from udml.model_card import ModelCard, read_model_card

MEAN, STD = (120.0, 127.0, 131.0), (60.0, 64.0, 70.0)


class Tiny(nn.Module):
    """Convolution, batch norm, pooling, linear: all the kinds of layer that batches could leak through."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.head(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3))), dim=1)


class Wrapped(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.trunk(x), dim=1)


def card(embedding_dim: int = 8, input_px: int = 24) -> ModelCard:
    return ModelCard(
        model_version="0123456789abcdef",
        kind="trained",
        backbone="tiny",
        embedding_dim=embedding_dim,
        input_px=input_px,
        crop_share=0.887,
        store_short_side_px=160,
        data_version="fedcba9876543210",
        weights_licence="MIT",
        protocol="a test; straße, two lines\nno",
    )


def tiny(dim: int = 8) -> Tiny:
    torch.manual_seed(0)
    network = Tiny(dim)
    network.norm.running_mean = torch.randn(12)
    network.norm.running_var = torch.rand(12) + 0.5
    return network


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def preprocessing_session(
    input_px: int, crop_share: float, opset: int = 18, view_ratio: float = 1.0
) -> onnxruntime.InferenceSession:
    plain = ((0.0,) * 3, (1.0,) * 3)
    model = preprocessing_model(input_px, crop_share, *plain, opset, ir_version=10, view_ratio=view_ratio)
    onnx.checker.check_model(model, full_check=True)
    return session_of(model.SerializeToString())


def expected_of(network: nn.Module, images: np.ndarray, input_px: int = 24) -> np.ndarray:
    with torch.no_grad():
        pixels = preprocess(torch.from_numpy(images.copy()), input_px, 0.887, MEAN, STD)
        return network.eval()(pixels).numpy()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([(24, 0.887), (33, 1.0), (1, 0.5), (96, 0.001), (40, 0.333)]),
    st.sampled_from([1.0, 1.33, 1.777, 10.0]),
)
def test_the_graph_preprocesses_as_pytorch_does(
    count: int, height: int, width: int, settings_: tuple[int, float], view_ratio: float
) -> None:
    input_px, crop_share = settings_
    images = noise(count, height, width)
    session = preprocessing_session(input_px, crop_share, view_ratio=view_ratio)
    got = session.run(None, {INPUT: images})[0]
    plain = ((0.0,) * 3, (1.0,) * 3)
    expected = preprocess(torch.from_numpy(images), input_px, crop_share, *plain, view_ratio).numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 2e-3  # of 255


@pytest.mark.parametrize("opset", range(18, 26))
def test_every_opset_that_params_allow_preprocesses_alike(opset: int) -> None:
    images = noise(2, 97, 61)
    got = preprocessing_session(32, 0.887, opset).run(None, {INPUT: images})[0]
    np.testing.assert_allclose(got, preprocessing_session(32, 0.887).run(None, {INPUT: images})[0], atol=1e-4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_network(tiny(), card(), MEAN, STD, 18, path)
    return path


@pytest.mark.parametrize(
    "shape", [(1, 33, 50), (3, 50, 33), (7, 24, 24), (2, 201, 97), (1, 1, 1), (2, 9, 300)]
)
def test_the_file_agrees_with_the_network(exported: Path, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    got = session_of(exported.read_bytes()).run(None, {INPUT: images})[0]
    np.testing.assert_allclose(got, expected_of(tiny(), images), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_the_preprocessing_half_can_be_taken_out_of_the_file(exported: Path) -> None:
    images = noise(2, 57, 91)
    half = preprocessing_of(exported)
    assert half.ByteSize() < 5_000
    expected = preprocess(torch.from_numpy(images), 24, 0.887, MEAN, STD).numpy()
    got = session_of(half.SerializeToString()).run(None, {INPUT: images})[0]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_batch_equals_its_images_one_by_one(exported: Path) -> None:
    session, images = session_of(exported.read_bytes()), noise(9, 40, 30)
    alone = np.concatenate([session.run(None, {INPUT: image[None]})[0] for image in images])
    np.testing.assert_allclose(session.run(None, {INPUT: images})[0], alone, atol=1e-6)


def test_takes_views_that_are_not_contiguous(exported: Path) -> None:
    session, images = session_of(exported.read_bytes()), noise(2, 40, 60)
    view = images[:, ::-1, ::2]
    got = session.run(None, {INPUT: view})[0]
    np.testing.assert_array_equal(got, session.run(None, {INPUT: np.ascontiguousarray(view)})[0])


def test_declares_its_inputs_outputs_and_origin(exported: Path) -> None:
    session = session_of(exported.read_bytes())
    (image,), (embedding,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == (
        INPUT,
        "tensor(uint8)",
        ["batch", "height", "width", 3],
    )
    assert (embedding.name, embedding.type, embedding.shape) == (OUTPUT, "tensor(float)", ["batch", 8])
    assert read_model_card(session.get_modelmeta().custom_metadata_map, "test") == card()


def test_equal_inputs_give_equal_bytes(exported: Path, tmp_path: Path) -> None:
    export_network(tiny(), card(), MEAN, STD, 18, tmp_path / "again.onnx")
    assert (
        hashlib.sha256((tmp_path / "again.onnx").read_bytes()).digest()
        == hashlib.sha256(exported.read_bytes()).digest()
    )


def test_the_file_is_alone_and_knows_nothing_of_this_machine(exported: Path) -> None:
    content = exported.read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]
    assert b"site-packages" not in content
    assert str(Path(__file__).parent).encode() not in content


def test_constants_are_folded(exported: Path) -> None:
    operators = [node.op_type for node in onnx.load(exported).graph.node]
    assert "BatchNormalization" not in operators
    assert operators.count("Conv") == 1


def test_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = tiny().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_network(network, card(), MEAN, STD, 18, tmp_path / "model.onnx")
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_network_with_two_outputs_becomes_two_files(tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.second = tiny(), torch.nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            plain = self.network(x)
            return plain, torch.nn.functional.normalize(self.second(plain), dim=1)

    network = Twice().eval()
    files = [tmp_path / "plain.onnx", tmp_path / "headed.onnx"]
    export_networks(network, [card(), card(embedding_dim=5)], MEAN, STD, 18, files)
    image = noise(2, 40, 60)
    alone = tmp_path / "alone.onnx"
    export_network(network.network, card(), MEAN, STD, 18, alone)
    plain, headed, expected = (
        session_of(file.read_bytes()).run([OUTPUT], {INPUT: image})[0] for file in (*files, alone)
    )
    np.testing.assert_array_equal(plain, expected)
    with torch.no_grad():
        of_plain = network.second(torch.from_numpy(plain))
    np.testing.assert_allclose(headed, torch.nn.functional.normalize(of_plain, dim=1).numpy(), atol=1e-6)
    assert "second.weight" not in files[0].read_bytes().decode("latin-1"), "what only the other needs"


def test_refuses_a_card_that_promises_another_length(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)shape|dim"):
        export_network(tiny(dim=8), card(embedding_dim=9), MEAN, STD, 18, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("backbone", "opset"), [("test_vit", 18), ("test_convnext", 20), ("test_resnet", 23)]
)
def test_other_families_and_opsets_agree(backbone: str, opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"img_size": 64} if "vit" in backbone else {}
    trunk = timm.create_model(backbone, pretrained=False, num_classes=0, **options)
    network = Wrapped(trunk)
    path = tmp_path / "model.onnx"
    export_network(network, card(trunk.num_features, 64), MEAN, STD, opset, path)
    assert onnx.load(path).opset_import[0].version == opset
    images = noise(3, 80, 71)
    got = session_of(path.read_bytes()).run(None, {INPUT: images})[0]
    np.testing.assert_allclose(got, expected_of(network, images, 64), atol=1e-4)


class Undecided(Tiny):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.mean() > 0 else -x)  # what runs depends on the pixels


def test_a_network_that_onnx_cannot_express_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="can't be written as ONNX"):
        export_network(Undecided(), card(), MEAN, STD, 18, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
