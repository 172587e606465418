"""What is told, and to whom: `tell` is all that a flow calls."""

import json
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from udml.config import PARAMS_FILE, Notify, section_as_made
from udml.errors import UdmlError, reason
from udml.files import read_regular, utc_now
from udml.notifying.posting import post
from udml.notifying.running import run
from udml.text import printable

_MOST_LETTERS = 4000  # of a text: what failed may have printed pages
_MOST_SECRET_BYTES = 4096


def tell(event: str, text: str, workspace: Path, say: Callable[[str], None], **data: str) -> None:
    """Tell whom `notify` in the workspace's params.yaml names of an event, if it wants to hear of it.

    Never raises an `Exception`, and takes under two minutes: of a notice that nobody takes a line is said.

    Args:
        event: of `udml.config.notify.EVENTS`.
        text: what happened, a sentence for people.
        workspace: where params.yaml is, and what its relative paths start from.
        say: is told what went wrong, a line each.
        data: more of it, for programs.
    """
    try:
        wanted = section_as_made(workspace / PARAMS_FILE, Notify, "notify")
    except (UdmlError, OSError) as error:
        say(f"nobody was notified: {printable(reason(error))}")
        return
    if event not in wanted.events:
        return
    notice = make_notice(event, text, workspace, data)
    for who, attempt in (
        ("notify.url", lambda: _post(wanted, notice, workspace)),
        ("notify.command", lambda: run(wanted.command, notice, workspace) if wanted.command else None),
    ):
        try:
            attempt()
        except Exception as error:  # of whatever kind: a run does not fail because nobody heard of it
            what = error.what if isinstance(error, UdmlError) else reason(error)
            say(f"{who} was not notified of `{event}`: {printable(what)}")


def make_notice(event: str, text: str, workspace: Path, data: dict[str, str]) -> bytes:
    """The JSON that is sent: type, timestamp and data, as Standard Webhooks has them."""
    more: dict[str, Any] = {key: value[:_MOST_LETTERS] for key, value in data.items()}
    where = {"workspace": str(workspace.resolve()), "host": socket.gethostname()}
    notice = {
        "type": event,
        "timestamp": utc_now(),
        "id": f"msg_{uuid.uuid4().hex}",
        "text": text[:_MOST_LETTERS],
        "data": where | more,
    }
    return json.dumps(notice).encode()


def _post(wanted: Notify, notice: bytes, workspace: Path) -> None:
    if wanted.url is None:
        return
    url = resolve("notify.url", wanted.url, workspace)
    secret = None if wanted.secret is None else resolve("notify.secret", wanted.secret, workspace)
    post(url, notice, secret)


def resolve(name: str, reference: str, workspace: Path) -> str:
    """What `env:NAME` or `file:PATH` leads to; anything else is itself.

    Raises:
        UdmlError: if it leads nowhere, or to nothing.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        found = os.environ.get(place, "")
    elif kind == "file":
        try:
            found = read_regular(workspace / Path(place).expanduser())[:_MOST_SECRET_BYTES].decode()
        except (OSError, ValueError) as error:
            raise UdmlError(f"{name}: {place} can't be read: {reason(error)}", "check the file") from error
    else:
        return reference
    if not found.strip():
        raise UdmlError(f"{name}: {reference} is empty or not there", "set it where the flows run")
    return found.strip()
