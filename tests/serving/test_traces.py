"""Spans of requests and flows, kept in memory; and that nothing is traced, loaded or sent unasked."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.notifying.server import receiver
from tests.serving.small_service import BASE, client
from udml import tracing
from udml.errors import UdmlError


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(exporter, "tests", batch=False)
    yield exporter
    tracing.stop()


def parts(spans: InMemorySpanExporter, of: ReadableSpan) -> dict[str, ReadableSpan]:
    assert of.context is not None
    found = spans.get_finished_spans()
    return {one.name: one for one in found if one.parent and one.parent.span_id == of.context.span_id}


def test_a_search_is_a_request_of_three_parts(registry: Path, spans: InMemorySpanExporter) -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with client(registry) as http:
        http.post("/v1/search?k=3", content=BASE[3][1], headers={"traceparent": f"00-{trace}-{caller}-01"})
        http.post("/v1/search?k=3", content=b"no picture")
        identity = http.get("/v1/items?limit=1").json()["items"][0]["id"]
        http.post(f"/v1/search?id={identity}")
    found = {}
    for one in spans.get_finished_spans():
        if one.name == "request":
            assert set(one.attributes or {}) == {"method", "route", "status"}  # nothing of whom, or of what
            found[(one.attributes or {})["status"], len(parts(spans, one))] = one
    searched, refused, by_id = found[200, 3], found[415, 1], found[200, 1]
    assert (searched.attributes or {})["route"] == "/v1/search"
    assert set(parts(spans, searched)) == {"decode", "embed", "search"}
    assert set(parts(spans, refused)) == {"decode"}
    assert set(parts(spans, by_id)) == {"lookup"}
    assert searched.parent is not None
    assert (f"{searched.parent.trace_id:032x}", f"{searched.parent.span_id:016x}") == (trace, caller)
    for one in parts(spans, searched).values():
        assert searched.start_time is not None
        assert searched.end_time is not None
        assert one.start_time is not None
        assert one.end_time is not None
        assert searched.start_time <= one.start_time <= one.end_time


def test_a_flow_has_its_stages_as_parts(
    tmp_path: Path, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import retrain
    from flows.tracing import traced
    from prefect.client.schemas.objects import State
    from prefect.states import Completed

    monkeypatch.delenv(tracing.VARIABLE, raising=False)
    monkeypatch.setattr(retrain, "get_run_logger", lambda: __import__("logging").getLogger("x"))
    monkeypatch.setattr(retrain.workspace, "run_in", lambda *_, **__: None)

    def do() -> State:
        for name in ("prepare", "train"):
            retrain.run_stage.fn(name, tmp_path)
        return Completed(name="Promoted", message="v2")

    traced(do, "retrain")
    [flow] = [one for one in spans.get_finished_spans() if one.name == "flow"]
    assert dict(flow.attributes or {}) == {"flow": "retrain", "state": "Promoted"}
    found = [one for one in spans.get_finished_spans() if one.name == "stage"]
    assert [(one.attributes or {})["stage"] for one in found] == ["prepare", "train"]
    assert all(one.parent and flow.context and one.parent.span_id == flow.context.span_id for one in found)
    with pytest.raises(UdmlError):
        traced(lambda: (_ for _ in ()).throw(UdmlError("a sentence with /a/path", "")), "reindex")
    failed = spans.get_finished_spans()[-1]
    assert failed.status.description == "UdmlError"


def test_unless_asked_nothing_is_loaded(registry: Path) -> None:
    code = (
        "import sys\nfrom udml import tracing\nfrom udml.serving.http import app\n"
        "assert not tracing.start('x')\n"
        "with tracing.span('a') as inside, tracing.part('b', inside):\n    assert tracing.here() is None\n"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "assert not [n for n in sys.modules if n.startswith(heavy)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": ""})


def test_spans_are_sent_where_asked_and_nowhere_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as opened:
        monkeypatch.setenv(tracing.VARIABLE, opened.url)
        assert tracing.start("tests")
        with tracing.span("work"):
            pass
        tracing.stop()
    [(headers, body)] = opened.requests
    assert headers["content-type"] == "application/x-protobuf"
    assert b"work" in body
    monkeypatch.setenv(tracing.VARIABLE, "somewhere")
    with pytest.raises(UdmlError, match="UDML_TRACE is somewhere"):
        tracing.start("tests")
