"""POST of a notice, signed as Standard Webhooks (standardwebhooks.com) has it; libraries check it.

`webhook-id` is the same for every try of a notice, so that a receiver can drop the second of two;
`webhook-timestamp` is of the try, in seconds since 1970; `webhook-signature` is "v1," and in base64
HMAC-SHA256(secret, "ID.TIMESTAMP.BODY").
"""

import base64
import binascii
import hashlib
import hmac
import json
import threading
import time
from urllib.parse import urlsplit

from udml.config.notify import is_address
from udml.errors import UdmlError

TRY_SECONDS = 10.0  # of one try as a whole, however slowly bytes come
PAUSES_SECONDS = (1.0, 4.0, 15.0)  # before the second, third and fourth try
_PASSING = (408, 425, 429)  # besides 5xx: the same may go through later
_LEAST_SECRET_BYTES = 24  # as the standard asks for
_PREFIX = "whsec_"  # of secrets that are written in base64


class _PassingError(Exception):
    """What may go through when it is tried again."""


def post(
    url: str,
    notice: bytes,
    secret: str | None,
    try_seconds: float = TRY_SECONDS,
    pauses_seconds: tuple[float, ...] = PAUSES_SECONDS,
) -> None:
    """Send a notice until it is taken, or was tried often enough.

    A redirect is not followed: what is signed for one address is not for another. Of an answer only the
    status counts; its body is not read.

    Args:
        url: http or https.
        notice: what `make_notice` makes.
        secret: what signs it; None for no signature.
        try_seconds: of one try.
        pauses_seconds: before the tries after the first.

    Raises:
        UdmlError: if it was not taken, with what the last try said.
    """
    if not is_address(url):
        raise UdmlError("notify.url leads to something that is no http address", "check what it names")
    key = None if secret is None else signing_key(secret)
    identity = json.loads(notice)["id"]
    for pause in (*pauses_seconds, None):
        try:
            _within(try_seconds, url, notice, _headers(identity, notice, key))
            return
        except _PassingError as error:
            if pause is None:
                tries = 1 + len(pauses_seconds)
                raise UdmlError(f"{_place(url)} {error} ({tries} tries)", "see what its log says") from error
            time.sleep(pause)


def signing_key(secret: str) -> bytes:
    """The bytes that sign: what follows `whsec_` is base64, any other secret is taken as it is.

    Raises:
        UdmlError: if it is too short, or no base64.
    """
    try:
        encoded = secret.startswith(_PREFIX)
        key = base64.b64decode(secret[len(_PREFIX) :], validate=True) if encoded else secret.encode()
    except binascii.Error as error:
        raise UdmlError(f"notify.secret begins with {_PREFIX}, but is no base64", "copy it again") from error
    if len(key) < _LEAST_SECRET_BYTES:
        raise UdmlError(
            f"notify.secret has {len(key)} bytes, {_LEAST_SECRET_BYTES} are the least", "make a longer one"
        )
    return key


def signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _headers(identity: str, notice: bytes, key: bytes | None) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signed = {} if key is None else {"webhook-signature": signature(key, identity, timestamp, notice)}
    return {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
    } | signed


def _within(seconds: float, url: str, notice: bytes, headers: dict[str, str]) -> None:
    """One try, in a thread that is left behind when its time is over: names are looked up, and bytes
    come, as slowly as a server likes.
    """
    outcome: list[Exception | None] = []

    def attempt() -> None:
        try:
            _send(url, notice, headers, seconds)
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, name="notify", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise _PassingError(f"did not answer within {seconds:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _send(url: str, notice: bytes, headers: dict[str, str], seconds: float) -> None:
    import httpx  # Prefect's own client; what searches and serves never comes here

    try:
        with httpx.stream(
            "POST", url, content=notice, headers=headers, timeout=seconds, follow_redirects=False
        ) as answer:
            status = answer.status_code
    except httpx.HTTPError as error:
        raise _PassingError(f"failed: {str(error) or type(error).__name__}") from error
    if status >= 500 or status in _PASSING:
        raise _PassingError(f"answered {status}")
    if status >= 300:
        hint = "name the address that it leads to" if status < 400 else "see what it wants"
        raise UdmlError(f"{_place(url)} answered {status}", hint)


def _place(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
