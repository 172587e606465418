"""At most one retraining at a time: a lease on the registry, kept alive by its holder's heartbeat.

    models/retrain.lease   who holds it and since when, the last heartbeat, and a token that only grows
    models/.lease.lock     held for the moment in which the lease is read and rewritten

A holder that is killed, suspended or cut off stops beating; after `EXPIRY_SECONDS` somebody else may
take the lease. Its old holder may still be running, so nothing is promoted without `require_held`: the
token tells whether the lease changed hands. A heartbeat counts only if it is near the present in either
direction, so that a clock that jumps, forwards or back, makes nobody wait longer than the expiry.
"""

import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from udml.errors import UdmlError
from udml.files import exclusive, read_json, write_json

LEASE_FILE = "retrain.lease"
EXPIRY_SECONDS = 60.0
LOCK_FILE = ".lease.lock"
_BEATS_PER_EXPIRY = 4


class LeaseTaken(UdmlError):  # noqa: N818 - an outcome, like KeyboardInterrupt
    """Another retraining holds the lease."""


@dataclass(frozen=True)
class LeaseRecord:
    """What stands in the lease file.

    Attributes:
        token: one more than the last holder's.
        holder: unique to the holder, or "" once it is released.
        name: the holder in words, for people.
        since, heartbeat: Unix times in seconds.
    """

    token: int
    holder: str
    name: str
    since: float
    heartbeat: float


@dataclass(frozen=True)
class Lease:
    """A lease that was taken; `require_held` says whether it still counts."""

    models: Path
    token: int
    holder: str


@contextmanager
def hold(models: Path, expiry_seconds: float = EXPIRY_SECONDS) -> Iterator[Lease]:
    """Take the lease, keep it alive from a thread, and release it at the end.

    Raises:
        LeaseTaken: if another retraining holds it.
    """
    lease = take(models, expiry_seconds)
    stop = threading.Event()

    def keep_alive() -> None:
        while not stop.wait(expiry_seconds / _BEATS_PER_EXPIRY):
            try:
                beat(lease)
            except OSError:  # a full disk may have room again at the next beat
                continue
            except UdmlError:  # lost; `require_held` tells whoever asks
                return

    thread = threading.Thread(target=keep_alive, name="lease heartbeat", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        release(lease)


def take(models: Path, expiry_seconds: float = EXPIRY_SECONDS) -> Lease:
    """Take the lease once, without a heartbeat; `hold` is what a retraining uses.

    Raises:
        LeaseTaken: if another retraining holds it: who, since when, and until when at most.
    """
    with exclusive(models / LOCK_FILE):
        last, now = read_lease(models), time.time()
        if last is not None and is_alive(last, expiry_seconds):
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(last.since))
            raise LeaseTaken(
                f"another retraining is running: {last.name}, since {since}",
                f"wait for it; if it was killed, try again in {expiry_seconds:.0f} seconds",
            )
        token = 1 + (last.token if last else 0)
        name = f"process {os.getpid()} on {platform.node()}"
        record = LeaseRecord(token, uuid.uuid4().hex, name, since=now, heartbeat=now)
        write_json(models / LEASE_FILE, asdict(record))
    return Lease(models, record.token, record.holder)


def is_alive(record: LeaseRecord, expiry_seconds: float = EXPIRY_SECONDS) -> bool:
    """Whether the record is of a holder whose last heartbeat still counts."""
    return bool(record.holder) and abs(time.time() - record.heartbeat) <= expiry_seconds


def beat(lease: Lease) -> None:
    """Say that the holder is alive.

    Raises:
        UdmlError: if the lease is another's by now.
    """
    with exclusive(lease.models / LOCK_FILE):
        write_json(lease.models / LEASE_FILE, asdict(replace(_own_record(lease), heartbeat=time.time())))


def release(lease: Lease) -> None:
    """Give the lease back, unless it is another's by now."""
    with exclusive(lease.models / LOCK_FILE):
        record = read_lease(lease.models)
        if record is not None and record.holder == lease.holder:
            write_json(lease.models / LEASE_FILE, asdict(replace(record, holder="")))


def require_held(lease: Lease) -> None:
    """Make sure that nobody else took the lease since.

    Raises:
        UdmlError: if somebody did.
    """
    with exclusive(lease.models / LOCK_FILE):
        _own_record(lease)


def read_lease(models: Path) -> LeaseRecord | None:
    """What the lease file says; None before the first retraining."""
    path = models / LEASE_FILE
    return LeaseRecord(**read_json(path)) if path.exists() else None


def _own_record(lease: Lease) -> LeaseRecord:
    record = read_lease(lease.models)
    if record is None or record.holder != lease.holder:
        other = f"{record.name} took it" if record and record.token > lease.token else "its file was removed"
        raise UdmlError(
            f"this retraining lost its lease: it was silent for too long, and {other}",
            "nothing was promoted by this one; the other one goes on, or run `udml retrain` again",
        )
    return record
