import pytest
from starlette.datastructures import Headers

from udml.errors import UdmlError
from udml.serving.addresses import caller_address, caller_network, parse_networks
from udml.serving.service.settings import Settings

PROXIES = parse_networks(["127.0.0.1", "10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::1", False),
        ("64:ff9b::c000:201", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("unknown", "testclient", False),
    ],
)
def test_what_counts_as_one_caller(one, other, is_same):
    assert (caller_network(one) == caller_network(other)) is is_same


@pytest.mark.parametrize(
    ("peer", "fields", "expected"),
    [
        ("192.0.2.9", [("x-forwarded-for", "198.51.0.1")], "192.0.2.9"),  # not a proxy of ours
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "198.51.0.1")], "198.51.0.1"),
        ("::ffff:127.0.0.1", [("x-forwarded-for", "198.51.0.1")], "198.51.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "1.1.1.1, 198.51.0.1, 10.1.2.3")], "198.51.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.0.1")], "198.51.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "198.51.0.1:4711")], "198.51.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1"),
        ("127.0.0.1", [("x-forwarded-for", "198.51.0.1, nonsense")], "127.0.0.1"),
        ("127.0.0.1", [("x-forwarded-for", "10.1.2.3, 10.1.2.4")], "127.0.0.1"),
        ("127.0.0.1", [("forwarded", 'for="[2001:db8::1]:47";proto=https')], "2001:db8::1"),
        ("127.0.0.1", [("forwarded", "for=1.1.1.1, proto=http;For=198.51.0.1;by=10.0.0.1")], "198.51.0.1"),
        ("127.0.0.1", [("forwarded", "for=_hidden")], "127.0.0.1"),
        ("127.0.0.1", [("forwarded", "by=10.0.0.1")], "127.0.0.1"),
        # one that the proxy writes, one that the caller does
        ("127.0.0.1", [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "198.51.0.1")], "127.0.0.1"),
        ("127.0.0.1", [("forwarded", "for=198.51.0.1"), ("x-forwarded-for", "198.51.0.1")], "198.51.0.1"),
    ],
)  # fmt: skip
def test_where_a_request_comes_from(peer, fields, expected):
    headers = Headers(raw=[(name.encode(), value.encode()) for name, value in fields])
    assert caller_address(peer, headers.getlist, PROXIES) == expected


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.0/33", "", "*", "1.2.3"])
def test_what_is_no_network_is_said_before_it_starts(wrong):
    with pytest.raises(UdmlError, match="not an address or a network"):
        Settings(trusted_proxies=(wrong,))
