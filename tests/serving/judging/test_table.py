"""Who is asked what, and what the page is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.judgement.known import Known
from tests.serving.judging.a_deck import TITLES, a_deck, a_table, served, small
from udml.judgement.answers import append, read_answers, stamped
from udml.judgement.standing import stand
from udml.serving.judging.table import Table
from udml.serving.service.problems import Problem


@pytest.fixture(scope="module")
def given() -> Known:
    return small()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "judgements.jsonl"


@pytest.fixture
def table(given: Known, file: Path) -> Table:
    return a_table(given, file)


@pytest.fixture
def client(table: Table) -> Iterator[httpx.Client]:
    with served(table, "anna") as url, httpx.Client(base_url=url) as opened:
        yield opened


def test_pairs_come_in_the_order_of_their_turn(given: Known, table: Table) -> None:
    pair, asked = table.ask("x")[0], []
    for _ in range(30):
        asked.append(pair)
        pair = table.answer("x", pair, "same", "")[0]
    assert asked == [given.pairs.keys[at] for at in np.argsort(given.pairs.turn)[:30]]


def test_two_people_get_different_pairs_and_both_are_kept(table: Table, file: Path) -> None:
    first, second = table.ask("x")[0], table.ask("y")[0]
    assert first != second
    assert table.ask("x")[0] == first  # loaded again
    for _ in range(20):
        first, second = (
            table.answer("x", first, "same", "x")[0],
            table.answer("y", second, "different", "y")[0],
        )
        assert first != second
    assert len(read_answers(file)) == 40
    assert table.standing().judged is not None
    assert table.standing().judged.answers >= 39  # type: ignore[union-attr]


def test_what_somebody_left_open_is_given_to_others_after_a_while(given: Known, file: Path) -> None:
    now = [0.0]
    table = Table(a_deck(given), stand, file, lambda: now[0])
    left = table.ask("gone")[0]
    assert table.ask("y")[0] != left
    now[0] = 301.0
    assert table.ask("z")[0] == left


def test_undo_takes_back_one_answer_after_the_other(table: Table, file: Path) -> None:
    pairs = [table.ask("x")[0]]
    for _ in range(3):
        pairs.append(table.answer("x", pairs[-1], "same", "x")[0])
    assert table.undo("x")[0] == pairs[2]
    assert table.undo("x")[0] == pairs[1]
    assert list(read_answers(file).standing) == [pairs[0]]
    assert table.answer("x", pairs[1], "different", "x")[0] == pairs[2]
    table.undo("x"), table.undo("x")
    assert not table.can_undo("x")
    with pytest.raises(Problem, match="nothing was answered"):
        table.undo("x")


def test_it_goes_on_after_a_kill_and_sees_what_others_add(given: Known, table: Table, file: Path) -> None:
    pair = table.ask("x")[0]
    upcoming = table.answer("x", pair, "same", "")[0]
    again = a_table(given, file)
    assert again.ask("x")[0] == upcoming
    append([stamped(*upcoming, "unsure", "elsewhere")], file)
    assert upcoming not in table.ask("new")
    assert again.ask("x")[0] != upcoming


def test_when_all_is_judged_it_ends(given: Known, table: Table, file: Path) -> None:
    append([stamped(*key, "same", "") for key in given.pairs.keys], file)
    assert table.ask("x") == []
    assert table.standing().judged.precision[0][0].low == 1.0  # type: ignore[union-attr]


def test_the_page_is_told_the_pair_and_what_is_known(client: httpx.Client, given: Known, file: Path) -> None:
    told = client.post("/v1/next", json={"seat": "x"}).json()
    assert told["name"] == "anna"
    assert not told["undo"]
    truth = dict(zip(given.pairs.keys, given.same, strict=True))
    for _ in range(25):
        answer = "same" if truth[tuple(told["pair"])] else "different"
        body = {"seat": "x", "pictures": told["pair"][::-1], "answer": answer, "name": "Ben"}
        told = client.post("/v1/answers", json=body).json()
    assert told["standing"]["answers"] == 25
    models: list[dict[str, Any]] = told["standing"]["models"]
    assert [model["title"] for model in models] == list(TITLES.values())
    for model in models:
        value, low, high = model["precision_at_5"]
        assert 0 <= low <= value <= high <= 1
    assert len(told["standing"]["comparisons"]) == 3
    assert {one.by for judges in read_answers(file).standing.values() for one in judges.values()} == {"Ben"}
    # nothing tells which model found a pair
    assert set(told) == {"pair", "ahead", "undo", "name", "standing"}
    assert client.post("/v1/undo", json={"seat": "x"}).json()["standing"]["answers"] == 24


def test_pictures_are_jpegs_of_the_deck_only(client: httpx.Client) -> None:
    pair = client.post("/v1/next", json={"seat": "x"}).json()["pair"]
    found = client.get(f"/v1/pictures/{pair[0]}")
    assert (found.status_code, found.headers["content-type"]) == (200, "image/jpeg")
    assert found.content[:2] == b"\xff\xd8"
    assert client.get(f"/v1/pictures/{'e' * 64}").status_code == 404
    assert client.get("/v1/pictures/../../etc/passwd").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {}, {"seat": "x"}, {"seat": "", "pictures": ["a" * 64, "b" * 64], "answer": "same"},
        {"seat": "x", "pictures": ["a" * 64, "b" * 64], "answer": "same"},
        {"seat": "x", "pictures": ["a" * 64], "answer": "same"},
        {"seat": "x", "pictures": ["a" * 64, "b" * 64], "answer": "withdrawn"},
        {"seat": "x", "pictures": ["a" * 64, "b" * 64], "answer": "same", "name": "n" * 81},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(client: httpx.Client, file: Path, body: dict[str, Any]) -> None:
    found = client.post("/v1/answers", json=body)
    assert found.status_code == 422
    assert found.headers["content-type"] == "application/problem+json"
    assert not file.exists()


def test_other_web_sites_can_neither_read_nor_answer(client: httpx.Client, file: Path) -> None:
    """DNS rebinding and cross-site requests, as at the service's own door."""
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    pair = client.post("/v1/next", json={"seat": "x"}).json()["pair"]
    body = {"seat": "x", "pictures": pair, "answer": "same"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/v1/answers", json=body, headers=headers).status_code == 403
    assert not file.exists()
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
