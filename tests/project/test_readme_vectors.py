"""The way of docs/model.md from a file to a vector is udml's own way, whatever the file is."""

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.models import tiny_card, write_model
from tests.test_cli import imported_by
from udml.pixels import decode
from udml.search.embedder import Embedder

# Four quarters of different colours: turned or mirrored, it is another picture.
PICTURE = np.kron(
    np.array([[[250, 20, 30], [40, 230, 60]], [[10, 50, 240], [200, 190, 90]]]), np.ones((14, 18, 1), int)
).astype(np.uint8)
TURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # how an upright picture lies in a file
    1: lambda up: up,
    2: lambda up: up[:, ::-1],
    3: lambda up: up[::-1, ::-1],
    4: lambda up: up[::-1],
    5: lambda up: up.swapaxes(0, 1),
    6: lambda up: np.rot90(up, 1),
    7: lambda up: np.rot90(up, 2).swapaxes(0, 1),
    8: lambda up: np.rot90(up, -1),
}


def as_file(image: Image.Image, file_format: str = "PNG", orientation: int = 1) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_lzw"} if file_format == "TIFF" else {"quality": 95}
    image.save(buffer, file_format, exif=exif, **options)
    return buffer.getvalue()


def of(pixels: np.ndarray, *arguments) -> bytes:
    return as_file(Image.fromarray(np.ascontiguousarray(pixels)), *arguments)


GREY = PICTURE[..., 0]
SEEN_THROUGH = np.full(GREY.shape, 64, np.uint8)
# What the file holds, and the upright 8-bit RGB picture that it shows; None where it is udml's alone to say.
FILES: dict[str, tuple[bytes, np.ndarray | None]] = {
    **{f"orientation {o}": (of(turn(PICTURE), "PNG", o), PICTURE) for o, turn in TURN.items()},
    **{f"orientation {o}, JPEG": (of(turn(PICTURE), "JPEG", o), None) for o, turn in TURN.items()},
    "8 bits, grey": (of(GREY), np.dstack([GREY] * 3)),
    "16 bits, grey": (of(GREY.astype(np.uint16) * 257), np.dstack([GREY] * 3)),
    "16 bits, grey, TIFF": (of(GREY.astype(np.uint16) * 257, "TIFF"), np.dstack([GREY] * 3)),
    "palette": (as_file(Image.fromarray(PICTURE).quantize(4, dither=Image.Dither.NONE)), PICTURE),
    "alpha": (
        of(np.dstack([PICTURE, SEEN_THROUGH])),
        np.round(255 + (PICTURE.astype(float) - 255) * 64 / 255).astype(np.uint8),
    ),
    "grey and alpha": (of(np.dstack([GREY, SEEN_THROUGH])), None),
    "CMYK, TIFF": (as_file(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"), PICTURE),
    "CMYK, JPEG": (as_file(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"), None),
    "larger than in training": (of(np.kron(PICTURE, np.ones((12, 12, 1), np.uint8)), "JPEG", 6), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], np.ndarray]:
    """That page's code, run in a directory with a model in it, on a file's bytes."""
    place = tmp_path_factory.mktemp("example")
    write_model(place / "artifacts" / "export" / "model.onnx", tiny_card())
    found = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "model.md").read_text(), re.MULTILINE | re.DOTALL
    )
    [code] = [block for block in found if "onnxruntime" in block]
    code = code.replace('{"image":', '{"images":')  # what the small model's input is called

    def run(data: bytes) -> np.ndarray:
        (place / "query.jpg").write_bytes(data)
        variables: dict = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            exec(code, variables)
        return variables["vector"][0]

    return run


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder(write_model(tmp_path_factory.mktemp("model") / "model.onnx", tiny_card()), threads=1)


@pytest.mark.parametrize("name", FILES)
def test_the_example_gives_the_vector_that_searches_with(
    name: str, example: Callable[[bytes], np.ndarray], embedder: Embedder
) -> None:
    data, shown = FILES[name]
    vector = example(data)
    own = decode(data, embedder.card.store_short_side_px).pixels
    np.testing.assert_allclose(vector, embedder.embed([own])[0], atol=1e-6)
    if shown is not None:
        assert own.shape == shown.shape
        np.testing.assert_allclose(own.astype(int), shown.astype(int), atol=1)
        assert vector @ embedder.embed([shown])[0] > 0.9999


def test_the_model_tells_the_orientations_apart(embedder: Embedder) -> None:
    """Or the test above would show nothing."""
    turned = [np.ascontiguousarray(turn(PICTURE)) for turn in TURN.values()]
    similarity = embedder.embed(turned) @ embedder.embed([PICTURE])[0]
    assert similarity[0] > 0.9999
    assert (similarity[1:] < 0.99).all()


def test_decoding_needs_no_model_and_no_index() -> None:
    loaded = imported_by("from udml.pixels import read_image")
    assert loaded.isdisjoint({"faiss", "onnxruntime", "torch", "yaml", "pandas", "scipy", "skimage"})
