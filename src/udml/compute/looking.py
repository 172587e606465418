"""Looking whether all nodes of a Ray cluster can take part, before any work is done.

The processes that look are those that work afterwards: Ray gives the process of a task that is done to the
next actor. So they are started as soon as a command knows that it will need them, and load what its
workers need, while it loads its own.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from udml import paths
from udml.compute.joining import Node, on_node
from udml.compute.node import get_ready, look_around, versions
from udml.files import SCRATCH, remove

_LOOK_SECONDS = 300  # a node that is busy starts a process late
_OLD_SECONDS = 24 * 3600


class Look:
    """Nodes that are being looked at. Each must read a file written here, and write one back."""

    def __init__(self, ray: Any, nodes: Sequence[Node], module: str = "", each_core: bool = False) -> None:
        """Begin; nothing is waited for.

        Args:
            ray: the module, connected.
            nodes: of the cluster.
            module: what workers will need, for the processes to load.
            each_core: whether to start a process for every core of a node, not one.
        """
        self._ray, self._deadline = ray, time.monotonic() + _LOOK_SECONDS
        self._question = _write_question()
        self._asked: dict[Node, tuple[Any, Path]] = {}
        self._getting_ready: list[Any] = []
        inputs = [str(path) for path in (paths.DATA, paths.ARTIFACTS) if path.exists()]
        for number, node in enumerate(nodes):
            answer = self._question.with_name(f"{self._question.name}-{number}")
            names = self._question.name, answer.name
            ref = _on(ray, node, look_around).remote(str(Path.cwd()), inputs, *names, module)
            self._asked[node] = ref, answer.absolute()
            others = node.cores - 1 if each_core else 0
            self._getting_ready += [_on(ray, node, get_ready).remote(module) for _ in range(others)]

    def answers(self) -> dict[Node, str]:
        """What hinders each node from taking part, empty for those that can; without nodes that are gone."""
        try:
            said = {node: self._hinders(ref, answer) for node, (ref, answer) in self._asked.items()}
            for ref in self._getting_ready:
                with suppress(self._ray.exceptions.RayError):  # a worker of this node will say what is wrong
                    self._ray.get(ref, timeout=self._left_seconds())
        finally:
            self.end()
        return {node: why for node, why in said.items() if why is not None}

    def end(self) -> None:
        """Take the files away."""
        for file in (self._question, *(answer for _, answer in self._asked.values())):
            remove(file)

    def _hinders(self, ref: Any, answer: Path) -> str | None:
        errors = self._ray.exceptions
        try:
            why, found = self._ray.get(ref, timeout=self._left_seconds())
        except errors.GetTimeoutError:
            return f"did not answer for {_LOOK_SECONDS} s"
        except (errors.TaskUnschedulableError, errors.NodeDiedError):
            return None
        except errors.RayError as error:
            return f"cannot run udml ({str(error).strip().splitlines()[-1]})"
        return _unlike_here(found) or why or _unanswered(answer, self._question)

    def _left_seconds(self) -> float:
        return max(0.1, self._deadline - time.monotonic())


def _on(ray: Any, node: Node, function: Any) -> Any:
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": on_node(node)}
    return ray.remote(function).options(**options)


def _write_question() -> Path:
    """A file of one token, in .scratch; those of commands that were killed are removed."""
    SCRATCH.mkdir(exist_ok=True)
    for left_over in SCRATCH.glob("shared-*"):
        with suppress(FileNotFoundError):
            if time.time() - left_over.stat().st_mtime > _OLD_SECONDS:
                remove(left_over)
    token = secrets.token_hex(16)
    question = SCRATCH.absolute() / f"shared-{token}"
    question.write_text(token)
    return question


def _unlike_here(found: dict[str, str]) -> str:
    own = versions()
    other = [f"{name} {found.get(name)} and not {own[name]}" for name in own if found.get(name) != own[name]]
    return f"has {', '.join(other)}" if other else ""


def _unanswered(answer: Path, question: Path) -> str:
    try:
        there = answer.read_text() == question.read_text()
    except OSError:
        there = False
    return "" if there else f"does not share {Path.cwd()}"
