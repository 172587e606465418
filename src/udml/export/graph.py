"""One ONNX file from decoded pixels to unit vectors: preprocessing and network in one graph.

The preprocessing half is written by hand because PyTorch's exporter leaves `exclude_outside` off on
antialiased resizes, which moves pixels near the edges by up to 17 grey levels. It mirrors
`udml.learning.model.preprocess` step by step, in whole numbers where that rounds.

Shapes: N images of a batch (equal size), H and W their height and width in px, S the network's
input side, D the embedding's length. N, H and W are free.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from onnx.utils import Extractor
from onnxscript.optimizer import optimize_ir
from torch import nn

from udml import __version__
from udml.errors import UdmlError
from udml.files import atomic_path
from udml.learning.model.preprocess import THOUSANDTHS, Channels, crop_share_steps, view_ratio_steps
from udml.model_card import ModelCard

INPUT = "image"
OUTPUT = "embedding"
PREPROCESSED = "pre/pixels"  # inside the file: float32 [N, 3, S, S], what the network sees
_NETWORK_INPUT = "pixels"
_ANY_SIZE = 2**40  # fold every constant, so that the file holds the weights as they are used


def export_network(
    network: nn.Module, card: ModelCard, mean: Channels, std: Channels, opset: int, path: Path
) -> None:
    """Write `network` with its preprocessing as one self-contained ONNX file, atomically.

    Input "image": uint8 [N, H, W, 3] RGB. Output "embedding": float32 [N, D] unit rows. Equal
    arguments give equal bytes.

    Args:
        network: maps float32 [N, 3, S, S] to float32 [N, D] unit rows; left as it is.
        card: stored as metadata; its `input_px`, `crop_share` and `view_ratio` shape the preprocessing.
        mean: per channel, on the 0..255 scale.
        std: per channel, on the 0..255 scale.
        opset: ONNX operator set, 18 or later (18 brought antialiased Resize).
        path: the file to write.

    Raises:
        UdmlError: if PyTorch's exporter can't express the network in ONNX.
    """
    export_networks(network, [card], mean, std, opset, [path])


def export_networks(
    network: nn.Module,
    cards: Sequence[ModelCard],
    mean: Channels,
    std: Channels,
    opset: int,
    paths: Sequence[Path],
) -> None:
    """As `export_network`, a file for each output of a network that has one for each of the cards.

    What they share, which is nearly all, is looked at by PyTorch's exporter once. The cards' sizes and
    preprocessing are the same.
    """
    input_px, crop_share, view_ratio = cards[0].input_px, cards[0].crop_share, cards[0].view_ratio
    names = [f"{OUTPUT}-{number}" for number in range(len(cards))]
    exported = _export_without_preprocessing(network, input_px, opset, names)
    before = preprocessing_model(input_px, crop_share, mean, std, opset, exported.ir_version, view_ratio)
    for name, card, path in zip(names, cards, paths, strict=True):
        part = Extractor(exported).extract_model([_NETWORK_INPUT], [name])
        _write(compose.merge_models(before, part, io_map=[(PREPROCESSED, _NETWORK_INPUT)]), card, path)


def _write(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Complete a model, check it and write it."""
    del model.opset_import[1:]  # merging names the one operator set twice
    model.graph.name = "udml"
    model.producer_name, model.producer_version = "udml", __version__
    helper.set_model_props(model, dict(sorted(card.to_metadata().items())))
    _name_output(model, card.embedding_dim)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def preprocessing_of(path: Path) -> onnx.ModelProto:
    """The preprocessing half of a file that `export_network` wrote, as it stands in that file."""
    return Extractor(onnx.load(path)).extract_model([INPUT], [PREPROCESSED])


