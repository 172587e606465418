"""Files that ask for too much, sent to the service and given to the commands."""

import threading

import pytest
from benchmarks.serving import hostile

from tests.serving.live import files
from tests.serving.small_service import BASE, client, problem
from udml import Searcher
from udml.cli import main
from udml.config import Prepare
from udml.decoding.budget import CallerGoneError, refuse_to_wait
from udml.monitor.batch import from_files
from udml.serving.decoders import Decoders
from udml.serving.engine import decoding as engine_decoding
from udml.serving.service.metrics import Metrics

SCANS = hostile.blank_jpeg(64, 150)
WEBP = hostile.claimed_webp(7000)
SLOW = hostile.blank_jpeg(7000, 90)  # over a second of CPU time
USUAL = files(1, seed=5)[0][1]


def test_whatever_is_sent_is_answered_with_a_sentence_and_the_next_search_is_right(registry):
    attacks = hostile.attack_files(0.03)
    with client(registry, open_writes=True) as http:
        before = http.post("/v1/search?k=3", content=BASE[0][1]).json()
        codes = set()
        for name, data in attacks.items():
            for route in ("/v1/search", "/v1/items?name=a"):
                answer = http.post(route, content=data)
                assert answer.status_code in (200, 413, 422), (name, answer.text)
                codes.add(answer.json().get("code"))
        assert {"too_costly", "corrupt"} <= codes
        for data in (SCANS, WEBP):
            sentence = problem(http.post("/v1/search", content=data), 422, "too_costly")
            assert "takes more time or memory than one file may have" in sentence
            problem(http.post("/v1/items?name=b", content=data), 422, "too_costly")
        after = http.post("/v1/search?k=1", content=BASE[0][1]).json()
        assert after["neighbours"] == before["neighbours"][:1]


def test_one_costly_file_of_many_is_refused_by_itself(registry):
    sent = [("image", ("usual.png", USUAL)), ("image", ("scans.jpg", SCANS)), ("image", ("x.webp", WEBP))]
    with client(registry, open_writes=True) as http:
        items = http.post("/v1/items", files=sent).json()["items"]
    assert [item["status"] for item in items] == ["added", "refused", "refused"]
    assert "over 100 scans" in items[1]["problem"]


def test_an_upload_is_decoded_once(registry, monkeypatch):
    decoded = []
    decode_wish = engine_decoding.decode_wish
    monkeypatch.setattr(
        engine_decoding, "decode_wish", lambda data, *how: decoded.append(data) or decode_wish(data, *how)
    )
    new = [data for _, data, _ in files(5, seed=9)]
    with client(registry, open_writes=True) as http:
        many = [("image", (f"{n}.png", data)) for n, data in enumerate(new[:4])]
        assert http.post("/v1/items", files=many).status_code == 200
        assert http.post("/v1/items?name=one", content=new[4]).status_code == 200
        assert sorted(decoded) == sorted(new)
        decoded.clear()
        found = http.post("/v1/search?k=1", content=new[2]).json()["neighbours"]
        assert found[0]["similarity"] > 0.999  # the vector is that of the pixels that were decoded
        assert decoded == [new[2]]


@pytest.mark.parametrize("route", ["/v1/search", "/v1/embed", "/v1/items?name=a"])
def test_a_caller_that_has_gone_leaves_no_work_behind(registry, route):
    """The service could not close, as it does at the end of the block, while a thread is at it."""
    with client(registry, open_writes=True, deadline_seconds=0.2) as http:
        problem(http.post(route, content=SLOW), 503, "deadline")


def wait_for(*events):
    for event in events:
        assert event.wait(120)


def test_a_slow_file_delays_no_usual_one():
    decoders, begun, free = Decoders(Metrics()), threading.Event(), threading.Event()
    came_of = []

    def slow():
        refuse_to_wait()  # as a file that needs a process
        begun.set()
        wait_for(free)
        return "slow"

    ends = [threading.Event() for _ in range(40)]
    for end in ends[:20]:
        decoders.submit(slow, lambda: False, lambda what, end=end: (came_of.append(what), end.set()))
    wait_for(begun)
    for end in ends[20:]:
        decoders.submit(
            lambda: "usual", lambda: False, lambda what, end=end: (came_of.append(what), end.set())
        )
    wait_for(*ends[20:])
    assert came_of == ["usual"] * 20
    free.set()
    wait_for(*ends)
    decoders.close()
    assert came_of[20:] == ["slow"] * 20


def test_what_nobody_waits_for_is_not_begun():
    decoders, came_of, begun = Decoders(Metrics()), [], []
    for gone in (True, False, True):
        decoders.submit(lambda: begun.append(1) or 7, lambda gone=gone: gone, came_of.append)
    decoders.close()
    assert len(begun) == 1
    assert sorted(type(what).__name__ for what in came_of) == ["CallerGoneError", "CallerGoneError", "int"]
    assert any(isinstance(what, CallerGoneError) for what in came_of)


def test_the_commands_say_in_a_sentence_what_is_too_costly(registry, monkeypatch, capsys):
    monkeypatch.chdir(registry)
    photos = registry / "photos"
    photos.mkdir()
    (photos / "scans.jpg").write_bytes(SCANS)
    (photos / "usual.png").write_bytes(USUAL)
    assert main(["index", "add", "photos"]) == 0
    said = capsys.readouterr()
    assert "1 added, 1 refused" in said.out
    assert "scans.jpg: decoding the image takes more time or memory" in said.err
    assert main(["search", "photos/scans.jpg", "--version", "champion"]) == 1
    assert "over 100 scans" in capsys.readouterr().err
    with Searcher.open(registry / "models" / "champion", registry / "data", 1) as searcher:
        rules = Prepare(96, 16, 10**7, 0.3, 6, 0.97, 0)
        batch = from_files(searcher.embedder, sorted(photos.iterdir()), rules)  # as `monitor` reads them
    assert [(p.path.name, p.reason) for p in batch.problems] == [("scans.jpg", "too_costly")]
