"""A flow's run as a trace, where UDML_TRACE asks for it; see docs/traces.md."""

from collections.abc import Callable
from typing import TypeVar

from prefect.client.schemas.objects import State

from udml import tracing

T = TypeVar("T")


def traced(do: Callable[[], T], flow: str) -> T:
    """Do it as a span of the flow's name, which says in which state it ended."""
    begun = tracing.start("udml-flows")
    try:
        with tracing.span("flow", flow=flow):
            ended = do()
            if isinstance(ended, State):
                tracing.note(state=ended.name or "")
            return ended
    finally:
        if begun:
            tracing.stop()
