"""Malformed input: requests made up from the OpenAPI document, and images that were damaged.

The service runs with an audit hook that notes every file it opens, makes, renames or removes and every
process or connection it starts, from the moment it serves.
"""

import asyncio
import io
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from PIL import Image
from schemathesis.core.result import Ok

from benchmarks.serving.client import Reply, Request, Served, in_turn, serving
from benchmarks.serving.trials import search
from udml.collection.additions import ADDITIONS_FILE
from udml.decoding.process import START

_NAMES = ("a.png", "..%2f..%2fescape.png", "%2fetc%2fpasswd", "%00", "a%0d%0ab", "%ff%fe", "x" * 500, "")
_PATHS = ("/v1/search?k=3", "/v1/embed", *(f"/v1/items?name={name}" for name in _NAMES))
_WRITES = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
_AUDIT = """
import os, sys
_log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_told = ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate",
         "os.chmod", "sqlite3.connect", "subprocess.Popen", "os.exec", "os.system", "socket.connect")
def _note(event, arguments):
    if event in _told:
        flags = arguments[2] if event == "open" else 2
        what = repr(arguments[1][:3]) if event == "subprocess.Popen" else arguments[0]
        os.write(_log, f"{{event}}\\t{{flags}}\\t{{what!s}}\\n".encode(errors="backslashreplace"))
sys.addaudithook(_note)
"""


@dataclass(frozen=True)
class Malformed:
    """What came of malformed input.

    Attributes:
        made_up, damaged: requests sent of either kind.
        statuses: how often each was answered; 0 is a broken connection.
        faults: answers of 500 and above that are not 503, and broken connections.
        crashed: whether the service had ended.
        touched: files outside its folders that it opened, and anything else it should not have done.
        right_afterwards: whether it still finds what it should.
    """

    made_up: int
    damaged: int
    statuses: dict[int, int]
    faults: int
    crashed: bool
    touched: list[str]
    right_afterwards: bool


def malformed(root: Path, images: Sequence[bytes], count: int, seed: int = 0) -> Malformed:
    """Send `count` malformed requests, about half of either kind, to a service that may be written to."""
    log = root / "audit.log"
    options = ("--open-writes", "--max-megapixels", "2", "--deadline-seconds", "60")
    with serving(root, *options, before=_AUDIT.format(log=str(log))) as served:
        before = asyncio.run(in_turn(served.port, [search(images[0])], 1))[0]
        start = log.stat().st_size
        made_up = _made_up(served, count // 2)
        requests = list(_damaged(images, count - len(made_up), seed))
        replies = asyncio.run(in_turn(served.port, requests, 4))
        crashed = served.process.poll() is not None
        after = asyncio.run(in_turn(served.port, [search(images[0])], 1))[0]
        noted = log.read_bytes()[start:].decode().splitlines()
    statuses = Counter(made_up) + Counter(reply.status for reply in replies)
    return Malformed(
        len(made_up),
        len(replies),
        dict(sorted(statuses.items())),
        sum(n for status, n in statuses.items() if status == 0 or (status >= 500 and status != 503)),
        crashed,
        sorted({line for line in noted if not _may(line, root)}),
        _best(before) == _best(after),
    )


def _made_up(served: Served, count: int) -> list[int]:
    """Statuses of requests that follow, or just break, the OpenAPI document."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    statuses: list[int] = []
    for number, operation in enumerate(operations):
        share = count // len(operations) + (number < count % len(operations))
        modes = [schemathesis.GenerationMode.NEGATIVE, schemathesis.GenerationMode.POSITIVE]
        for mode, examples in zip(modes, (share - share // 4, share // 4), strict=True):
            _call(operation.as_strategy(generation_mode=mode), examples, statuses)
    return statuses


def _call(strategy: SearchStrategy[Any], examples: int, statuses: list[int]) -> None:
    @given(strategy)
    @settings(
        max_examples=max(1, examples), database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), derandomize=True,
    )  # fmt: skip
    def send(case: schemathesis.Case) -> None:
        try:
            statuses.append(case.call(timeout=60).status_code)
        except OSError:
            statuses.append(0)

    with suppress(Unsatisfiable):  # a request without parameters can't be made wrong
        send()


def _damaged(images: Sequence[bytes], count: int, seed: int) -> Iterator[Request]:
    """Requests with images of six formats, each damaged in its own way."""
    chance = random.Random(seed)
    originals = [
        _as(image, kind) for image in images for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
    ]
    for _ in range(count):
        yield "POST", chance.choice(_PATHS), _damage(chance.choice(originals), chance)


def _as(image: bytes, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").resize((64, 48)).save(buffer, kind)
    return buffer.getvalue()


def _damage(image: bytes, chance: random.Random) -> bytes:
    data = bytearray(image)
    way = chance.randrange(6)
    if way == 0:
        return bytes(data[: chance.randrange(len(data))])
    if way == 1:  # bytes changed anywhere
        for _ in range(chance.randint(1, 40)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif way == 2:  # bytes changed in the header, where sizes and counts are
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(min(64, len(data)))] = chance.choice((0, 1, 127, 128, 255))
    elif way == 3:  # a piece left out, or put in twice
        start, end = sorted(chance.randrange(len(data)) for _ in range(2))
        data[start:end] = data[start:end] * chance.choice((0, 2, 50))
    elif way == 4:
        return chance.randbytes(chance.randrange(5000))
    else:  # the head of one format on something else
        data = bytearray(data[: chance.randint(4, 32)]) + chance.randbytes(500)
    return bytes(data)


def _best(reply: Reply) -> bytes:
    return reply.body.partition(b'"similarity"')[0]


def _may(line: str, root: Path) -> bool:
    """Whether the service may do what the line of the audit log says."""
    event, flags, path = line.split("\t", 2)
    own = (str(root / "models"), str(root / "data"), "models", "data", f"file://{root}/models/")
    if event in ("sqlite3.connect", "os.mkdir"):
        return path.startswith(own)
    if event == "subprocess.Popen":  # a process that decodes what is not plain, and nothing else
        return path == repr([sys.executable, "-c", START])
    if path == os.devnull:  # that process's input and output
        return True
    making = f"{root}/models/.{ADDITIONS_FILE}."  # the first addition makes that file
    if path.startswith(making):
        return True
    code = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2] / "src"), "/proc/", "/sys/fs/cgroup/")
    return event == "open" and not int(flags) & _WRITES and path.startswith(own + code)
