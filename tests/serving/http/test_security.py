import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import httpx
import pytest

from tests.serving.small_service import BASE, NEW, client, problem
from udml.serving.http import keys, security
from udml.serving.http.security import Guard, RateLimit
from udml.serving.http.turns import MOST_AT_ONCE, Turns
from udml.serving.service.metrics import Metrics
from udml.serving.service.settings import Settings

FILE = BASE[0][1]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_writing_is_off_unless_it_was_opened(registry):
    with client(registry) as http:
        assert http.post("/v1/search", content=FILE).status_code == 200
        problem(http.post("/v1/items?name=a.png", content=NEW[0][1]), 403, "read_only")
        problem(http.delete("/v1/items", params={"id": "0" * 16}), 403, "read_only")
    with client(registry, open_writes=True) as http:
        assert http.post("/v1/items?name=a.png", content=NEW[0][1]).status_code == 200


def test_with_keys_everything_needs_one(registry, tmp_path):
    path = tmp_path / "keys.json"
    key = keys.add_key(path, "anna")
    with client(registry, keys=path) as http:
        for method, route in (
            ("POST", "/v1/search"), ("POST", "/v1/search?id=" + "0" * 16), ("POST", "/v1/embed"),
            ("GET", "/v1/items"), ("GET", "/v1/items/" + "0" * 16),
            ("GET", "/metrics"), ("GET", "/v1/items/" + "0" * 16 + "/image"),
            ("GET", "/v1/clusters"), ("GET", "/v1/version"),
            ("POST", "/v1/items"), ("DELETE", "/v1/items?id=" + "0" * 16),
        ):  # fmt: skip
            answer = http.request(method, route)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(http.get("/v1/version", headers=bearer("udml_wrong")), 401, "unauthorized")
        problem(http.get("/v1/version", headers={"Authorization": "Basic " + key}), 401, "unauthorized")
        assert http.get("/v1/version", headers=bearer(key)).json()["writes"] == "key"
        assert http.post("/v1/items?name=a.png", content=NEW[0][1], headers=bearer(key)).status_code == 200
        assert http.get("/healthz").status_code == http.get("/").status_code == 200


def test_reads_may_be_open_while_writes_need_a_key(registry, tmp_path):
    path = tmp_path / "keys.json"
    key = keys.add_key(path, "anna")
    with client(registry, keys=path, open_reads=True) as http:
        assert http.post("/v1/search", content=FILE).status_code == 200
        problem(http.post("/v1/items?name=a.png", content=NEW[0][1]), 401, "unauthorized")
        problem(http.post("/v1/search", content=FILE, headers=bearer("udml_old")), 401, "unauthorized")
        assert http.post("/v1/items?name=a.png", content=NEW[0][1], headers=bearer(key)).status_code == 200


def test_a_removed_key_is_refused_without_a_restart(registry, tmp_path):
    path = tmp_path / "keys.json"
    key = keys.add_key(path, "anna")
    with client(registry, keys=path) as http:
        assert http.get("/v1/version", headers=bearer(key)).status_code == 200
        new = keys.add_key(path, "ben")
        keys.remove_key(path, "anna")
        deadline = time.monotonic() + 120
        while http.get("/v1/version", headers=bearer(key)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert http.get("/v1/version", headers=bearer(new)).status_code == 200
        path.write_text("damaged")  # what was known stays known
        time.sleep(1.5)
        assert http.get("/v1/version", headers=bearer(new)).status_code == 200


def test_a_bucket_empties_and_fills_again():
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.wait_seconds("a") for _ in range(10)] == [0.0] * 10  # ten seconds' worth
    assert limit.wait_seconds("a") == pytest.approx(1.0)
    assert limit.wait_seconds("b") == 0.0
    now[0] += 2
    assert [limit.wait_seconds("a") > 0 for _ in range(3)] == [False, False, True]
    for caller in range(20_000):
        limit.wait_seconds(str(caller))
    assert len(limit._buckets) == 10_000


