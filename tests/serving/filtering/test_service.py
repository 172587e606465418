"""Filters through the engine and the API: by a picture, by an id, by several, folded, browsed, and wrong."""

import pytest

from tests.serving.filtering.conftest import sources, vector
from tests.serving.http.conftest import COPIES
from tests.serving.small_service import BASE, NEW, client, problem
from udml.collection.filtering.expression import FilterError
from udml.data.identity import image_id

FILTERS = {
    "folder = '2021/*'": lambda one: one["folder"].startswith("2021/"),
    "taken >= 1970-06 and taken < 1971": lambda one: one["taken"] and 13_046_400 <= one["taken"] < 31_536_000,
    "taken is missing or number > 20": lambda one: one["taken"] is None or one["number"] > 20,
    "label in ('label-1', 'none') and not number = 1": lambda one: (
        one["label"] == "label-1" and one["number"] != 1
    ),
}


@pytest.fixture(scope="module")
def http(registry):
    with client(registry, open_writes=True) as opened:
        yield opened


def found(answer):
    assert answer.status_code == 200, answer.text
    return [hit["source"] for hit in answer.json()["neighbours"]]


@pytest.mark.parametrize("where", FILTERS)
def test_the_engine_finds_all_that_is_left_in_order(searcher, tmp_path, where):
    left = sources(FILTERS[where])
    picture = tmp_path / "query.png"
    picture.write_bytes(NEW[0][1])
    for refine in ("auto", "none"):
        hits = searcher.search(picture, 100, refine=refine, where=where)
        assert {hit.source for hit in hits} == left
        assert [h.source for h in searcher.search(picture, 2, refine=refine, where=where)] == [
            hit.source for hit in hits[:2]
        ]
    plain = [h.source for h in searcher.search(picture, 100, refine="none") if h.source in left]
    assert [h.source for h in searcher.search(picture, 100, refine="none", where=where)] == plain
    several = searcher.search([picture, picture], 100, unlike=[], where=where)
    assert {hit.source for hit in several} == left
    other = searcher.neighbours_of(image_id(BASE[1][0]), 100, where=where)
    assert {hit.source for hit in other} == left - {BASE[1][0]}


@pytest.mark.parametrize("where", FILTERS)
def test_the_api_answers_as_the_engine_does(http, searcher, where):
    left = sources(FILTERS[where])
    query = vector(searcher, NEW[1])
    upload = http.post("/v1/search", params={"k": 50, "where": where}, content=NEW[1][1])
    assert found(upload) == [hit.source for hit in searcher.neighbours(query[None], 50, where=where)[0]]
    assert upload.json()["matching"] == len(left) == len(found(upload))
    key = f"{image_id(BASE[3][0]):016x}"
    by_id = http.post("/v1/search", params={"k": 50, "where": where, "id": key})
    assert set(found(by_id)) == left - {BASE[3][0]}
    mixed = http.post("/v1/search", params={"k": 50, "where": where, "id": key}, files=[("image", NEW[0][1])])
    assert set(found(mixed)) == left - {BASE[3][0]}
    listed = http.get("/v1/items", params={"limit": 200, "where": where}).json()
    assert listed["images"] == len(left)
    assert {item["source"] for item in listed["items"]} == left


def test_copies_that_do_not_meet_the_filter_are_not_shown(http):
    first = next(iter(COPIES.values()))
    group = [first, *COPIES]
    numbers = [next(row for row, one in enumerate(BASE) if one[0] == source) for source in group]
    for number, source in zip(numbers, group, strict=True):
        where = f"number = {number} or number = 20"
        cards = http.post("/v1/search", params={"collapse": True, "where": where}, content=BASE[1][1]).json()
        assert {hit["source"] for hit in cards["neighbours"]} == {source, BASE[20][0]}
        assert all(hit["copies"] == [] for hit in cards["neighbours"])
    both = f"number in ({numbers[0]}, {numbers[1]})"
    cards = http.post("/v1/search", params={"collapse": True, "where": both}, content=BASE[1][1]).json()
    assert len(cards["neighbours"]) == 1
    assert len(cards["neighbours"][0]["copies"]) == 1


def test_nothing_left_is_an_answer(http):
    where = "folder = '1999/*'"
    answer = http.post("/v1/search", params={"where": where}, content=NEW[0][1])
    assert (found(answer), answer.json()["matching"]) == ([], 0)
    assert http.get("/v1/items", params={"where": where}).json()["items"] == []


@pytest.mark.parametrize(
    "where",
    [
        "",
        "label",
        "colour = 'red'",
        "label = 'a'; --",
        "number = 'a'",
        "taken = 2024-13",
        "label = '\0'",
        "(" * 900,
    ],
)
def test_a_wrong_filter_is_a_sentence_with_its_place_and_the_columns(http, searcher, where):
    key = f"{image_id(BASE[3][0]):016x}"
    for answer in (
        http.post("/v1/search", params={"where": where}, content=NEW[0][1]),
        http.post("/v1/search", params={"where": where, "id": key}),
        http.get("/v1/items", params={"where": where}),
    ):
        told = problem(answer, 422, "bad_filter")
        assert "at letter " in told
        assert "the columns are folder (text), taken (time)" in told
    with pytest.raises(FilterError):
        searcher.neighbours(vector(searcher, NEW[0])[None], 3, where=where)


def test_a_filter_longer_than_any_is_refused_by_its_length(http):
    told = http.post("/v1/search", params={"where": "a" * 2001}, content=NEW[0][1])
    problem(told, 422, "invalid_request")


def test_columns_are_told_and_their_values_are_not(http):
    told = http.get("/v1/version").json()["columns"]
    assert {one["name"]: one["kind"] for one in told} == {
        "folder": "text", "taken": "time", "camera": "text", "label": "text", "number": "number",
    }  # fmt: skip
    answer = http.post("/v1/search", params={"where": "taken > 1970"}, content=NEW[0][1]).text
    assert "taken" not in answer
    assert "camera" not in answer


def test_an_added_image_is_found_by_its_folder_and_label(http):
    added = http.post("/v1/items?name=2021/new/a.png&label=mine", content=NEW[4][1]).json()["items"][0]
    try:
        for where in ("folder = '2021/new'", "label = 'mine'", "label = 'mi?e' and taken is missing"):
            answer = http.post("/v1/search", params={"where": where}, content=NEW[4][1])
            assert found(answer) == ["2021/new/a.png"]
    finally:
        http.delete("/v1/items", params={"id": added["id"]})
    assert http.get("/v1/items", params={"where": "label = 'mine'"}).json()["images"] == 0
