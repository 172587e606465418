"""Whom `notify` in params.yaml names is told how a flow ended; see docs/notifications.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from prefect.client.schemas.objects import State

from flows.ending import or_failed
from flows.tracing import traced
from udml import paths
from udml.notifying.notice import tell
from udml.registry.store import champion_name

T = TypeVar("T")
# By the name of the state that a retraining ends in.
_EVENTS = {
    "Promoted": "promoted",
    "Refused": "refused",
    "Failed": "failed",
    "Skipped": "skipped",
    "Nothing new": "skipped",
    "No drift": "skipped",
}


def and_tell(do: Callable[[], T], flow: str) -> T | State[Any]:
    """What `or_failed` returns of `do`, told by the name of its state; errors in udml itself are told, too.

    Args:
        do: the flow's work, in the workspace.
        flow: its name.
    """
    workspace = Path.cwd()  # `do` may go elsewhere
    try:
        ended = or_failed(lambda: traced(do, flow))
    except Exception as error:
        _tell("failed", f"{flow} failed: {type(error).__name__}: {error}", workspace, flow)
        raise
    if isinstance(ended, State) and ended.name in _EVENTS:
        _tell(_EVENTS[ended.name], ended.message or "", workspace, flow, state=ended.name)
    return ended


def tell_of_drift(found: dict[str, Any]) -> None:
    """Tell where new images drift; `found` is the JSON of `udml monitor`."""
    if found["verdict"] == "drift":
        _tell("drift", f"drift: {found['summary']}", Path.cwd(), "monitor")


def _tell(event: str, text: str, workspace: Path, flow: str, **data: str) -> None:
    try:
        champion = champion_name(workspace / paths.MODELS) or ""
    except Exception:  # that, too, may be what failed
        champion = ""
    tell(event, text, workspace, print, flow=flow, champion=champion, **data)
