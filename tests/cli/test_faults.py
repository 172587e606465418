"""Every command against all that can be wrong around it: never a traceback, one clear sentence instead."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import COMMANDS, leaves
from tests.cli.driven import HEAVY, LIGHT, Driver, Said, driver, make, save
from tests.cli.faults import FAULTS, NO_PIPELINE, NO_SERVE, ODD_NAMES, Fault

# Not all of them are UTF-8; some change what a terminal shows.
ODD = (
    "\udcff\udcfe.png",
    "caf\udce9.png",
    "new\nline.png",
    "\u56fe.png",
    "\u202egnp.png",
    "red \x1b[31m.png",
)
TECHNICAL = re.compile(r"\b[Ee]rrno\b|Traceback|<class|<built-in|\w+Error\b|\w+Exception\b")
Base = tuple[Driver, Path]


def test_every_command_is_tried() -> None:
    assert sorted({command.name() for command in COMMANDS}) == sorted(leaves())


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    """A driver with everything imported, and a folder with a workspace in which every command ends well."""
    folder = Path(tempfile.mkdtemp(prefix="udml-faults-", dir=_roomy_memory()))
    with driver(HEAVY) as commands:
        make(folder / "template", commands)
        yield commands, folder / "template"
    shutil.rmtree(folder)


def _roomy_memory() -> Path | None:
    """A disk in memory, if there is room: each command gets a workspace of its own, sooner so."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


@pytest.fixture(scope="module")
def can_mount() -> bool:
    """Whether this machine lets this user mount a disk in a namespace of its own."""
    tried = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def wrong(commands: Driver, template: Path, fault: Fault) -> list[str]:
    """What the commands do wrong under a fault, in words."""
    found = []
    for command in COMMANDS:
        if not fault.applies(command):
            continue
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=template.parent))
        w, typed = folder / "run" / "w", dict(fault.typed)
        argv = [typed.get(word, word) for word in command.argv]
        said = commands.run(w, argv, [("copy", template, folder / "run"), *fault.steps(w, template)])
        shutil.rmtree(folder)
        what = _wrong_status(said, fault.refuses(command), command.good) or _wrong_words(
            said, command.good, fault
        )
        if what:
            found.append(f"udml {' '.join(argv)!r}: {what} (status {said.status})\n{said.out}{said.err}")
    return found


def _wrong_status(said: Said, refuses: bool | None, good: tuple[int, ...]) -> str:
    if said.status is None:
        return "it hangs"
    if "Traceback" in said.out + said.err:
        return "it ends in a traceback"
    if said.unfinished:
        return f"it leaves {said.unfinished}"
    if said.status not in (*good, 1, 2) or (refuses is True and said.status in good):
        return "it should refuse"
    return "it should not mind" if refuses is False and said.status not in good else ""


def _wrong_words(said: Said, good: tuple[int, ...], fault: Fault) -> str:
    if said.status in good:
        return ""
    *_, last = re.split(r"^(?=udml[ \w]*: )", said.err, flags=re.MULTILINE)
    if not last.startswith("udml") or (said.status == 1 and "\n  -> " not in last):
        return "no sentence with what to do"
    if technical := TECHNICAL.search(last):
        return f"words for programmers: {technical[0]}"
    if fault.where and not any(place in last + said.out for place in fault.where):
        return f"none of {fault.where} is named"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_ends_in_a_traceback(name: str, base: Base, can_mount: bool) -> None:
    commands, template = base
    if not can_mount and "own_mounts" in str(FAULTS[name].steps(template, template)):
        pytest.skip("this machine lets nobody mount a disk")
    assert wrong(commands, template, FAULTS[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=" ".join,
)
def test_names_that_are_not_utf_8(variables: dict[str, str], base: Base) -> None:
    _, template = base
    if not (template / "odd").exists():
        save(template / "odd", ODD, seed=7)
    with driver(LIGHT, **variables) as commands:
        assert wrong(commands, template, ODD_NAMES) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", [NO_PIPELINE, NO_SERVE], ids=["pipeline", "serve"])
def test_a_missing_extra(fault: Fault, base: Base) -> None:
    _, template = base
    with driver(LIGHT) as commands:
        assert wrong(commands, template, fault) == []
