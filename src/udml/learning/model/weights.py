"""Weights of a trunk from a file: safetensors, or a state dict that `torch.save` wrote.

Nothing but tensors is read from it. Position embeddings, and names as other projects write them, are
adapted as timm adapts published weights.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import nn

from udml.errors import UdmlError
from udml.files import sha256_file

_SHOWN = 8


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of `path` by name.

    Raises:
        UdmlError: if it is missing, or holds something else.
    """
    if not path.is_file():
        raise UdmlError(f"train.weights: no file {path}", "check the path, or set it to null")
    try:
        found = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # each format raises its own kinds
        reason = str(error).strip().split("\n")[0]
        raise UdmlError(
            f"train.weights: {path} is neither safetensors nor a plain state dict ({reason})",
            "save the tensors alone: safetensors.torch.save_file(model.state_dict(), file)",
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise UdmlError(
            f"train.weights: {path} holds more than named tensors", "save model.state_dict() alone"
        )
    return found


def weights_sha256(file: str | None) -> str:
    """Hex sha256 of the file named as train.weights; "" where none is."""
    return sha256_file(Path(file)) if file else ""


def check_same(file: str | None, sha256: str) -> Path | None:
    """The file that a model began with, or None where none was named.

    Raises:
        UdmlError: if it is no longer there, or no longer the same.
    """
    if file is None:
        return None
    if not Path(file).is_file() or sha256_file(Path(file)) != sha256:
        raise UdmlError(
            f"the model began with the weights {file} (sha256 {sha256[:16]}...), which are no longer there",
            "put the file back: the frozen model that reports compare with is made from it",
        )
    return Path(file)


def load_timm(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    """A model of timm's, built with `options`, with the weights of a file; a classifier in it is left out.

    Raises:
        UdmlError: naming what is missing and what is too much.
    """
    weights = read_state_dict(path)
    published: Any = timm.get_pretrained_cfg(name)

    def build(**overlay: Any) -> nn.Module:
        given = {"state_dict": dict(weights), "custom_load": False, **overlay}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=given, **options)

    try:
        return build(num_classes=0, classifier=None)  # strict
    except RuntimeError as error:
        missing, unexpected = (_keys(kind, str(error)) for kind in ("Missing", "Unexpected"))
        classifiers = published.classifier or ()
        classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
        surplus = [key for key in unexpected if key.rsplit(".", 1)[0] not in classifiers]
        if missing or surplus or not unexpected:
            raise _unfit(path, name, missing, surplus, str(error)) from error
    except Exception as error:  # timm's adapters expect certain names
        raise _unfit(path, name, [], [], f"{type(error).__name__}: {error}") from error
    return build(num_classes=-1)  # not 0: timm drops the classifier


def load_classifier_free(trunk: nn.Module, path: Path, dropped: tuple[str, ...]) -> None:
    """Fill `trunk` from a file, less the keys that begin with one of `dropped`.

    Raises:
        UdmlError: naming what is missing and what is too much.
    """
    weights = {key: value for key, value in read_state_dict(path).items() if not key.startswith(dropped)}
    try:
        trunk.load_state_dict(weights)
    except RuntimeError as error:
        missing, unexpected = (_keys(kind, str(error)) for kind in ("Missing", "Unexpected"))
        raise _unfit(path, type(trunk).__name__, missing, unexpected, str(error)) from error


def cached_file(config: Any) -> Path | None:
    """Where the hub's cache has a model's weights, if it has them; nothing is asked of a network."""
    from huggingface_hub import try_to_load_from_cache

    if not config.hf_hub_id or config.hf_hub_filename or config.custom_load:
        return None
    for file in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(config.hf_hub_id, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _keys(kind: str, message: str) -> list[str]:
    """The names that PyTorch lists as `kind`, Missing or Unexpected, of a state dict."""
    listed = re.search(rf"{kind} key\(s\) in state_dict: (.*?)\. *$", message, re.MULTILINE)
    return re.findall(r'"([^"]+)"', listed.group(1)) if listed else []


def _unfit(path: Path, name: str, missing: list[str], unexpected: list[str], message: str) -> UdmlError:
    named = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in
             (("keys are missing", missing), ("are unexpected", unexpected)) if keys]  # fmt: skip
    others = [line.strip() for line in message.splitlines() if "size mismatch" in line]
    said = "; ".join([*named, *others[:_SHOWN]]) or message.strip().split("\n")[0]
    return UdmlError(f"train.weights: {path} does not fit `{name}`: {said}", "choose its own train.backbone")


def _some(keys: Iterable[str]) -> str:
    listed = list(keys)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
