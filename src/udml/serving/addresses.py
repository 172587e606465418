"""Whose request it is: the caller's address, also behind trusted proxies, and what counts as one caller."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from udml.errors import UdmlError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Fields = Callable[[str], list[str]]
UNKNOWN = "unknown"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address in its last 32 bits (RFC 6052)
_MAX_HOPS = 32
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s]*)\s*(?=;|$)', re.IGNORECASE)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks as an operator writes them: "10.0.0.0/8", "::1".

    Raises:
        UdmlError: naming what is none.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError as error:
            raise UdmlError(
                f"{text!r} is not an address or a network", "write it like 127.0.0.1 or 10.0.0.0/8"
            ) from error
    return tuple(found)


@lru_cache(maxsize=1024)  # asked of every request
def caller_network(address: str) -> str:
    """What of an address counts as one caller.

    Of IPv6 the first 64 bits, since everyone has all the others to choose from. IPv4 addresses count by
    themselves, in whatever form they come: a socket for both kinds says ::ffff:192.0.2.1. So does ::1.
    """
    parsed = _parse(address)
    if parsed is None:
        return address
    if parsed.version == 4 or parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def caller_address(peer: str, field: Fields, trusted: Sequence[Network]) -> str:
    """The address that a request comes from.

    Of what `Forwarded` (RFC 7239) or `X-Forwarded-For` say, only what trusted proxies added counts: from the
    right, the first that is no trusted proxy. A proxy sets one of the two and passes on what a caller
    writes into the other: where both are there and differ, neither is believed.

    Args:
        peer: who opened the connection.
        field: gives the values of the request's header fields of a name.
        trusted: the proxies whose word counts.
    """
    if not is_trusted(peer, trusted):
        return peer
    told = [chain for chain in (_forwarded(field), _x_forwarded_for(field)) if chain]
    found = {_first_untrusted(chain, trusted) for chain in told}
    return (found.pop() or peer) if len(found) == 1 else peer


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether it is the address of a trusted proxy."""
    parsed = _parse(address) if trusted else None
    return parsed is not None and any(parsed in network for network in trusted)


def _first_untrusted(chain: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """From the right; None where the first that is no proxy of ours isn't an address."""
    for hop in reversed(chain[-_MAX_HOPS:]):
        parsed = _parse(_without_port(hop))
        if parsed is None:
            return None
        if not any(parsed in network for network in trusted):
            return str(parsed)
    return None


def _forwarded(field: Fields) -> list[str]:
    elements = ",".join(field("forwarded")).split(",")
    return [found[1].strip('"') if (found := _FOR.search(one)) else "" for one in elements if one.strip()]


def _x_forwarded_for(field: Fields) -> list[str]:
    return [one.strip() for one in ",".join(field("x-forwarded-for")).split(",") if one.strip()]


def _without_port(hop: str) -> str:
    """192.0.2.1:80, [2001:db8::1]:80, 2001:db8::1: the address."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _parse(address: str) -> _Address | None:
    """An address without its zone; IPv4 as such, also where it comes inside IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped
        if parsed in _NAT64:
            return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed
