"""What a shipped ONNX file says about itself, inside the file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from udml.errors import UdmlError

_PREFIX = "udml."


@dataclass(frozen=True)
class ModelCard:
    """Facts stored as ONNX metadata; every value survives the trip through a string.

    Attributes:
        model_version: 16 hex digits that identify the weights and the preprocessing.
        kind: "trained" for the embedding; "frozen" for the pretrained backbone that it is compared with,
            "whitened" for the same with the variances of its features evened out.
        backbone: timm or torchvision name.
        embedding_dim: length of an output vector.
        input_px: side of the square the network sees, after crop and resize inside the graph.
        crop_share: of the middle of an image, what is kept of both its sides.
        store_short_side_px: images were shrunk to this shorter side before training; decoding for
            search does the same, so that queries and gallery are seen alike.
        data_version: identifies the imported data the model was trained on.
        weights_licence: licence of the pretrained weights it started from.
        protocol: how it was trained, in one line.
        weights_sha256: of the file that it started from, where one was named.
        picked_step: optimiser steps behind its weights; 0 where no trained checkpoint beat the whitened
            backbone, which then ships itself; -1 where an older udml did not say.
        looks: at an image, whose mean feature becomes the vector: 1, the whole; 2, its middle, too.
        view_ratio: the middle of an image is at most so many times as long as wide; 1 is a square.
    """

    model_version: str
    kind: str
    backbone: str
    embedding_dim: int
    input_px: int
    crop_share: float
    store_short_side_px: int
    data_version: str
    weights_licence: str
    protocol: str
    weights_sha256: str = ""
    picked_step: int = -1
    looks: int = 1
    view_ratio: float = 1.0

    @property
    def untrained(self) -> bool:
        """Whether what ships is the whitened backbone itself."""
        return self.picked_step == 0

    @property
    def seen(self) -> str:
        """What the network sees of an image, in words."""
        side = f"{self.input_px} x {self.input_px} px"
        return f"{side}, the whole and its middle" if self.looks == 2 else side

    def to_metadata(self) -> dict[str, str]:
        """The card as ONNX metadata entries."""
        return {_PREFIX + key: str(value) for key, value in asdict(self).items()}


def read_model_card(metadata: Mapping[str, str], origin: str) -> ModelCard:
    """Rebuild the card from ONNX metadata.

    Raises:
        UdmlError: if `origin` was not exported by udml.
    """
    try:
        return ModelCard(
            model_version=metadata[_PREFIX + "model_version"],
            kind=metadata[_PREFIX + "kind"],
            backbone=metadata[_PREFIX + "backbone"],
            embedding_dim=int(metadata[_PREFIX + "embedding_dim"]),
            input_px=int(metadata[_PREFIX + "input_px"]),
            crop_share=float(metadata[_PREFIX + "crop_share"]),
            store_short_side_px=int(metadata[_PREFIX + "store_short_side_px"]),
            data_version=metadata[_PREFIX + "data_version"],
            weights_licence=metadata[_PREFIX + "weights_licence"],
            protocol=metadata[_PREFIX + "protocol"],
            weights_sha256=metadata.get(_PREFIX + "weights_sha256", ""),
            picked_step=int(metadata.get(_PREFIX + "picked_step", -1)),
            looks=int(metadata.get(_PREFIX + "looks", 1)),
            view_ratio=float(metadata.get(_PREFIX + "view_ratio", 1.0)),
        )
    except (KeyError, ValueError) as error:
        raise UdmlError(
            f"{origin} carries no udml metadata ({error})", "export it with `dvc repro export`"
        ) from error
