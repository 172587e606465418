"""What is fuzzed: each takes any bytes, and may raise only what its callers turn into a sentence."""

import asyncio
import io
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from PIL import Image

from benchmarks.serving import hostile
from udml.config import load_params
from udml.data.importing.layouts.manifest import read as read_manifest
from udml.decoding.cost import weigh
from udml.decoding.plain import Wish, check_size, decode_plainly
from udml.errors import UdmlError
from udml.pixels import Undecodable
from udml.serving.http.keys import read_keys
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem
from udml.serving.service.uploads import UploadReader

_MAX_PIXELS = 10**6
_MAX_MEMORY_BYTES = 2**27
_WISH = Wish(64, 1, _MAX_PIXELS)
_METRICS = Metrics()
_PRESETS = Path(__file__).parents[2] / "src" / "udml" / "presets"


@dataclass(frozen=True)
class Target:
    """Something to fuzz.

    Attributes:
        use: does it with some bytes.
        allowed: what it may raise.
        seeds: bytes to begin with.
    """

    use: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]


def targets() -> dict[str, Target]:
    """All of them by name."""
    return {
        "decode": Target(_decode, (Undecodable,), _pictures),
        "manifest": Target(_in_a_file(_manifest, "list.csv"), (UdmlError,), _manifests),
        "params": Target(_in_a_file(load_params, "params.yaml"), (UdmlError,), _params),
        "keys": Target(_in_a_file(read_keys, "keys.json"), (UdmlError,), _keys),
        "multipart": Target(_multipart, (Problem,), _forms),
    }


def _decode(data: bytes) -> None:
    """As `udml.pixels` does, but always in this process, where coverage is seen, and so of little."""
    cost = weigh(data, _WISH.decoded_side_px)
    if cost.width and cost.height:
        check_size((cost.width, cost.height), (0, _MAX_PIXELS))
    if cost.memory_bytes < _MAX_MEMORY_BYTES and cost.cpu_seconds < 1:
        pixels = decode_plainly(data, _WISH).pixels
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert min(pixels.shape) > 0


def _in_a_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], None]:
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")

    def use(data: bytes) -> None:
        path = Path(folder.name, name)
        path.write_bytes(data)
        read(path)

    return use


def _manifest(path: Path) -> None:
    for item in read_manifest(path).items:
        item.source.encode()


def _multipart(data: bytes) -> None:
    """The first line is what Content-Type says, the rest comes in pieces of the size of its length."""
    kind, _, body = data.partition(b"\n")
    step = max(1, 7 * len(kind))
    pieces = deque(body[at : at + step] for at in range(0, len(body), step))

    async def receive() -> dict[str, Any]:
        piece = pieces.popleft() if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data" + kind)]}
    reader = UploadReader(2**20, 10.0, _METRICS)

    async def read() -> None:
        async with reader.read(Request(scope, receive)) as uploads:
            for upload in uploads:
                upload.name.encode()

    asyncio.run(read())


# --- to begin with --------------------------------------------------------------------------------


def _pictures() -> list[bytes]:
    made = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA", "ICO"):
        for mode in ("RGB", "L"):
            buffer = io.BytesIO()
            Image.linear_gradient("L").resize((20, 20)).convert(mode).save(buffer, kind)
            made.append(buffer.getvalue())
    return made + [data for data in hostile.attack_files(0.001).values() if len(data) < 4_000]


def _manifests() -> list[bytes]:
    plain = b"path,label,split,role\na.png,x,train,both\nb/c.png,,test,query\n"
    return [
        plain,
        plain.replace(b",", b"\t"),
        b'sep=;\npath;label\n"a\nb.png";1\n',
        plain.decode().encode("utf-16"),
    ]


def _params() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_PRESETS.glob("*.yaml"))]


def _keys() -> list[bytes]:
    return [b'{"anna": "%s"}' % (b"0a" * 32), b"{}", b'{"a": 1}', b'[{"a": null}]']


def _forms() -> list[bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    part = head + b"Content-Type: image/png\r\n\r\nabc\r\n"
    starred = head.replace(b'filename="', b"filename*=\"UTF-8''%e2") + b"\r\n1\r\n"
    return [b"; boundary=b\n" + body + b"--b--\r\n" for body in (part, part + part, starred)]
