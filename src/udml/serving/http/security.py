"""What stands before every route: whose request it is, whether it may come in, and how often.

Wraps the whole application, so that no answer leaves without its headers, a 500 included.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from udml.serving.http.keys import owner
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem, busy, problem_response
from udml.serving.service.settings import Settings

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_BURST_SECONDS = 10  # a bucket holds what this long a time earns
_MAX_BUCKETS = 10_000
_MAX_RUNNING = 500  # requests at a time, however small; each holds a connection and some memory
_EMBEDDING_PATHS = ("/v1/search", "/v1/embed")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}


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
        self._local = settings.host in _LOCAL_NAMES
        self._running = 0
        self.keys = keys
        self.require_room: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to the application, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        self._running += 1
        try:
            self._check(scope)
        except Problem as problem:
            await problem_response(problem)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._running -= 1
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.stage_seconds.labels("total").observe(time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        """Raise the problem of a request that must not go on."""
        if self._running > _MAX_RUNNING:
            raise busy("too_many_requests", f"{_MAX_RUNNING} requests are being answered; try again")
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in _SAFE_METHODS:
            self._check_site(headers)
        name = self._key_name(headers)
        scope.setdefault("state", {})["key_name"] = name
        if scope["path"].startswith("/v1/"):
            seconds = self._limit.wait_seconds(f"key {name}" if name else _network(scope))
            if seconds:
                raise Problem(
                    429, "rate_limited", f"too many requests, the limit is "
                    f"{self._settings.requests_per_minute} a minute; wait and try again",
                    {"Retry-After": str(int(seconds) + 1)},
                )  # fmt: skip
        # Refused here, before the routes, an image costs least: under overload most are.
        if scope["path"] in _EMBEDDING_PATHS and b"id=" not in scope["query_string"]:
            self.require_room()

    def _check_host(self, headers: Headers) -> None:
        """A service on loopback answers to local names only: a web site that has its own name point to
        127.0.0.1 (DNS rebinding) must not read the collection through a visitor's browser.
        """
        if self._local and _host_name(headers.get("host", "")) not in _LOCAL_NAMES:
            raise Problem(421, "wrong_host", "this service answers to localhost and 127.0.0.1 only")

    def _check_site(self, headers: Headers) -> None:
        """Pages of other web sites must not search, add or remove through a visitor's browser."""
        origin = headers.get("origin")
        if origin in self._settings.allowed_origins:
            return
        site = headers.get("sec-fetch-site")
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


def _host_name(host: str) -> str:
    """The name in a Host header: no port, no brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()


def _network(scope: Mapping[str, Any]) -> str:
    """The caller's address; of IPv6 the first 64 bits, since everyone has all the others to choose from."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))
