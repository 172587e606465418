"""Where versions live, which one is the champion, and how that changes.

    models/versions/v1, v2, ...   never changed once they are there
    models/champion               a symbolic link to one of them
    models/log.jsonl              what happened, one JSON object per line, only ever appended to
    models/.lock                  held while something changes

`champion` changes by one rename, which takes model, preprocessing and index along: a crash leaves the
old champion or the new one. A reader resolves the link once and reads from what it got; nothing in
there moves or changes.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from udml.collection.shared import following
from udml.errors import UdmlError, reason
from udml.files import (
    atomic_directory,
    exclusive,
    files_below,
    read_regular,
    sha256_file,
    sync,
    utc_now,
)
from udml.registry.bundle import (
    MANIFEST_FILE,
    Bundle,
    Sources,
    read_bundle,
    verify_bundle,
    write_bundle,
)

VERSIONS = "versions"
CHAMPION = "champion"
LOG_FILE = "log.jsonl"
_LOCK_FILE = ".lock"
_SWITCHES = ("promote", "rollback")
Event = dict[str, Any]


def register(
    models: Path, sources: Sources, revision: str | None = None, compacted_from: str | None = None
) -> Bundle:
    """Keep a model, its index and its figures as the next version; the champion stays.

    Args:
        models: the registry's directory.
        sources: the files, of the workspace or of a version that was compacted.
        revision: git revision that they were made from; default that of the working directory.
        compacted_from: name of that version.

    Raises:
        UdmlError: if something is missing, or the index was made by another model.
    """
    with _locked(models):
        name = f"v{1 + max((int(name[1:]) for name in version_names(models)), default=0)}"
        with atomic_directory(models / VERSIONS / name) as building:
            bundle = write_bundle(building, name, sources, revision, compacted_from)
        _append(models, "register", name, "", manifest_sha256=_manifest_sha256(models, name))
    return bundle


def adopt(models: Path, name: str, directory: Path) -> Bundle:
    """Make `directory`, a version registered elsewhere, a version here; it is verified before it counts.

    Raises:
        UdmlError: if it is not what its manifest says, or there is a version of that name.
    """
    with _locked(models):
        bundle = verify_bundle(directory)
        if bundle.name != name or name in version_names(models):
            raise UdmlError(
                f"{directory} is {bundle.name}, and {name} is wanted or already there", "try again"
            )
        for path in files_below(directory):
            path.chmod(0o444)
        os.rename(directory, models / VERSIONS / name)
        sync(models / VERSIONS)
        _append(models, "register", name, "pulled", manifest_sha256=_manifest_sha256(models, name))
    return bundle


def promote(
    models: Path,
    name: str,
    reason: str,
    check: Callable[[], None] = lambda: None,
    gate: dict[str, Any] | None = None,
    instead_of: str | None = None,
) -> Bundle:
    """Make a version the champion.

    Args:
        models: the registry's directory.
        name: "v1", "v2", ...
        reason: kept in the log.
        check: called when nobody else can change anything any more; what it raises prevents the promotion.
        gate: the numbers behind the reason, kept in the log.
        instead_of: refuse unless this is the champion now.

    Raises:
        UdmlError: if there is no such version, it is not what was registered, or the champion is
            not the one it was made to replace.
    """
    with _locked(models):
        bundle = verify(models, name)
        champion = champion_name(models)
        if instead_of not in (None, champion):
            raise UdmlError(
                f"{name} was made to replace {instead_of}, but the champion is {champion} now",
                f"start again from {champion}, or `udml models promote {name}` if you want it all the same",
            )
        following.bring(models, _directory(models, name))
        check()
        if champion != name:
            _switch(models, name, "promote", reason, **({"gate": gate} if gate else {}))
        following.point(models, _directory(models, name))
    return bundle


def refuse(models: Path, name: str, reason: str, check: Callable[[], None], gate: dict[str, Any]) -> None:
    """Note in the log that a version may not serve; arguments as for `promote`. The champion stays."""
    with _locked(models):
        check()
        _append(models, "refuse", name, reason, gate=gate)


def rollback(models: Path, reason: str) -> Bundle:
    """Make the version that was champion before this one the champion again.

    Rolling back twice goes back two promotions, not to and fro.

    Raises:
        UdmlError: if there is none, or it is not what was registered.
    """
    with _locked(models):
        champions = champions_until_now(models)
        if len(champions) < 2:
            raise UdmlError(
                "there is no earlier champion to go back to", "`udml models log` tells its history"
            )
        bundle = verify(models, champions[-2])
        following.bring(models, _directory(models, champions[-2]))
        _switch(models, champions[-2], "rollback", reason)
        following.point(models, _directory(models, champions[-2]))
    return bundle


def verify(models: Path, name: str) -> Bundle:
    """Compare every file of a version, its manifest too, with what was registered.

    Raises:
        UdmlError: naming what is missing or was changed.
    """
    bundle = verify_bundle(_directory(models, name))
    registered = [e for e in events(models) if e["event"] == "register" and e["version"] == name]
    if registered and registered[0]["manifest_sha256"] != _manifest_sha256(models, name):
        raise UdmlError(
            f"{name} is not what was registered: {MANIFEST_FILE} was changed", "use another version"
        )
    return bundle


def versions(models: Path) -> list[Bundle]:
    """Every version, in order of registration. Damaged ones raise."""
    return [read_bundle(models / VERSIONS / name) for name in version_names(models)]


def version_names(models: Path) -> list[str]:
    """Names of the versions there are, v1 before v2 before v10."""
    names = [path.name for path in (models / VERSIONS).glob("v*") if path.name[1:].isdigit()]
    return sorted(names, key=lambda name: int(name[1:]))


def version_directory(models: Path, name: str) -> Path:
    """Directory of a version, or of the champion where `name` is "champion"; links are resolved.

    Raises:
        UdmlError: if there is none.
    """
    if name != CHAMPION:
        return _directory(models, name)
    champion = champion_name(models)
    if champion is None:
        newest = next(reversed(version_names(models)), None)
        register = "" if newest else "`udml models register` keeps what the pipeline made as v1, then "
        raise UdmlError(
            f"there is no champion in {models}", f"{register}`udml models promote {newest or 'v1'}` makes one"
        )
    return _directory(models, champion)


def champion_name(models: Path) -> str | None:
    """The version that serves, or None before the first promotion."""
    try:
        return Path(os.readlink(models / CHAMPION)).name
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UdmlError(
            f"{models / CHAMPION} is not a link to a version: {os.strerror(error.errno or 0)}",
            "move it away, then `udml models promote` makes it again",
        ) from error


def champions_until_now(models: Path) -> list[str]:
    """The champions that rollbacks would go through, oldest first; the last is the present one."""
    return _champions(events(models))


def _champions(told: list[Event]) -> list[str]:
    states: list[list[str]] = [[]]
    for event in told:
        if event["event"] == "promote":
            states.append([*states[-1], event["version"]])
        elif event["event"] == "rollback":
            states.append(states[-1][:-1])
        elif event["event"] == "undone":
            states.pop()
    return states[-1]


def events(models: Path) -> list[Event]:
    """The log, oldest first. A last line that a crash cut short is left out."""
    path = models / LOG_FILE
    try:
        lines = read_regular(path).split(b"\n") if path.exists() else [b""]
        found = [json.loads(line) for line in lines[:-1] if line]
        if not all(isinstance(event, dict) and {"event", "version"} <= event.keys() for event in found):
            raise ValueError("a line is not an entry")
    except (ValueError, RecursionError, OSError) as error:
        raise UdmlError(f"{path} cannot be read: {reason(error)}", "restore it from a backup") from error
    return found


def _switch(models: Path, name: str, event: str, reason: str, **more: Any) -> None:
    """Log it, then do it: a killed process leaves an entry that `_reconcile` takes back."""
    _append(models, event, name, reason, **more)
    link = models / f".{CHAMPION}.tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(VERSIONS) / name)
    os.replace(link, models / CHAMPION)
    sync(models)


def _reconcile(models: Path) -> None:
    """Bring the log in line with what a killed process left: the directories and the link count."""
    path = models / LOG_FILE
    if path.exists():
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)  # a line that was cut short
    told, actual = events(models), champion_name(models)
    champions = _champions(told)
    if (champions[-1] if champions else None) != actual:
        if told and told[-1]["event"] in _SWITCHES:
            _append(models, "undone", told[-1]["version"], "interrupted before it took effect")
        elif actual:
            _append(models, "promote", actual, "the log did not tell; found as the champion")
    logged = {event["version"] for event in told if event["event"] == "register"}
    for name in version_names(models):
        if name not in logged:
            _append(models, "register", name, "", manifest_sha256=_manifest_sha256(models, name))


def _append(models: Path, event: str, version: str, reason: str, **more: Any) -> None:
    entry = {"time": utc_now(), "event": event, "version": version, "reason": reason, **more}
    with (models / LOG_FILE).open("ab") as file:
        file.write((json.dumps(entry) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(models: Path) -> Iterator[None]:
    """One change at a time."""
    (models / VERSIONS).mkdir(parents=True, exist_ok=True)
    with exclusive(models / _LOCK_FILE):
        _reconcile(models)
        yield


def _directory(models: Path, name: str) -> Path:
    directory = models / VERSIONS / name
    if name not in version_names(models):
        raise UdmlError(f"there is no version {name} in {models}", "`udml models list` names the versions")
    return directory


def _manifest_sha256(models: Path, name: str) -> str:
    return sha256_file(models / VERSIONS / name / MANIFEST_FILE)
