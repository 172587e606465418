"""Decoding processes: what ends them, and that nobody but the file that did it notices."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from benchmarks.serving import hostile
from PIL import Image

from udml.decoding import pool as pool_module
from udml.decoding.budget import (
    CallerGoneError,
    NeedsProcessError,
    as_long_as_wanted,
    here_only,
)
from udml.decoding.cut import Crop
from udml.decoding.plain import Decoded, Wish, decode_plainly
from udml.decoding.pool import decode_apart
from udml.decoding.process import DecodingProcess, _understood
from udml.pixels import COMMAND, SERVICE, Budget, Reason, Undecodable
from udml.processes import PerProcess

SMALL = Wish(32)
TINY = Budget(0.05, 2**31)  # of CPU time


@pytest.fixture(autouse=True, scope="module")
def own_pool() -> Iterator[None]:
    """A pool of two, whatever the machine has."""
    patch = pytest.MonkeyPatch()
    patch.setattr(pool_module, "usable_cores", lambda: 2)
    pool = PerProcess(pool_module._Pool)
    patch.setattr(pool_module, "_pool", pool)
    yield
    for process in pool()._idle:
        process.end()
    patch.undo()


def pid() -> int:
    """Of the process that was used last, and is used next."""
    return pool_module._pool()._idle[-1]._process.pid


def picture(kind: str = "TIFF", size: tuple[int, int] = (60, 40), mode: str = "RGB", **how: object) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def works() -> bool:
    return decode_apart(picture(), SMALL, COMMAND).pixels.shape == (32, 48, 3)


def refusal(data: bytes, budget: Budget) -> Undecodable:
    with pytest.raises(Undecodable) as problem:
        decode_apart(data, SMALL, budget)
    return problem.value


@pytest.mark.parametrize(
    "data",
    [
        picture(), picture("PNG", mode="RGBA"), picture("JPEG", progressive=True), picture("WEBP"),
        picture("GIF", mode="L"), picture("JPEG")[:-300], b"no picture at all", picture("PNG", (20, 20)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("crop", [None, Crop(0.25, 0, 0.5, 0.5)])
def test_what_comes_from_a_process_is_what_comes_from_here(data, crop):
    wish = Wish(16, min_side_px=21, crop=crop)
    here, apart = (
        _came_of(work, data, wish) for work in (decode_plainly, lambda *a: decode_apart(*a, COMMAND))
    )
    assert type(here) is type(apart)
    if isinstance(here, Decoded):
        assert (here.width, here.height, here.format) == (apart.width, apart.height, apart.format)
        np.testing.assert_array_equal(here.pixels, apart.pixels)
        apart.pixels[0] = 0  # it may be written to
    else:
        assert (here.reason, here.detail) == (apart.reason, apart.detail)


def _came_of(work: Callable[..., Decoded], data: bytes, wish: Wish) -> Decoded | Undecodable:
    try:
        return work(data, wish)
    except Undecodable as problem:
        return problem


@pytest.mark.parametrize(
    "data",
    [
        hostile.blank_jpeg(4000, 90), hostile.text_ppm(1500), hostile.run_length_bmp(6000),
        hostile.many_strips(99_000), hostile.png(3000, 8, 6, interlaced=1, extra_bytes=24_000),
    ],
    ids=["scans", "text", "run-length", "strips", "interlaced"],
)  # fmt: skip
def test_a_file_that_takes_more_cpu_time_than_it_may_is_too_costly_and_the_pool_heals(data):
    assert works()
    before = pid()
    problem = refusal(data, TINY)
    assert (problem.reason, "0.05 s of CPU time" in problem.detail) == (Reason.TOO_COSTLY, True)
    assert not _exists(before)
    assert works()


@pytest.mark.parametrize(
    "data",
    [
        hostile.png(2000, 16, 6), hostile.png(2500, 16, 0),
        picture("TIFF", (3000, 3000), "F", compression="tiff_lzw"),
        picture("TIFF", (3000, 3000), compression="tiff_lzw"), picture("GIF", (4000, 4000), "L"),
    ],
    ids=["16 bits", "grey", "floats", "tiff", "gif"],
)  # fmt: skip
def test_a_file_that_takes_more_memory_than_it_may_is_too_costly_and_its_process_goes_on(data):
    assert works()
    before = pid()
    for _ in range(2):
        problem = refusal(data, Budget(60, -60 * 2**20))  # less than what it is given beside its budget
        assert (problem.reason, "memory" in problem.detail) == (Reason.TOO_COSTLY, True)
    assert decode_apart(data, SMALL, COMMAND).pixels.shape == (32, 32, 3)
    assert pid() == before


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_takes_nobody_along(number):
    assert works()
    before = pid()
    os.kill(before, signal.SIGSTOP)  # so that the file is sent, and not answered
    threading.Timer(0.3, lambda: (os.kill(before, number), os.kill(before, signal.SIGCONT))).start()
    problem = refusal(picture(), COMMAND)
    assert problem.reason == (Reason.TOO_COSTLY if number == signal.SIGKILL else Reason.CORRUPT)
    assert works()


def test_a_process_that_died_while_it_had_nothing_to_do_is_replaced():
    assert works()
    for process in pool_module._pool()._idle:
        process._process.kill()
        process._process.wait()
    assert works()


def test_signals_meant_for_the_caller_do_not_reach_a_file_that_is_being_decoded():
    """A terminal's Ctrl-C and a service manager's SIGTERM go to every process of the group."""
    assert works()
    before = pid()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert works()
    assert pid() == before


def test_what_nobody_waits_for_is_not_begun_and_stopped_where_it_has_begun():
    with as_long_as_wanted(lambda: True), pytest.raises(CallerGoneError):
        decode_apart(picture(), SMALL, COMMAND)
    assert works()
    before = pid()
    os.kill(before, signal.SIGSTOP)
    looks = iter([False, False, False])
    with as_long_as_wanted(lambda: next(looks, True)), pytest.raises(CallerGoneError):
        decode_apart(picture(), SMALL, COMMAND)
    assert not _exists(before)
    assert works()


def test_who_waits_for_a_place_in_vain_gives_up():
    places = pool_module._pool()._places
    for _ in range(2):
        places.acquire()
    looks = iter([False, False])
    with as_long_as_wanted(lambda: next(looks, True)), pytest.raises(CallerGoneError):
        decode_apart(picture(), SMALL, COMMAND)
    places.release()
    assert works()


def test_where_waiting_is_ruled_out_it_is_said_that_a_process_is_needed():
    with here_only(), pytest.raises(NeedsProcessError):
        decode_apart(picture(), SMALL, COMMAND)
    assert works()


def test_threads_share_the_processes():
    pictures = [picture(size=(40 + n, 40)) for n in range(12)]
    found: dict[int, int] = {}

    def decode(number: int) -> None:
        found[number] = decode_apart(pictures[number], Wish(), COMMAND).width

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: 40 + number for number in range(12)}
    assert 1 <= len(pool_module._pool()._idle) <= 2


def test_a_forked_process_has_its_own():
    assert works()
    before = {process._process.pid for process in pool_module._pool()._idle}
    child = os.fork()
    if child == 0:
        os._exit(0 if works() and pid() not in before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert works()
    assert pid() in before


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_killed_caller_takes_its_processes_along(is_busy):
    code = (
        "import time\n"
        "from benchmarks.serving import hostile\n"
        "from udml.decoding.process import DecodingProcess, _understood\n"
        "from udml.pixels import Budget, Wish\n"
        "process = DecodingProcess()\n"
        f"if {is_busy}: process._send(hostile.blank_jpeg(7000, 90), Wish(32), Budget(1000, 2**40))\n"
        "print(process._process.pid, flush=True); time.sleep(1000)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    assert _exists(pid)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    while _exists(pid):  # the run's own limit of time ends this if it never does
        time.sleep(0.05)


def test_it_starts_without_what_decoding_does_not_need():
    code = "import udml.decoding.helper, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "onnxruntime", "faiss", "pandas", "pyarrow", "scipy", "sklearn", "tqdm"):
        assert heavy not in loaded.split()


def test_a_process_of_the_service_lets_others_go_first():
    process = DecodingProcess()
    try:
        assert isinstance(process.decode(picture(), SMALL, SERVICE), Decoded)
        assert os.getpriority(os.PRIO_PROCESS, process._process.pid) == SERVICE.niceness > 0
    finally:
        process.end()


@pytest.mark.parametrize(
    "said",
    [
        {"shape": [4000, 4000, 3], "width": 1, "height": 1, "format": "PNG"},
        {"shape": [1, 1, 3], "width": -1, "height": 1, "format": "PNG"},
        {"shape": [1, 1, 3], "width": 10**6, "height": 10**6, "format": "PNG"},
        {"shape": "many", "width": 1, "height": 1, "format": "PNG"},
        {"reason": "because", "detail": ""}, {}, [], 7,
    ],
)  # fmt: skip
def test_an_answer_of_a_decoder_that_was_taken_over_is_not_believed(said):
    with pytest.raises((ValueError, TypeError, KeyError)):
        _understood(said, bytearray(3), 10**6)


def test_an_answer_that_makes_no_sense_ends_its_process(monkeypatch):
    assert works()
    before = pid()
    with monkeypatch.context() as patch:
        patch.setattr("udml.decoding.process.receive", lambda channel, most: ([], bytearray(3)))
        assert refusal(picture(), COMMAND).reason in (Reason.CORRUPT, Reason.TOO_COSTLY)
    assert not _exists(before)
    assert works()


def _exists(pid: int) -> bool:
    """Whether a process of that id runs; one that has ended and is not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
