"""Texts by name, in the table of versions: a version's columns in parts, and what added images' files say."""

from collections.abc import Mapping, Sequence

from udml.collection.shared.connection import Connection
from udml.collection.shared.rows import VERSIONS

_AT_ONCE = 100  # of up to 64 kB: gRPC takes 64 MB


def put(connection: Connection, texts: Mapping[str, str]) -> None:
    """Keep texts under these names, each at most 65,535 bytes; durable when this returns."""
    rows = [{"source": name, "info": text, "nothing": [0.0, 0.0]} for name, text in texts.items()]
    for start in range(0, len(rows), _AT_ONCE):
        connection.ask("upsert", VERSIONS, rows[start : start + _AT_ONCE], long=True)


def get(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """The texts of these names, those there are."""
    found: dict[str, str] = {}
    for start in range(0, len(names), _AT_ONCE):
        rows = connection.rows(VERSIONS, names[start : start + _AT_ONCE], ["source", "info"])
        found |= {row["source"]: row["info"] for row in rows}
    return found


def forget(connection: Connection, names: Sequence[str]) -> None:
    """Let go of the texts of these names."""
    if names:
        connection.ask("delete", VERSIONS, ids=list(names))
