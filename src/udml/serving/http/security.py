"""What stands before every route: whose request it is, whether it may come in, and how often.

Wraps the whole application, so that no answer leaves without its headers, a 500 included.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from udml import tracing
from udml.serving.addresses import UNKNOWN, caller_address, caller_network
from udml.serving.http.connections import MAX_HEAD_BYTES, Door, connection_bounds
from udml.serving.http.keys import owner
from udml.serving.http.turns import Turns
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem, busy, problem_response
from udml.serving.service.settings import Settings

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_BURST_SECONDS = 10  # a bucket holds what this long a time earns
_MAX_BUCKETS = 10_000
_MAX_RUNNING = 500  # requests at a time, however small; each holds a connection and some memory
_MAX_RUNNING_EACH = 125  # of one caller
_MAX_URL_BYTES = 16 * 2**10
_MAX_FIELDS = 100
_OPERATION_PATHS = ("/healthz", "/readyz", "/metrics")  # always answered: nothing else takes their room
_EMBEDDING_PATHS = ("/v1/search", "/v1/embed")
_HEADERS = {  # of every answer that does not say otherwise itself
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


class RateLimit:
    """A token bucket per caller; the ones unheard of for longest are forgotten first."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._capacity = max(1.0, self._per_second * _BURST_SECONDS)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, caller: str) -> float:
        """0 where the caller may go on, which takes one token; else how long until there is one."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        tokens, since = self._buckets.pop(caller, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - allowed, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_second


class Guard:
    """The outermost layer of the service.

    Attributes:
        door: the connections that requests come by.
        keys: hex sha256 of each API key by name, or None where there are no keys; may be replaced
            while the service runs.
        require_room: raises a 503 where too many images wait; set once the service is there.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, keys: Mapping[str, str] | None, metrics: Metrics
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._limit = RateLimit(settings.requests_per_minute)
        self._proxies = settings.proxy_networks
        self._hosts = _hosts(settings)
        self._running: Counter[str] = Counter()
        self._turns, self._operators = Turns(), Turns()
        self.door = Door(connection_bounds(settings))
        self.keys = keys
        self.require_room: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to the application, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, bodiless, answering = 500, scope["method"] == "HEAD", False
        if bodiless:  # what can be asked for can be asked about
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                said = {name for name, _ in message["headers"]}
                more = [field for field in _RAW_HEADERS if field[0] not in said]
                message = {**message, "headers": [*message["headers"], *more]}
            elif bodiless:
                message = {**message, "body": b""}
            await send(message)

        caller = self._caller(scope)
        self._running[caller] += 1
        try:
            await (self._operators if scope["path"] in _OPERATION_PATHS else self._turns).wait(caller)
            self._check(scope, caller)
            with tracing.span("request", tracing.told(Headers(scope=scope)), method=scope["method"]):
                await self._app(scope, receive, send_with_headers)
                tracing.note(route=getattr(scope.get("route"), "path", "none"), status=status)
        except Problem as problem:
            await problem_response(problem)(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the service stops, and has waited for this long enough
            if not answering:
                stopping = busy("stopping", "the service stops; ask again")
                await problem_response(stopping)(scope, receive, send_with_headers)
        finally:
            self._running[caller] -= 1
            self._running += Counter()  # forgets who has none
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.stage_seconds.labels("total").observe(time.perf_counter() - began)

    def _caller(self, scope: Scope) -> str:
        """Whose request it is, by its address: the part of it that counts as one caller."""
        peer = (scope.get("client") or (UNKNOWN, 0))[0]
        return caller_network(caller_address(peer, Headers(scope=scope).getlist, self._proxies))

    def _check(self, scope: Scope, address: str) -> None:
        """Raise the problem of a request that must not go on."""
        _check_head(scope)
        if scope["path"] not in _OPERATION_PATHS:
            self._check_room(address)
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in _SAFE_METHODS:
            self._check_site(headers)
        name = self._key_name(headers)
        caller = f"key {name}" if name else address
        scope.setdefault("state", {}).update(key_name=name, caller=caller)
        if scope["path"].startswith("/v1/"):
            seconds = self._limit.wait_seconds(caller)
            if seconds:
                raise Problem(
                    429, "rate_limited", f"too many requests, the limit is "
                    f"{self._settings.requests_per_minute} a minute; wait and try again",
                    {"Retry-After": str(int(seconds) + 1)},
                )  # fmt: skip
        # Refused here, before the routes, an image costs least: under overload most are.
        if scope["path"] in _EMBEDDING_PATHS and b"id=" not in scope["query_string"]:
            self.require_room()

    def _check_room(self, address: str) -> None:
        if self._running.total() > _MAX_RUNNING:
            raise busy("too_many_requests", f"{_MAX_RUNNING} requests are being answered; try again")
        if self._running[address] > _MAX_RUNNING_EACH:
            raise busy("too_many_requests", f"{_MAX_RUNNING_EACH} of your requests are being answered")

    def _check_host(self, headers: Headers) -> None:
        """A service on loopback answers to local names only: a web site that has its own name point to
        127.0.0.1 (DNS rebinding) must not read the collection through a visitor's browser.
        """
        if self._hosts and _host_name(headers.get("host", "")) not in self._hosts:
            raise Problem(
                421, "wrong_host", f"this service answers to {', '.join(self._hosts)} only; see --allow-host"
            )

    def _check_site(self, headers: Headers) -> None:
        """Pages of other web sites must not search, add or remove through a visitor's browser."""
        origin = headers.get("origin")
        if origin in self._settings.allowed_origins:
            return
        site = headers.get("sec-fetch-site")
        if site == "same-origin":  # no page can write it; behind a proxy Host may be another name
            return
        foreign = site is not None and site not in ("same-origin", "none")
        # an Origin is a scheme, "://" and what stands in Host; "null" where the browser tells none
        if foreign or (origin is not None and origin.partition("://")[2] != headers.get("host")):
            raise Problem(403, "cross_site", "pages of other web sites may not call this; see --allow-origin")

    def _key_name(self, headers: Headers) -> str | None:
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        if self.keys is None or scheme.lower() != "bearer":
            return None
        name = owner(self.keys, presented.strip())
        if name is None:
            raise _unauthorized("this API key is not known")
        return name


def check_access(scope: Scope, settings: Settings, writes: bool) -> None:
    """Raise a problem where a route needs a key and none was given."""
    if settings.open_writes if writes else (settings.open_reads or settings.keys is None):
        return
    if scope["state"]["key_name"] is not None:
        return
    if settings.keys is None:
        raise Problem(
            403, "read_only", "adding and removing is off; start `udml serve` with --keys or --open-writes"
        )
    raise _unauthorized("this needs an API key, sent as `Authorization: Bearer KEY`")


def _unauthorized(sentence: str) -> Problem:
    return Problem(401, "unauthorized", sentence, {"WWW-Authenticate": "Bearer"})


def _check_head(scope: Scope) -> None:
    """What a parser has let through may still be more than anybody needs."""
    url = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if url > _MAX_URL_BYTES:
        raise Problem(414, "url_too_long", f"the address may have {_MAX_URL_BYTES} bytes at most")
    fields = scope["headers"]
    if len(fields) > _MAX_FIELDS or sum(len(name) + len(value) for name, value in fields) > MAX_HEAD_BYTES:
        raise Problem(
            431, "headers_too_large",
            f"a request may have {_MAX_FIELDS} header fields of {MAX_HEAD_BYTES} bytes together",
        )  # fmt: skip


def _hosts(settings: Settings) -> tuple[str, ...]:
    """The names that the service answers to; empty for any."""
    if not settings.allowed_hosts and settings.host not in _LOCAL_NAMES:
        return ()
    own = () if settings.host in (*_LOCAL_NAMES, "0.0.0.0", "::") else (settings.host.lower(),)
    return (*_LOCAL_NAMES, *own, *(name.lower() for name in settings.allowed_hosts))


def _host_name(host: str) -> str:
    """The name in a Host header: no port, no brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()
