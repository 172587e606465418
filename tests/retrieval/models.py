"""Tiny ONNX models with a card: uint8 pictures of any size in, unit vectors out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.retrieval.fakes import fake_card
from udml.model_card import ModelCard

DIM = 12


def tiny_card(kind: str = "trained", **changes) -> ModelCard:
    return replace(fake_card(kind), embedding_dim=DIM, store_short_side_px=40, **changes)


def write_model(
    path: Path, card: ModelCard | None, seed: int = 0, scale: float = 1.0, inputs: int = 12
) -> Path:
    """Colours of four quarters through a random layer; `scale` 0 gives zero vectors.

    It sees only the first `inputs` of the twelve numbers: the fewer, the worse.
    """
    rng = np.random.default_rng(seed)
    weight = (scale * rng.standard_normal((12, DIM))).astype(np.float32)
    weight[inputs:] = 0
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["planes", "", "", "sizes"], ["small"], mode="linear", antialias=1),
        helper.make_node("Flatten", ["small"], ["flat"], axis=1),
        helper.make_node("Sub", ["flat", "half"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weight"], ["mixed"]),
        helper.make_node("LpNormalization", ["mixed"], ["embedding"], axis=1, p=2),
    ]
    # only the two spatial axes are resized, so that any batch goes through
    nodes[3].attribute.append(helper.make_attribute("axes", [2, 3]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIM])],
        [
            numpy_helper.from_array(np.float32(255), "white"),
            numpy_helper.from_array(np.float32(0.5), "half"),
            numpy_helper.from_array(np.array([2, 2], np.int64), "sizes"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if card is not None:
        helper.set_model_props(model, card.to_metadata())
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def pictures(count: int, seed: int = 0, classes: int | None = None) -> list[np.ndarray]:
    """Smooth pictures of three shapes; with `classes`, picture i is a noisy copy of pattern i % classes."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(40, 215, (classes or count, 2, 2, 3))
    shapes = [(24, 32), (32, 24), (28, 28)]
    made = []
    for number in range(count):
        height, width = shapes[number % 3]
        pattern = patterns[number % len(patterns)]
        big = np.kron(pattern, np.ones((height // 2, width // 2, 1)))
        noisy = big + rng.normal(0, 12, big.shape)
        made.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return made


def warmer(images: list[np.ndarray]) -> list[np.ndarray]:
    """The same pictures in warmer light."""
    return [np.minimum(image * (1.2, 1, 0.6), 255).astype(np.uint8) for image in images]
