"""What can be wrong with the machine, the disk or what is given, as steps of the driver."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cli.commands import Command
from tests.cli.driven import Step
from tests.cli.driver import PORT

PIPELINE = ("torch", "dvc", "great_expectations", "prefect", "pyarrow", "pandas", "timm", "sklearn", "scipy")
SERVE = ("fastapi", "uvicorn", "prometheus_client")
_PLACES = ("data", "artifacts", "models")


def _either(command: Command) -> bool | None:
    return None


def _never(command: Command) -> bool | None:
    return False


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        steps: bring it about, given the workspace's folder and the folder that it was copied from.
        refuses: whether a command must refuse (True), must not mind (False), or may do either.
        where: what of it a refusal names, one of these; none of them for what differs by command.
        typed: what of a command is typed differently.
        applies: to which commands.
    """

    steps: Callable[[Path, Path], Sequence[Step]]
    refuses: Callable[[Command], bool | None] = _either
    where: tuple[str, ...] = ()
    typed: tuple[tuple[str, str], ...] = ()
    applies: Callable[[Command], bool] = lambda command: True


def _settings(*steps: Step) -> Fault:
    def placed(w: Path, template: Path) -> list[Step]:
        return [(name, w / "params.yaml", *rest) for name, *rest in steps]

    def refuses(command: Command) -> bool | None:
        if command.settings:
            return True
        return None

    def applies(command: Command) -> bool:
        return command.settings or "register" in command.argv

    return Fault(placed, refuses, ("params.yaml",), applies=applies)


def _is_slow(command: Command) -> bool:
    """The stages that take longest, by what they load, and all of them together."""
    return command.argv[0] in ("validate", "train", "export", "quickstart")


def _reads_pictures(command: Command) -> bool:
    return not _runs_all(command) and any(word.startswith("../") for word in command.argv)


def _runs_all(command: Command) -> bool:
    """Whether it runs every stage anew where the pictures, or what was made of them, are others."""
    return command.argv[0] == "quickstart"


def _each_place(step: str, *to: Callable[[Path], Path]) -> Fault:
    """As well as without; `linked` is enough for the slowest, which write as the other stages do."""

    def placed(w: Path, template: Path) -> list[Step]:
        return [("own_mounts",), *((step, w / name, *(f(w / name) for f in to)) for name in _PLACES)]

    return Fault(
        placed,
        _never,
        applies=lambda command: not _is_slow(command) or (step == "linked" and not _runs_all(command)),
    )


def _without(*names: str) -> Callable[[Path, Path], Sequence[Step]]:
    return lambda w, template: [("remove", w / name) for name in names]


def _writing(command: Command) -> bool | None:
    return command.writes


def _writing_much(command: Command) -> bool | None:
    """A disk without room for a page has some for a name, and a line in a file that is there.

    What was added to the champion can't be read without room: SQLite keeps a log beside it.
    """
    if command.argv[0] in ("serve", "mcp", "search", "report", "export") or "champion" in command.argv:
        return None
    return None if command.writes else False


FAULTS = {
    "an empty folder": Fault(
        lambda w, template: [("remove", w), ("folder", w)], applies=lambda command: command.argv[0] != "data"
    ),
    "no data": Fault(
        _without("data", "data.dvc", "artifacts", "models", "keys.json", "dvc.lock"),
        applies=lambda command: not _runs_all(command),
    ),
    "a read-only disk": Fault(
        lambda w, template: [("own_mounts",), ("read_only", w)],
        _writing,
        ("read-only", "Read-only", "can't be"),
    ),
    "a full disk": Fault(
        lambda w, template: [("own_mounts",), ("remove", w), ("full", template / "w", w)],
        _writing_much,
        ("no room", "free some space"),
    ),
    "an unwritable folder": Fault(
        lambda w, template: [("write_protect", w), ("obey_permissions",)], _writing, ("ermission", "writ")
    ),
    "unreadable folders": Fault(
        lambda w, template: [*(("forbid", w / p) for p in (*_PLACES, "keys.json")), ("obey_permissions",)],
        where=(*_PLACES, "keys.json"),
    ),
    "unreadable pictures": Fault(
        lambda w, template: [
            ("forbid", w.parent / "more" / "1.png"),
            ("folder", w.parent / "more" / "locked"),
            ("forbid", w.parent / "more" / "locked"),
            ("forbid", w.parent / "pictures" / "kind-00"),
            ("obey_permissions",),
        ],
        _never,
        applies=_reads_pictures,
    ),
    "a mounted data/, artifacts/, models/": _each_place("another_disk"),
    "a linked data/, artifacts/, models/": _each_place(
        "linked", lambda place: place.parent.parent / f"disk-{place.name}"
    ),
    "an unknown setting": _settings(("write", "prepare: {}\nnothing: 1\n")),
    "settings that are not YAML": _settings(("write", "prepare: [\n")),
    "settings that are no mapping": _settings(("write", "just words\n")),
    "settings that are not text": _settings(("write", "caf\udce9: \udcff\n")),
    "settings that are a folder": _settings(("remove",), ("folder",)),
    "unreadable settings": Fault(
        lambda w, template: [("forbid", w / "params.yaml"), ("obey_permissions",)],
        where=("params.yaml",),
        applies=lambda command: command.settings,
    ),
    "a port in use": Fault(
        lambda w, template: [("port_in_use",)],
        lambda command: True,
        ("port",),
        (("0", PORT),),
        lambda command: command.argv[0] == "serve",
    ),
}
ODD_NAMES = Fault(
    lambda w, template: [],
    _never,
    typed=(
        ("../more", "../odd"),
        ("../pictures", "../odd"),
        ("../more/0.png", "../odd/caf\udce9.png"),
        ("0.png", "caf\udce9.png"),
        *(
            (name, f"out-\udcff-{name}")
            for name in ("vectors.parquet", "strip.jpg", "report.html", "drift.html")
        ),
    ),
    applies=lambda command: not _is_slow(command),  # whose inputs have no names of files in them
)
NO_PIPELINE = Fault(
    lambda w, template: [("without", *PIPELINE)],
    lambda command: None,
    ("pip install", "needs", "no DVC"),
)
NO_SERVE = Fault(
    lambda w, template: [("without", *SERVE)],
    lambda command: True,
    ("pip install",),
    applies=lambda command: command.argv[0] in ("serve", "quickstart"),
)
