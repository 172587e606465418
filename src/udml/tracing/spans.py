"""Traces by OpenTelemetry, for whoever asks for them: off, and nothing is loaded, unless UDML_TRACE is set.

    UDML_TRACE=http://127.0.0.1:4318/v1/traces    sent there (OTLP over HTTP)
    UDML_TRACE=stderr                             printed, one JSON object a span

Spans say how long something took, and of what kind it was; never names of files, pictures or callers.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from udml import __version__
from udml.errors import UdmlError, install_hint

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

VARIABLE = "UDML_TRACE"
_PRINTED = "stderr"
Value = str | int | float | bool


class _State:
    """Of this process."""

    tracer: "Tracer | None" = None
    provider: Any = None


def start(service: str) -> bool:
    """Begin to trace if the environment asks for it; returns whether it does.

    Args:
        service: what spans are of: "udml-serve", "udml-flows".

    Raises:
        UdmlError: if it names no place for them, or OpenTelemetry is missing.
    """
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        return False
    if wanted != _PRINTED and not wanted.startswith(("http://", "https://")):
        raise UdmlError(f"{VARIABLE} is {wanted}", "set it to an http:// or https:// address, or to stderr")
    try:
        use(_exporter(wanted), service)
    except ModuleNotFoundError as error:
        raise UdmlError(f"traces need {error.name}", install_hint("trace")) from error
    return True


def use(exporter: "SpanExporter", service: str, batch: bool = True) -> None:
    """Give spans to an exporter; without `batch` each as it ends."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    stop()
    named = {"service.name": service, "service.version": __version__}
    provider = TracerProvider(resource=Resource(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter) if batch else SimpleSpanProcessor(exporter))
    _State.provider, _State.tracer = provider, provider.get_tracer("udml", __version__)


def stop() -> None:
    """Send what waits, for a few seconds at most, and trace no more."""
    provider = _State.provider
    _State.provider = _State.tracer = None
    if provider is not None:
        provider.force_flush(2000)
        provider.shutdown()


@contextmanager
def span(name: str, parent: "Context | None" = None, **attributes: Value) -> Iterator["Context | None"]:
    """A span as long as the block; errors that leave it are noted by their kind.

    Args:
        name: of the kind of work.
        parent: what it is a part of; None for what the caller is in.
        attributes: of it.

    Yields:
        What its parts name as their parent, in whatever thread; None where nothing is traced.
    """
    tracer = _State.tracer
    if tracer is None:
        yield None
        return
    from opentelemetry import context
    from opentelemetry.trace import StatusCode

    with tracer.start_as_current_span(
        name, parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield context.get_current()
        except BaseException as error:
            opened.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def note(**attributes: Value) -> None:
    """Add to the span that the caller is in."""
    if _State.tracer is None:
        return
    from opentelemetry.trace import get_current_span

    get_current_span().set_attributes(attributes)


def here() -> "Context | None":
    """What a part of the caller's work names as its parent; None where nothing is traced."""
    if _State.tracer is None:
        return None
    from opentelemetry import context

    return context.get_current()


def told(headers: Mapping[str, str]) -> "Context | None":
    """The caller's span, as its header `traceparent` (W3C) says; None where it doesn't."""
    if _State.tracer is None or "traceparent" not in headers:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": headers["traceparent"]})


@contextmanager
def part(name: str, *parents: "Context | None") -> Iterator[None]:
    """The block as a part of several spans, of other threads too; nothing of those that are None.

    Where it is one piece of work for several, each says for how many.
    """
    wanted = [parent for parent in parents if parent is not None]
    if _State.tracer is None or not wanted:
        yield
        return
    begun = time.time_ns()
    try:
        yield
    finally:
        if (tracer := _State.tracer) is not None:
            ended = time.time_ns()
            for parent in wanted:
                attributes = {"batch": len(parents)}
                tracer.start_span(name, parent, attributes=attributes, start_time=begun).end(ended)


def _exporter(wanted: str) -> "SpanExporter":
    if wanted == _PRINTED:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda one: one.to_json(indent=None) + "\n")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=wanted, timeout=5)