def test_the_rate_limit_counts_by_key_else_by_address(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(security, "RateLimit", partial(RateLimit, clock=lambda: 0.0))
    path = tmp_path / "keys.json"
    anna, ben = keys.add_key(path, "anna"), keys.add_key(path, "ben")
    with client(registry, keys=path, open_reads=True, requests_per_minute=12) as http:
        for caller in ({}, bearer(anna), bearer(ben)):
            assert [http.get("/v1/version", headers=caller).status_code for _ in range(2)] == [200, 200]
            refused = http.get("/v1/version", headers=caller)
            problem(refused, 429, "rate_limited")
            assert refused.headers["retry-after"] in ("5", "6")  # a token comes every five seconds
        assert http.get("/healthz").status_code == 200


def test_pages_of_other_sites_cannot_call_it(registry):
    with client(registry, open_writes=True) as http:
        for headers in (
            {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9999"}, {"Origin": "http://["},
        ):  # fmt: skip
            problem(http.post("/v1/items?name=a.png", content=NEW[0][1], headers=headers), 403, "cross_site")
        own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        answer = http.post("/v1/items?name=a.png", content=NEW[0][1], headers=own)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


def test_what_the_browser_itself_says_is_believed(registry):
    """A proxy may ask under another name than the one that the browser sees."""
    behind = {"Origin": "https://pictures.example", "Sec-Fetch-Site": "same-origin"}
    with client(registry, open_writes=True, allowed_hosts=("Pictures.example",)) as http:
        for host in ("127.0.0.1:8000", "pictures.example", "pictures.example:443"):
            assert http.post("/v1/search", content=FILE, headers={**behind, "Host": host}).status_code == 200
        problem(http.get("/v1/version", headers={"Host": "evil.example"}), 421, "wrong_host")


@pytest.mark.parametrize("path", ["/", "/page.js", "/healthz", "/v1/version", "/metrics", "/openapi.json"])
def test_what_can_be_asked_for_can_be_asked_about(registry, path):
    with client(registry) as http:
        asked = http.head(path)
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["content-type"] == http.get(path).headers["content-type"]


@pytest.mark.parametrize(
    ("name", "request_of"),
    [
        ("url_too_long", lambda http: http.get("/v1/version?" + "x" * 17_000)),
        ("url_too_long", lambda http: http.get("/" + "x" * 17_000)),
        ("headers_too_large", lambda http: http.get("/", headers=[(f"x-{n}", "1") for n in range(101)])),
        ("headers_too_large", lambda http: http.get("/", headers={"x": "1" * 66_000})),
    ],
)
def test_the_head_of_a_request_has_limits(registry, name, request_of):
    with client(registry) as http:
        problem(request_of(http), 414 if name == "url_too_long" else 431, name)


def test_a_caller_behind_a_trusted_proxy_counts_by_itself(registry, monkeypatch):
    monkeypatch.setattr(security, "RateLimit", partial(RateLimit, clock=lambda: 0.0))
    with client(registry, requests_per_minute=6) as http:  # nobody is trusted
        told = [http.get("/v1/version", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(3)]
        assert [answer.status_code for answer in told] == [200, 429, 429]


def test_a_site_that_was_allowed_can_call_it(registry):
    site = "https://shop.example"
    with client(registry, allowed_origins=(site,)) as http:
        answer = http.post(
            "/v1/search", content=FILE, headers={"Origin": site, "Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == site
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in http.options("/v1/search", headers=asked).headers


def test_a_local_service_answers_to_local_names_only(registry):
    with client(registry) as http:
        problem(http.get("/v1/version", headers={"Host": "rebound.example:8000"}), 421, "wrong_host")
        problem(http.get("/", headers={"Host": "localhost.evil.example"}), 421, "wrong_host")
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
            assert http.get("/v1/version", headers={"Host": host}).status_code == 200


def test_every_answer_carries_the_security_headers(registry):
    with client(registry) as http:
        for path in ("/", "/page.js", "/v1/version", "/v1/nothing", "/healthz"):
            headers = http.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert "http" not in policy
        assert http.get("/v1/version").headers["cache-control"] == "no-store"


def test_more_requests_than_it_can_hold_are_told_when_to_come_back(monkeypatch):
    monkeypatch.setattr(security, "_MAX_RUNNING", 3)
    go_on = asyncio.Event()

    async def slow(scope, receive, send):
        await go_on.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def trial():
        guarded = httpx.ASGITransport(Guard(slow, Settings(), None, Metrics()))
        async with httpx.AsyncClient(transport=guarded, base_url="http://localhost") as http:
            first = [asyncio.create_task(http.get("/openapi.json")) for _ in range(3)]
            operators = [asyncio.create_task(http.get("/healthz")) for _ in range(9)]
            await asyncio.sleep(0)
            refused = await http.get("/openapi.json")
            go_on.set()
            held = [await answer for answer in [*first, *operators]]
            return held, refused, await http.get("/openapi.json")

    held, refused, later = asyncio.run(trial())
    assert [answer.status_code for answer in [*held, later]] == [204] * 13
    problem(refused, 503, "too_many_requests")
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/openapi.json", "/healthz"])
@pytest.mark.parametrize("sent", [40, 400])
def test_who_asks_for_little_waits_for_few_of_the_requests_of_another(path, sent, monkeypatch):
    """However many these are: health, too, though it is health that the other asks for."""
    monkeypatch.setattr(security, "_MAX_RUNNING_EACH", sent)
    begun = []

    async def note(scope, receive, send):
        begun.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(note, Settings(), None, Metrics())

    async def answer(caller, path):
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
        }
        scope |= {"headers": [(b"host", b"localhost")], "client": (caller, 1)}

        async def ignored(*_):
            return {"type": "http.disconnect"}

        await guard(scope, ignored, ignored)

    async def trial():
        many = [asyncio.create_task(answer("127.0.0.2", path)) for _ in range(sent)]
        asked = ["/healthz", "/openapi.json"]
        little = [asyncio.create_task(answer("127.0.0.1", one)) for one in asked]
        await asyncio.gather(*little, *many)

    asyncio.run(trial())
    assert (begun.count("127.0.0.1"), begun.count("127.0.0.2")) == (2, sent)
    last = max(place for place, caller in enumerate(begun) if caller == "127.0.0.1")
    assert last <= 2 * MOST_AT_ONCE


def test_callers_take_turns_and_who_has_gone_is_passed_over():
    async def trial():
        turns, begun = Turns(most=2), []

        async def ask(caller):
            await turns.wait(caller)
            begun.append(caller)

        tasks = [asyncio.create_task(ask(caller)) for caller in "aaaaaaabbc"]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return begun

    assert asyncio.run(trial()) == list("aaabcbaaa")


def test_images_removed_twice_at_once_are_removed_once(registry):
    with client(registry, open_writes=True) as http, ThreadPoolExecutor(8) as threads:
        for _, data, _ in NEW[:4] * 10:
            added = http.post("/v1/items?name=a.png", content=data).json()["items"][0]["id"]
            tries = [threads.submit(http.delete, "/v1/items", params={"id": added}) for _ in range(8)]
            assert sorted(one.result().status_code for one in tries) == [200, *[404] * 7]


def test_searches_do_not_wait_for_who_writes_and_writers_are_told_when_others_do(registry):
    with client(registry, open_writes=True, deadline_seconds=3.0) as http, ThreadPoolExecutor(8) as threads:
        image = http.post("/v1/items?name=a.png", content=NEW[0][1]).json()["items"][0]["id"]
        with closing(sqlite3.connect(registry / "models" / "additions.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = [
                threads.submit(http.post, "/v1/items?name=b.png", content=NEW[1 + n % 3][1]) for n in range(8)
            ]
            for _ in range(3):
                assert http.post("/v1/search", params={"id": image}).status_code == 200
                assert http.get("/metrics").status_code == 200
            for answer in waiting:
                assert answer.result().json()["code"] in ("changing", "deadline")
            other.execute("ROLLBACK")
        assert http.post("/v1/items?name=b.png", content=NEW[1][1]).status_code == 200
