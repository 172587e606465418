"""Notices against servers that fail, hang, redirect, lie and drip."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from tests.notifying.server import Misdeed, receiver
from udml.errors import UdmlError
from udml.notifying.posting import post, signing_key

NOTICE = json.dumps({"id": "msg_1", "type": "promoted", "text": "v2 promoted"}).encode()
SECRET = "a secret of at least 24 bytes"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
PAUSES = (0.01, 0.01)


def test_a_notice_is_signed_over_id_time_and_body() -> None:
    with receiver(OK) as opened:
        post(opened.url, NOTICE, SECRET)
    [(headers, body)] = opened.requests
    assert body == NOTICE
    assert headers["content-type"] == "application/json"
    signed = b".".join([b"msg_1", headers["webhook-timestamp"].encode(), body])
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 1800


def test_a_base64_secret_is_decoded_and_a_short_one_refused() -> None:
    assert signing_key("whsec_" + base64.b64encode(b"x" * 24).decode()) == b"x" * 24
    for secret, why in (("short", "24 are the least"), ("whsec_%%%", "no base64")):
        with pytest.raises(UdmlError, match=why):
            signing_key(secret)


def test_without_a_secret_nothing_is_signed() -> None:
    with receiver(OK) as opened:
        post(opened.url, NOTICE, None)
    assert "webhook-signature" not in opened.requests[0][0]


def test_what_failed_once_is_tried_again_under_the_same_id() -> None:
    with receiver(BUSY, b"no HTTP at all\r\n\r\n", OK) as opened:
        post(opened.url, NOTICE, SECRET, pauses_seconds=PAUSES)
    assert [headers["webhook-id"] for headers, _ in opened.requests] == ["msg_1"] * 3


@pytest.mark.parametrize(
    ("answer", "tries", "why"),
    [
        (BUSY, 3, "answered 503"),
        (b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n", 3, "answered 429"),
        (b"\x00\xff not HTTP\r\n\r\n", 3, "failed"),
        (b"", 3, "failed"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, 3, "failed"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            1,
            "answered 302",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 1, "answered 404"),
    ],
)
def test_a_server_that_does_not_take_it(answer: Misdeed, tries: int, why: str) -> None:
    with receiver(answer) as opened, pytest.raises(UdmlError, match=why) as caught:
        post(opened.url, NOTICE, SECRET, pauses_seconds=PAUSES)
    assert len(opened.requests) == tries
    assert "/hook" not in str(caught.value)  # a path may be a secret


@pytest.mark.parametrize(
    ("answer", "drip_seconds"), [(None, 0.0), (BUSY * 100, 0.05)], ids=["hangs", "drips"]
)
def test_a_server_that_takes_its_time_is_left(answer: Misdeed, drip_seconds: float) -> None:
    """The time is that of a try as a whole: a byte now and then does not prolong it."""
    with receiver(answer, drip_seconds=drip_seconds) as opened:
        with pytest.raises(UdmlError, match=r"did not answer within 0\.3 s|answered 503"):
            post(opened.url, NOTICE, None, try_seconds=0.3, pauses_seconds=(0.01,))
        assert len(opened.requests) <= 2


def test_a_body_without_end_is_not_read() -> None:
    with receiver(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (4 << 20)) as opened:
        post(opened.url, NOTICE, None)
    assert len(opened.requests) == 1


def test_nobody_there() -> None:
    with receiver(OK) as opened:
        pass
    with pytest.raises(UdmlError, match=r"failed.*\(3 tries\)"):
        post(opened.url, NOTICE, None, pauses_seconds=PAUSES)
