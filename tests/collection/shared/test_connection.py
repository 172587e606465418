"""Answers that are lost on their way: what was asked for has happened all the same."""

import pytest

from tests.fixtures.lite import Lite
from udml.collection.shared import pushing
from udml.collection.shared.connection import Connection
from udml.collection.shared.rows import CHAMPION, CHANGES, VERSIONS, make_tables
from udml.errors import StoreLostError


def test_what_was_done_is_not_refused_where_its_answer_was_lost(
    lite: Lite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the connection while it answers, and the same request on a new one is refused."""
    request, lost = Connection._request, []

    def lose(self, method, *rest, **named):
        answer = request(self, method, *rest, **named)
        if method in ("rename_collection", "create_alias", "alter_alias") and lost.count(method) < 1:
            lost.append(method)
            raise ConnectionError("reset by peer")
        return answer

    monkeypatch.setattr(Connection, "_request", lose)
    connection = Connection(lite.database())
    make_tables(connection)
    assert {CHANGES, VERSIONS} <= set(connection.ask("list_collections"))
    for name in (CHANGES, VERSIONS):
        pushing.move_alias(connection, name)
        assert connection.behind(CHAMPION) == name
    assert lost == ["rename_collection", "create_alias", "alter_alias"]
    with pytest.raises(StoreLostError, match="cannot do this"):
        connection.rename("nowhere", "anywhere")
    connection.close()
