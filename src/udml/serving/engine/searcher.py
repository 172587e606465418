"""Search with a picture: ONNX Runtime for the vector, FAISS for its neighbours. No torch, no pandas."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import faiss
import numpy as np
from PIL import Image

from udml import paths
from udml.collection.additions import ADDITIONS_FILE
from udml.collection.outcome import Added, NewFile
from udml.cropping import Crop
from udml.errors import UdmlError
from udml.machine import usable_cores
from udml.pixels import COMMAND, Budget, decode
from udml.processes import PerProcess
from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE, verify_bundle
from udml.registry.chosen import Chosen, choose
from udml.registry.store import VERSIONS, verify
from udml.search.embedder import EmbeddedFiles, Embedder, embed_files
from udml.search.gallery import check_index
from udml.search.items import Item
from udml.serving.engine.answers import Hit, Refine, Version, Wanted
from udml.serving.engine.decoding import MAX_PIXELS, decode_for, embed_bytes
from udml.serving.engine.finding import find
from udml.serving.engine.opening import OpenCollection, on_this_machine
from udml.serving.engine.pictures import thumbnail_jpeg
from udml.serving.engine.queries import together


class Searcher:
    """A model and its collection, open for queries and changes.

    Threads and forked processes may use it at once. Shapes: n images, d = `embedder.card.embedding_dim`.

    Attributes:
        embedder: the model.
        collection: what is searched.
        copies: which images of it show the same.
    """

    def __init__(self, model: Path, name: str, threads: int | None, open_collection: OpenCollection) -> None:
        """Open an exported model with a collection of its vectors; see `Searcher.open`."""
        self._threads = threads or usable_cores()
        self._name = name
        # Pillow decodes outside Python's global lock.
        self._decoders = PerProcess(partial(ThreadPoolExecutor, self._threads, "decode"))
        self.embedder = Embedder(model, self._threads)
        self.embed_images([_noise(self.embedder.card.store_short_side_px)])  # lays out its memory
        embed = partial(embed_bytes, self.embedder, self._decoders)
        self.collection, self.copies = open_collection(self.embedder.card, embed)

    @classmethod
    def open(
        cls,
        path: str | Path | Chosen | None = None,
        data: str | Path = paths.DATA,
        threads: int | None = None,
    ) -> Self:
        """Open the champion of "models", or a registered version by its path, such as "models/versions/v2".

        A link is followed once: model and index are of one version even if the champion changes
        meanwhile. What was added to the registry's collection, and removed, counts; images that this
        model has not seen yet are embedded now.

        Args:
            path: a directory that `udml models register` made, or a link to one; None as `choose` says.
            data: the imported data, for the originals of the images in the index; may be missing, if
                only added images' pictures are asked for.
            threads: cores to use; default all that this process may use, by its CPU affinity and its
                container's quota.

        Raises:
            UdmlError: if there is none, a file of it is not what was registered, or additions are damaged.
        """
        if path is None or isinstance(path, Chosen):
            chosen = path or choose()
            if chosen.directory is None:
                check_index(chosen.index)
                opened = on_this_machine(chosen.index, Path(data), None)
                return cls(chosen.model, chosen.name, threads, opened)
            path = chosen.directory
        version = Path(path).resolve()
        if not version.is_dir():
            raise UdmlError(f"there is no version at {path}", "`udml models list` names the versions")
        models = version.parent.parent if version.parent.name == VERSIONS else None
        bundle = verify_bundle(version) if models is None else verify(models, version.name)
        additions = None if models is None else models / ADDITIONS_FILE
        opened = on_this_machine(version / INDEX_DIRECTORY, Path(data), additions)
        return cls(version / MODEL_FILE, bundle.name, threads, opened)

    @property
    def version(self) -> Version:
        """What an answer given now comes from."""
        info = self.collection.info
        revision = self.collection.refresh().revision
        return Version(self._name, info.model_version, info.data_version, revision)

    @property
    def no_match_below(self) -> float | None:
        """The similarity under which the nearest image is no match, -1..1; None if that is not known.

        Calibrated when the index was built: of new pictures from where the collection's came from, at
        most the share `collection.info.no_match_error` stays below. Pass it as `threshold`.
        """
        return self.collection.info.no_match_below

    @property
    def knows_neighbourhoods(self) -> bool:
        """Whether the index has mixtures; without them every search is by similarity alone."""
        return self.collection.info.mixed_neighbours > 0

    def __len__(self) -> int:
        """Images that a search can find."""
        return len(self.collection)

    # --- searching --------------------------------------------------------------------------------

    def search(
        self,
        path: str | Path | Sequence[str | Path],
        k: int = 8,
        threshold: float | None = None,
        refine: Refine = "auto",
        collapse: bool = False,
        unlike: Sequence[str | Path] = (),
        where: str | None = None,
    ) -> list[Hit]:
        """The images of the collection most like the picture at `path`, best first.

        Args:
            path: an image file; or several, to find what is like all of them together.
            k: how many, at least 1.
            threshold: the lowest similarity that counts, -1..1; None for no limit.
            refine: as for `neighbours`.
            collapse: as for `neighbours`.
            unlike: image files to stay away from; see `udml.search.mixed_query`.
            where: as for `neighbours`.

        Raises:
            UdmlError: if a file is not a usable image, or nothing is left to search for.
        """
        like = [path] if isinstance(path, str | Path) else path
        embedded = self.embed([Path(one) for one in (*like, *unlike)])
        query = together(embedded, len(like))[None]
        return self.neighbours(query, k, threshold, refine, collapse, where=where)[0]

    def embed(self, files: Sequence[Path]) -> EmbeddedFiles:
        """Embed image files; unusable ones are listed, the others go on."""
        return embed_files(self.embedder, files)

    def decode(
        self, data: bytes, max_pixels: int = MAX_PIXELS, crop: Crop | None = None, budget: Budget = COMMAND
    ) -> np.ndarray:
        """Decode a file's bytes as this model wants to see them: uint8 [h, w, 3], RGB, upright.

        Args:
            data: of one image file.
            max_pixels: largest width x height accepted.
            crop: the part of the picture that is wanted; None for all of it.
            budget: what decoding may take.

        Raises:
            Undecodable: with the reason.
        """
        return decode_for(self.embedder, data, max_pixels, crop, budget)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed decoded images of any sizes, uint8 [h, w, 3] each; see `Embedder.embed`.

        Returns:
            float32 [n, d], unit rows, in the order given.
        """
        return self.embedder.embed(images)

    def neighbours(
        self,
        vectors: np.ndarray,
        k: int,
        threshold: float | None = None,
        refine: Refine = "auto",
        collapse: bool = False,
        leave_out: Sequence[int] = (),
        where: str | None = None,
    ) -> list[list[Hit]]:
        """The nearest images of each vector, best first.

        Args:
            vectors: float32 [n, d], unit rows.
            k: how many for each, at least 1.
            threshold: the lowest similarity that counts, -1..1; None for no limit.
            refine: "auto" orders by neighbourhoods where the index knows them, the first hit being the
                most similar image all the same; "none" by similarity alone. The similarity of a hit is its
                cosine either way.
            collapse: near-duplicates come as one hit with `copies`, and count once among the k.
            leave_out: ids that are not to be found.
            where: a filter on the collection's columns, `folder = '2024/*' and taken > 2024-05`.

        Returns:
            n lists of at most k; fewer where the collection, or what passes the threshold, is smaller.

        Raises:
            UdmlError: if the vectors are not finite or of another length, or the filter is wrong.
        """
        if k < 1:
            raise UdmlError(f"k is {k}", "ask for at least 1 neighbour")
        # a setting of the calling thread; OpenMP's own threads stay behind when a process is forked
        faiss.omp_set_num_threads(1 if self._decoders.is_forked else self._threads)
        asked = Wanted(k, threshold, refine, collapse, where)
        return find(self.collection, self.copies, vectors, asked, frozenset(leave_out))

    def neighbours_of(
        self,
        image_id: int,
        k: int,
        threshold: float | None = None,
        refine: Refine = "auto",
        collapse: bool = False,
        where: str | None = None,
    ) -> list[Hit]:
        """The nearest other images of an image of the collection, best first; see `neighbours`.

        Raises:
            UdmlError: if it is not in the collection.
        """
        vector = self.collection.vector(image_id)
        return self.neighbours(vector[None], k, threshold, refine, collapse, [image_id], where)[0]

    # --- items ------------------------------------------------------------------------------------

    def item(self, image_id: int) -> Item:
        """What is known of an image of the collection.

        Raises:
            UdmlError: if it is not in the collection.
        """
        return self.collection.item(image_id)

    def image_bytes(self, image_id: int) -> bytes:
        """The file of an image of the collection, as it was imported or added.

        Raises:
            UdmlError: if it is not in the collection, or the imported data are not here any more.
        """
        return self.collection.original(image_id)

    def picture(self, image_id: int, short_side_px: int) -> Image.Image:
        """An image of the collection, its shorter side at most this; errors of `image_bytes`."""
        return Image.fromarray(decode(self.image_bytes(image_id), short_side_px).pixels)

    def thumbnail(self, image_id: int, side_px: int) -> bytes:
        """An image of the collection as a JPEG of at most `side_px` a side; errors of `image_bytes`."""
        return thumbnail_jpeg(self.image_bytes(image_id), side_px)

    # --- changes ----------------------------------------------------------------------------------

    def add(self, files: Iterable[NewFile | tuple[str, bytes, str | None]]) -> list[Added]:
        """Put images into the collection; they are on disk, and found, when this returns.

        Files whose bytes are there already, under whatever name, are not embedded again.

        Args:
            files: name, bytes, and class or None of each.

        Returns:
            What came of each, in the order given; a file that can't be used is refused by itself.

        Raises:
            UdmlError: if the collection can't be changed (no registered version; a full or read-only disk).
        """
        return self.collection.add([f if isinstance(f, NewFile) else NewFile(*f) for f in files])

    def remove(self, image_ids: Sequence[int]) -> None:
        """Take images out of the collection; on disk, and not found any more, when this returns.

        Raises:
            UdmlError: if one is not in the collection, or it can't be changed. None was removed then.
        """
        self.collection.remove(image_ids)

    def close(self) -> None:
        """Let go of files and threads."""
        self.collection.close()
        self._decoders().shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _noise(side_px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
