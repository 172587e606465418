"""The picture that an assistant names or sends: only from where it may read, and of bounded size."""

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from udml.errors import UdmlError, reason

MAX_BYTES = 20 * 2**20
_DATA_URL = "base64,"  # what stands before the content of a data: URL


def read_picture(path: str | None, encoded: str | None, allowed: Sequence[Path]) -> bytes:
    """The bytes of an image file.

    Args:
        path: of a file below one of `allowed`, links followed; or None.
        encoded: the file itself in base64, or a data: URL of it; or None.
        allowed: folders, and files, that may be read; links resolved.

    Raises:
        UdmlError: unless exactly one is given, it may be read, and is not too large.
    """
    if (path is None) == (encoded is None):
        raise UdmlError("give one of path and base64", "path names a file, base64 is the file itself")
    return _decoded(encoded) if encoded is not None else _read(str(path), allowed)


def _decoded(encoded: str) -> bytes:
    content = encoded.partition(_DATA_URL)[2] if encoded.startswith("data:") else encoded
    if len(content) > 2 * MAX_BYTES:
        raise _too_large()
    try:
        data = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UdmlError("base64 is not base64", "send the bytes of an image file in base64") from error
    if len(data) > MAX_BYTES:
        raise _too_large()
    return data


def _read(path: str, allowed: Sequence[Path]) -> bytes:
    """The file, opened first and then asked where it is: a link can't be changed in between."""
    refused = UdmlError(
        "this path may not be read",
        "start `udml mcp` with --allow FOLDER for a folder that it is in, or send the picture as base64",
    )
    try:
        real = Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        if not _is_allowed(Path(os.path.abspath(os.path.expanduser(path.replace("\0", "")))), allowed):
            raise refused from error  # nor is it told whether there is such a file
        raise UdmlError(f"{path} can't be read: {reason(error)}", "check the path") from error
    if not _is_allowed(real, allowed):
        raise refused
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise UdmlError(f"{path} can't be read: {reason(error)}", "check the path") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UdmlError(f"{path} is not a file", "name a picture")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large()
    return data


def _is_allowed(path: Path, allowed: Sequence[Path]) -> bool:
    return any(path == one or one in path.parents for one in allowed)


def _too_large() -> UdmlError:
    return UdmlError(f"the picture has over {MAX_BYTES >> 20} MiB", "send a smaller one")
