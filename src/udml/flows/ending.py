"""How a flow ends on what a person can mend: Failed, with one sentence; no traceback, neither in its log."""

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Failed

from udml.cli.refused import in_words

T = TypeVar("T")
_TASKS = "prefect.task_runs"  # the logger in which Prefect tells of errors in tasks


def or_failed(do: Callable[[], T]) -> T | State[Any]:
    """What `do` returns; where it ends on what a person can mend, a failed state that says so.

    Errors in udml itself, which need their traceback, go on.
    """
    logging.getLogger(_TASKS).addFilter(_without_traceback)
    try:
        return do()
    except Exception as error:
        if (said := in_words(error)) is None:
            raise
        return Failed(message=said)


def _without_traceback(record: logging.LogRecord) -> bool:
    """A filter that keeps all that is logged, errors that a person can mend as a sentence."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, Exception) and (said := in_words(error)) is not None:
        record.msg, record.args, record.exc_info, record.exc_text = said, (), None, None
    return True


def exit_status(state: State[Any]) -> int:
    """0, or 1 after saying on stderr why a flow did not end well."""
    if state.is_completed():
        return 0
    print(f"udml: {state.message}", file=sys.stderr)
    return 1
