"""API keys: 256 random bits each, kept as sha256 only, compared in constant time.

A slow hash protects passwords that people think up; nobody can guess 256 random bits, however fast
the hash.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from udml.errors import UdmlError
from udml.files import atomic_path, exclusive, read_json

_PREFIX = "udml_"  # lets secret scanners recognise a key


def read_keys(path: Path) -> dict[str, str]:
    """Hex sha256 of each key, by name.

    Raises:
        UdmlError: if the file is missing or damaged.
    """
    if not path.exists():
        raise UdmlError(f"no keys at {path}", f"`udml keys add NAME --file {path}` makes one")
    try:
        keys = read_json(path)
        if not all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in keys.values()):
            raise ValueError("a value is not a sha256")
    except OSError as error:
        raise UdmlError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise UdmlError(f"{path} is not a file of keys: {error}", "restore it, or make another") from error
    return dict(keys)


def add_key(path: Path, name: str) -> str:
    """Make a key and keep its hash under `name`; the key itself is returned and kept nowhere.

    Raises:
        UdmlError: if there is a key of that name.
    """
    with _changing(path):
        keys = read_keys(path) if path.exists() else {}
        if name in keys:
            raise UdmlError(f"there is a key {name} in {path}", "remove it first, or choose another name")
        key = _PREFIX + secrets.token_urlsafe(32)
        _write(path, {**keys, name: _sha256(key)})
    return key


def remove_key(path: Path, name: str) -> None:
    """Forget a key; a running service refuses it within a second.

    Raises:
        UdmlError: if there is none of that name.
    """
    with _changing(path):
        keys = read_keys(path)
        if name not in keys:
            raise UdmlError(f"there is no key {name} in {path}", "`udml keys list` names them")
        _write(path, {other: sha256 for other, sha256 in keys.items() if other != name})


def owner(keys: Mapping[str, str], presented: str) -> str | None:
    """Name of the key that was presented, or None. Takes as long whichever it is, or isn't."""
    sha256 = _sha256(presented)
    found = None
    for name, kept in keys.items():
        if hmac.compare_digest(sha256, kept):
            found = name
    return found


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """One writer at a time, of all processes; what it reads is still so when it writes."""
    real = path.resolve()
    try:
        with exclusive(real.with_name(f".{real.name}.lock")):
            yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # told in words where it is printed


def _write(path: Path, keys: Mapping[str, str]) -> None:
    """Replace the file; a link stays one, and the file keeps its owner and mode."""
    real = path.resolve()
    before = real.stat() if real.exists() else None
    with atomic_path(real) as temporary:
        temporary.touch(0o600)
        temporary.write_text(json.dumps(keys, indent=2) + "\n")
        if before is not None:
            _give_to(temporary, before)


def _give_to(file: Path, facts: os.stat_result) -> None:
    now = file.stat()
    if (now.st_uid, now.st_gid) != (facts.st_uid, facts.st_gid):
        os.chown(file, facts.st_uid, facts.st_gid)
    file.chmod(stat.S_IMODE(facts.st_mode))
