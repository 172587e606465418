"""Every command of udml as a person types it, in a workspace where it ends well."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from udml.cli import _parser


@dataclass(frozen=True)
class Command:
    """A command and what is known of it.

    Attributes:
        argv: what is typed after `udml`.
        writes: whether it leaves anything on the workspace's disk.
        settings: whether it reads params.yaml.
        pipeline: whether it needs the packages of the extra `pipeline`.
        good: exit statuses where nothing is wrong.
    """

    argv: tuple[str, ...]
    writes: bool = True
    settings: bool = False
    pipeline: bool = False
    good: tuple[int, ...] = (0,)

    def name(self) -> str:
        """As the parser knows it."""
        return max(
            (leaf for leaf in leaves() if self.argv[: len(leaf.split())] == tuple(leaf.split())), key=len
        )


def _command(line: str, **facts: Any) -> Command:
    return Command(tuple(line.split()), **facts)


def _stage(name: str) -> Command:
    return _command(name, settings=True, pipeline=True)


COMMANDS = [
    _command("init ../fresh", writes=False, pipeline=True),
    _command("quickstart ../pictures --workspace . --port 0 --no-browser", settings=True, pipeline=True),
    _command("data import ../pictures", pipeline=True),
    _command("data ensure", writes=False, pipeline=True),
    _command("preset paper --write"),
    *map(_stage, ("prepare", "validate", "train", "export", "index", "evaluate")),
    _command("index add ../more"),
    _command("index remove 0.png"),
    _command("index compact"),
    # no Milvus is there: it says so; what it does with one, tests/collection/shared show
    _command("index push --uri http://127.0.0.1:1", writes=False, good=(1,)),
    _command("embed ../more --out vectors.parquet"),
    _command("search ../more", writes=False),
    _command("search ../more --where label='kind-1' --json", writes=False),
    _command("search ../more --where label!='kind-1' --csv", writes=False),
    _command("search ../more --paths0", writes=False),
    _command("search ../more/0.png --version champion --picture strip.jpg"),
    _command("report ../more --out report.html"),
    _command("monitor ../more --out drift.html", settings=True, good=(0, 3, 4)),
    _command("models register"),
    _command("models challenge", settings=True, pipeline=True),
    _command("models list", writes=False),
    _command("models show champion", writes=False),
    _command("models card champion", writes=False),
    _command("models report --markdown", settings=True, pipeline=True),
    _command("models sign v1 --key ../signing.pem"),
    _command("models export-mlflow v1 --to sqlite:///../mlflow.db", writes=False),
    _command("models diff v1 v2", writes=False),
    _command("models promote v1"),
    _command("models rollback"),
    _command("models verify", writes=False),
    _command("models push", writes=False, pipeline=True),
    _command("models pull", pipeline=True),
    _command("models log", writes=False),
    _command("retrain", pipeline=True),
    _command("judge --export judged.csv"),
    _command("serve --port 0", writes=False),
    _command("mcp --allow ../more", writes=False),
    _command("keys add somebody"),
    _command("keys list", writes=False),
    _command("keys remove ann"),
]


def leaves() -> list[str]:
    """The names of all commands that the parser knows, `index add` beside `index`."""
    return list(_below(_parser(), ""))


def _below(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    if parser.get_default("run") is not None:
        yield name
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, one in action.choices.items():
                yield from _below(one, f"{name} {word}".strip())
