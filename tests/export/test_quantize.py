import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures, tiny_card
from udml.export import quantize
from udml.search.embedder import Embedder

CHANNELS, DIM = 32, 12


def write_convolutions(path):
    """Four convolutions with clipping, pooling, a linear head and normalisation, like an exported network."""
    rng = np.random.default_rng(0)

    def weights(name, *shape):
        return numpy_helper.from_array(
            (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype("f4"), name
        )

    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "pre/cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["unit"], "pre/scale"),
        helper.make_node("Transpose", ["unit"], ["planes"], "pre/planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["one"], "conv_1", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["one", "zero", "six"], ["one_clipped"], "clip_1"),
        helper.make_node("Conv", ["one_clipped", "second"], ["two"], "conv_2"),
        helper.make_node("Clip", ["two", "zero", "six"], ["two_clipped"], "clip_2"),
        helper.make_node("Conv", ["two_clipped", "third"], ["three"], "conv_3"),
        helper.make_node("Clip", ["three", "zero", "six"], ["three_clipped"], "clip_3"),
        helper.make_node("Conv", ["three_clipped", "fourth"], ["four"], "conv_4"),
        helper.make_node("Clip", ["four", "zero", "six"], ["four_clipped"], "clip_4"),
        helper.make_node("GlobalAveragePool", ["four_clipped"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head"], ["mixed"], "head_node"),
        helper.make_node("LpNormalization", ["mixed"], ["embedding"], "normalise", axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIM])],
        [
            numpy_helper.from_array(np.float32(255), "white"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(6), "six"),
            weights("first", CHANNELS, 3, 3, 3),
            weights("second", CHANNELS, CHANNELS, 1, 1),
            weights("third", CHANNELS, CHANNELS, 1, 1),
            weights("fourth", CHANNELS, CHANNELS, 1, 1),
            weights("head", CHANNELS, DIM),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, tiny_card().to_metadata())
    onnx.save(model, str(path))
    return path


@pytest.fixture
def model(tmp_path):
    return write_convolutions(tmp_path / "model.onnx")


def prepare(root, labelled):
    images = pictures(40, classes=8)
    labels = [f"class-{row % 8}" if labelled else None for row in range(40)]
    return write_prepared(root / "prepare", images, labels, ["train"] * 16 + ["test"] * 24)


def test_the_int8_model_gives_nearly_the_same_vectors_and_has_a_version_of_its_own(model, tmp_path):
    images = pictures(30)
    quantize.write_int8(model, images[:20], tmp_path / "int8.onnx")
    plain, int8 = Embedder(model, 1), Embedder(tmp_path / "int8.onnx", 1)
    cosine = (plain.embed(images[20:]) * int8.embed(images[20:])).sum(axis=1)
    assert cosine.min() > 0.98
    assert cosine.min() < 0.9999999  # it is another model
    assert int8.card.model_version != plain.card.model_version
    assert vars(int8.card) | {"model_version": ""} == vars(plain.card) | {"model_version": ""}


def test_convolutions_but_the_first_two_run_in_int8_and_nothing_else(model, tmp_path):
    quantize.write_int8(model, pictures(10), tmp_path / "int8.onnx")
    made = onnx.load(tmp_path / "int8.onnx")
    maker = {output: node.op_type for node in made.graph.node for output in node.output}
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 4
    for number, node in enumerate(convolutions):
        quantised = [maker.get(name) == "DequantizeLinear" for name in node.input]
        assert all(quantised) if number >= 2 else not any(quantised)
    (head,) = (node for node in made.graph.node if node.op_type == "Gemm")
    assert maker[head.input[0]] == "Flatten"
    assert "head" in {weight.name for weight in made.graph.initializer}


def test_the_same_images_give_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        quantize.write_int8(model, pictures(10), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("labelled", [True, False])
def test_it_ships_where_it_pays(model, tmp_path, monkeypatch, labelled):
    monkeypatch.setattr(quantize, "speedup", lambda *_: 1.5)
    monkeypatch.setattr(quantize, "MAX_LOSS_POINTS", 30)  # a net of random weights has close calls
    before = model.read_bytes()
    judgement = quantize.quantize_if_it_pays(model, prepare(tmp_path, labelled))
    assert judgement.shipped
    assert judgement.score == ("MAP@R" if labelled else "found again")
    assert judgement.images == 24
    assert judgement.verdict.startswith("int8 ships: ")
    assert model.read_bytes() != before
    assert Embedder(model, 1).card.model_version != tiny_card().model_version
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("times", "scores", "ships"),
    [
        ((1.3, 1.3), (0.500, 0.496), True),
        ((1.3, 1.3), (0.500, 0.494), False),
        ((1.3, 1.1), (0.500, 0.500), False),
        ((1.2, 1.3), (0.500, 0.500), False),
        ((1.3, 1.3), (0.400, 0.500), True),
    ],
)
def test_both_the_loss_and_the_gain_decide(model, tmp_path, monkeypatch, times, scores, ships):
    given_times, given_scores = iter(times), iter(scores)
    monkeypatch.setattr(quantize, "speedup", lambda *_: next(given_times))
    monkeypatch.setattr(quantize, "_map_at_r", lambda *_: next(given_scores))
    before = model.read_bytes()
    judgement = quantize.quantize_if_it_pays(model, prepare(tmp_path, labelled=True))
    assert judgement.shipped == ships
    assert (model.read_bytes() == before) != ships
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.onnx"]
    said = quantize.as_json(judgement)
    assert (said["asked"], said["shipped"]) == ("int8", ships)
    assert f"MAP@R {100 * scores[1]:.1f} % in int8" in said["verdict"]


def test_speed_is_taken_in_turns(model):
    calls = []

    class Counting(Embedder):
        def embed(self, images):
            calls.append(self)
            return super().embed(images)

    one, other = Counting(model, 1), Counting(model, 1)
    assert quantize.speedup(one, other, pictures(16)) > 0
    assert calls[::2] == [one] * (len(calls) // 2)
    assert calls[1::2] == [other] * (len(calls) // 2)
