"""Traces by OpenTelemetry, for whoever asks for them; off, and not loaded, unless UDML_TRACE is set."""

from udml.tracing.spans import VARIABLE, here, note, part, span, start, stop, told, use

__all__ = ["VARIABLE", "here", "note", "part", "span", "start", "stop", "told", "use"]
