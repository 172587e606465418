"""A shipped ONNX model as a function from pixels to embeddings. No torch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from udml.errors import UdmlError
from udml.machine import usable_cores
from udml.model_card import ModelCard, read_model_card
from udml.pixels import Decoded, Reason, Undecodable, read_image
from udml.processes import PerProcess
from udml.progress import progress

if TYPE_CHECKING:
    from udml.data.catalog import ImageStore  # needs pandas, which searching does without

_CUDA = "CUDAExecutionProvider"
_MAX_BATCH = 32  # larger ones are no faster on CPUs
_BATCH_BYTES = 2**28  # of one batch inside the graph: float32 pixels at full size, a few copies of them
_FLOAT_COPIES = 4 * 3  # bytes per float32 value x copies alive during the resize
_LENGTH_TOLERANCE = 1e-3
_WINDOW = 256  # images that wait for others of equal shape, at most


class Embedder:
    """An exported model, ready to embed.

    Attributes:
        card: what the model says about itself.
        path: of its file.
    """

    def __init__(self, model_path: Path, threads: int | None = None, gpu: bool = False) -> None:
        """Open a model file.

        Args:
            model_path: a file that `udml export` wrote.
            threads: cores to use; default all that this process may use.
            gpu: use the GPU, where this ONNX Runtime has a provider for it.

        Raises:
            UdmlError: if there is no such file, it is not a model, or it carries no model card.
        """
        if not model_path.exists():
            raise UdmlError(f"no model at {model_path}", "run `dvc repro export` first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from those that decode and serve.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        providers = [_CUDA] if gpu and _CUDA in onnxruntime.get_available_providers() else []
        try:
            self._session = PerProcess(
                lambda: onnxruntime.InferenceSession(
                    str(model_path), options, providers=[*providers, "CPUExecutionProvider"]
                )
            )
        except Exception as error:  # ONNX Runtime has no common base for what it raises
            raise UdmlError(f"{model_path} is not a usable ONNX model: {error}", "export it again") from error
        self.card: ModelCard = read_model_card(
            self._session().get_modelmeta().custom_metadata_map, str(model_path)
        )
        self.path = model_path
        self._input = self._session().get_inputs()[0].name
        self._output = self._session().get_outputs()[0].name

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed decoded images of any sizes; images of equal shape run together.

        Args:
            images: each uint8 [h, w, 3], RGB, as `udml.pixels.decode` gives them with
                `card.store_short_side_px`.

        Returns:
            float32 [len(images), card.embedding_dim], unit rows, in the order given.

        Raises:
            UdmlError: if an image is of another type or shape, or the model gives vectors that are
                not finite, not of unit length or of another size than its card says.
        """
        result = np.empty((len(images), self.card.embedding_dim), np.float32)
        for positions in _batches(images):
            batch = np.stack([images[position] for position in positions])
            result[positions] = self._run(batch)
        return result

    def _run(self, batch: np.ndarray) -> np.ndarray:
        vectors = self._session().run([self._output], {self._input: batch})[0]
        expected = (len(batch), self.card.embedding_dim)
        if vectors.shape != expected or vectors.dtype != np.float32:
            raise self._broken(f"gives {vectors.dtype} {vectors.shape}, its card says float32 {expected}")
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.abs(lengths - 1) <= _LENGTH_TOLERANCE).all():  # NaN compares false
            raise self._broken(
                f"gives vectors of length {lengths.min():.4g} to {lengths.max():.4g}, expected 1"
            )
        return vectors

    def _broken(self, what: str) -> UdmlError:
        return UdmlError(f"{self.path} {what}", "train and export again; the model is broken")


def _batches(images: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Positions of images of equal shape, so many at a time as memory allows."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UdmlError(
                f"image {position} is {image.dtype} {image.shape}, expected uint8 [h, w, 3]",
                "decode it with udml.pixels",
            )
        by_shape.setdefault(image.shape, []).append(position)
    for shape, positions in by_shape.items():
        size = max(1, min(_MAX_BATCH, _BATCH_BYTES // (int(np.prod(shape)) * _FLOAT_COPIES)))
        for start in range(0, len(positions), size):
            yield positions[start : start + size]


def embed_store(
    embedder: Embedder, store: "ImageStore", rows: np.ndarray, description: str = "embed"
) -> np.ndarray:
    """Embed rows of the image store.

    Args:
        embedder: the model.
        store: decoded pixels.
        rows: int [n], rows of the store.
        description: of the progress bar.

    Returns:
        float32 [n, d], unit rows in the order of `rows`.
    """
    with progress(range(len(rows)), description, unit="image") as bar:
        return embed_rows(embedder, store, rows, bar.update)


def embed_rows(
    embedder: Embedder, store: "ImageStore", rows: np.ndarray, count: Callable[[int], object]
) -> np.ndarray:
    """As `embed_store`, telling `count` how many more rows are done."""
    result = np.empty((len(rows), embedder.card.embedding_dim), np.float32)
    for start in range(0, len(rows), _WINDOW):
        window = rows[start : start + _WINDOW]
        result[start : start + _WINDOW] = embedder.embed([store[int(row)] for row in window])
        count(len(window))
    return result


@dataclass(frozen=True)
class FileProblem:
    """A file that could not be embedded: which, the reason's code, and what was found."""

    path: Path
    reason: Reason
    detail: str


@dataclass(frozen=True)
class EmbeddedFiles:
    """What came of a list of files.

    Attributes:
        vectors: float32 [k, d], unit rows.
        paths: the k files they belong to, in the order asked for.
        problems: all the other files.
        noted: k entries, what `note` of `embed_files` said of each.
    """

    vectors: np.ndarray
    paths: list[Path]
    problems: list[FileProblem]
    noted: list[Any]


def embed_files(
    embedder: Embedder, paths: Sequence[Path], note: Callable[[Decoded], Any] = lambda image: None
) -> EmbeddedFiles:
    """Decode image files as the gallery was decoded, and embed them.

    A file that holds no usable image becomes an entry of `problems`; the others go on.

    Args:
        embedder: the model.
        paths: of files.
        note: what else to remember of each image; called in threads while it is decoded.
    """
    vectors = [np.empty((0, embedder.card.embedding_dim), np.float32)]
    kept: list[Path] = []
    problems: list[FileProblem] = []
    noted: list[Any] = []

    def read(path: Path) -> tuple[np.ndarray, Any] | Undecodable:
        try:
            image = read_image(path, embedder.card.store_short_side_px)
        except Undecodable as problem:
            return problem
        return image.pixels, note(image)

    with (
        ThreadPoolExecutor(usable_cores()) as pool,  # Pillow decodes outside Python's global lock
        progress(range(len(paths)), "embed", unit="file", in_logs=False) as bar,
    ):
        for start in range(0, len(paths), _WINDOW):
            window = paths[start : start + _WINDOW]
            found = list(zip(window, pool.map(read, window), strict=True))
            images = [(path, *image) for path, image in found if not isinstance(image, Undecodable)]
            problems += [FileProblem(p, e.reason, e.detail) for p, e in found if isinstance(e, Undecodable)]
            kept += [path for path, _, _ in images]
            noted += [said for _, _, said in images]
            vectors.append(embedder.embed([pixels for _, pixels, _ in images]))
            bar.update(len(window))
    return EmbeddedFiles(np.concatenate(vectors), kept, problems, noted)