def preprocessing_model(
    input_px: int,
    crop_share: float,
    mean: Channels,
    std: Channels,
    opset: int,
    ir_version: int,
    view_ratio: float = 1.0,
) -> onnx.ModelProto:
    """`udml.learning.model.preprocess.preprocess` as a graph: uint8 [N, H, W, 3] -> float32 [N, 3, S, S]."""
    constants: dict[str, np.ndarray] = {
        "pre/share": np.array(crop_share_steps(crop_share), np.int64),
        "pre/ratio": np.array(view_ratio_steps(view_ratio), np.int64),
        "pre/steps": np.array(THOUSANDTHS, np.int64),
        "pre/one": np.array(1, np.int64),
        "pre/two": np.array(2, np.int64),
        "pre/image_axes": np.array([1, 2], np.int64),
        "pre/plane_sizes": np.array([3, input_px, input_px], np.int64),
        "pre/mean": np.array(mean, np.float32).reshape(1, 3, 1, 1),
        "pre/std": np.array(std, np.float32).reshape(1, 3, 1, 1),
    }
    graph = helper.make_graph(
        [*_crop_nodes(), *_resize_nodes()],
        "preprocessing",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info(PREPROCESSED, TensorProto.FLOAT, ["batch", 3, input_px, input_px])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def _crop_nodes() -> list[onnx.NodeProto]:
    """The middle, cut while the pixels are still bytes: the rest is never converted."""
    return [
        _node("Shape", [INPUT], "pre/height_width", start=1, end=3),
        _node("ReduceMin", ["pre/height_width"], "pre/short_side", keepdims=0),
        _node("Mul", ["pre/short_side", "pre/ratio"], "pre/longest_steps"),
        _node("Div", ["pre/longest_steps", "pre/steps"], "pre/longest"),
        _node("Min", ["pre/height_width", "pre/longest"], "pre/whole_sides"),
        _node("Mul", ["pre/whole_sides", "pre/share"], "pre/sides_steps"),
        _node("Div", ["pre/sides_steps", "pre/steps"], "pre/sides_floor"),
        _node("Max", ["pre/sides_floor", "pre/one"], "pre/sides"),
        _node("Sub", ["pre/height_width", "pre/sides"], "pre/margins"),
        _node("Div", ["pre/margins", "pre/two"], "pre/starts"),
        _node("Add", ["pre/starts", "pre/sides"], "pre/ends"),
        _node("Slice", [INPUT, "pre/starts", "pre/ends", "pre/image_axes"], "pre/middle"),
    ]


def _resize_nodes() -> list[onnx.NodeProto]:
    """Bytes to normalised planes.

    All four sizes are given: ONNX Runtime 1.32 mistakes a Resize with `axes` for one without when it
    moves the Transpose past it.
    """
    return [
        _node("Cast", ["pre/middle"], "pre/middle_float", to=TensorProto.FLOAT),
        _node("Transpose", ["pre/middle_float"], "pre/planes", perm=[0, 3, 1, 2]),
        _node("Shape", [INPUT], "pre/batch", start=0, end=1),
        _node("Concat", ["pre/batch", "pre/plane_sizes"], "pre/sizes", axis=0),
        _node(
            "Resize",
            ["pre/planes", "", "", "pre/sizes"],
            "pre/resized",
            mode="linear",
            antialias=1,
            coordinate_transformation_mode="half_pixel",
            exclude_outside=1,
        ),
        _node("Sub", ["pre/resized", "pre/mean"], "pre/centred"),
        _node("Div", ["pre/centred", "pre/std"], PREPROCESSED),
    ]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=output, **attributes)


def _export_without_preprocessing(
    network: nn.Module, input_px: int, opset: int, outputs: list[str]
) -> onnx.ModelProto:
    """The network alone, float32 [N, 3, S, S] -> [N, D] each, by PyTorch's `torch.export` based exporter.

    Over the older TorchScript one: "same" padding becomes constants (100 nodes instead of 600 for
    EfficientNet-Lite0), batch norm is folded into the weights, and the output's shape is known.
    """
    network = copy.deepcopy(network).eval().to("cpu", torch.float32)
    for module in network.modules():
        if "inplace" in vars(module):  # the exporter takes twice as long over in-place activations
            vars(module)["inplace"] = False
    example = torch.zeros(2, 3, input_px, input_px)  # a batch of 1 would be taken for a constant
    try:
        program = _program(network, example, opset, outputs)
    except torch.onnx.OnnxExporterError as error:
        if not _without_fused_attention(network):
            raise _inexpressible(error) from error
        try:
            program = _program(network, example, opset, outputs)
        except torch.onnx.OnnxExporterError as again:
            raise _inexpressible(again) from again
    assert program is not None  # only the TorchScript exporter returns nothing
    optimize_ir(program.model, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
    model: onnx.ModelProto = program.model_proto
    _drop_traces(model)
    return model


def _program(
    network: nn.Module, example: torch.Tensor, opset: int, outputs: list[str]
) -> "torch.onnx.ONNXProgram | None":
    with _quiet_exporter(), torch.no_grad():
        return torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[_NETWORK_INPUT],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            optimize=False,  # done by the caller, without its size limits
            verbose=False,
        )


def _without_fused_attention(network: nn.Module) -> bool:
    """Write attention out as products, in place: the exporter knows the fused one of four axes only.

    Hiera's has five. False where there is none to write out.
    """
    fused = [module for module in network.modules() if vars(module).get("fused_attn")]
    for module in fused:
        vars(module)["fused_attn"] = False
    return bool(fused)


def _inexpressible(error: Exception) -> UdmlError:
    reason = str(error.__cause__ or error).strip().splitlines()[0]
    return UdmlError(f"this network can't be written as ONNX: {reason}", "choose another backbone")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about its own future, and about torchvision, off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _drop_traces(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold stack traces with this machine's paths."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.initializer,
        *graph.input,
        *graph.output,
    ):
        del part.metadata_props[:]
        part.doc_string = ""


def _name_output(model: onnx.ModelProto, embedding_dim: int) -> None:
    """Give the output its name and shape, [batch, D]; a network of another D fails the check after."""
    made = model.graph.output[0].name
    last = next(node for node in model.graph.node if made in node.output)
    last.output[list(last.output).index(made)] = OUTPUT
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", embedding_dim])
    model.graph.output[0].CopyFrom(output)
