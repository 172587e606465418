"""Searches by several pictures, by a part of one, in either order, and with near-duplicates collapsed."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.serving.http.conftest import vector
from tests.serving.live import png
from tests.serving.small_service import BASE, NEW, client, problem
from udml.cropping import Crop
from udml.data.identity import image_id
from udml.search.mixed_query import mixed_query


def key(file):
    return f"{image_id(file[0]):016x}"


@pytest.fixture(scope="module")
def http(mixed_registry):
    with client(mixed_registry, open_writes=True) as opened:
        yield opened


def found(answer):
    assert answer.status_code == 200, answer.text
    return [hit["source"] for hit in answer.json()["neighbours"]]


def form(like=(), unlike=()):
    return [("image", file[1]) for file in like] + [("unlike", file[1]) for file in unlike]


def expected(searcher, query, k=8, **how):
    return [hit.source for hit in searcher.neighbours(query[None], k, **how)[0]]


@pytest.mark.parametrize("way", ["upload", "id"])
def test_the_order_is_the_one_asked_for_and_is_told(http, searcher, way):
    asked = {"content": NEW[3][1]} if way == "upload" else {}
    name = {} if way == "upload" else {"id": key(BASE[4])}
    query = vector(searcher, NEW[3] if way == "upload" else BASE[4])
    out = [] if way == "upload" else [image_id(BASE[4][0])]
    answers = {
        refine: http.post("/v1/search", params={"k": 20, "refine": refine, **name}, **asked)
        for refine in ("neighbourhood", "none")
    }
    by_default = http.post("/v1/search", params={"k": 20, **name}, **asked)
    assert found(by_default) == found(answers["neighbourhood"])
    for refine, answer in answers.items():
        assert answer.json()["refine"] == refine
        engine = "auto" if refine == "neighbourhood" else "none"
        assert found(answer) == expected(searcher, query, 20, refine=engine, leave_out=out)
    plain, refined = (
        {hit["id"]: hit["similarity"] for hit in answers[refine].json()["neighbours"]}
        for refine in ("none", "neighbourhood")
    )
    assert found(answers["none"]) != found(answers["neighbourhood"])
    assert refined == pytest.approx({i: plain.get(i, refined[i]) for i in refined}, abs=1e-6)
    similarities = [hit["similarity"] for hit in answers["none"].json()["neighbours"]]
    assert similarities == sorted(similarities, reverse=True)


def test_the_threshold_means_the_same_in_either_order(http):
    for refine in ("neighbourhood", "none"):
        every = http.post(f"/v1/search?k=200&refine={refine}", content=NEW[0][1]).json()["neighbours"]
        lowest = sorted(hit["similarity"] for hit in every)[12] - 1e-6
        answer = http.post(f"/v1/search?k=200&refine={refine}&threshold={lowest}", content=NEW[0][1])
        assert len(found(answer)) == len(every) - 12
        assert min(hit["similarity"] for hit in answer.json()["neighbours"]) >= lowest


def test_an_index_without_neighbourhoods_says_so(registry):
    with client(registry) as plain:
        for query in ("", "?refine=neighbourhood", "?refine=none"):
            assert plain.post(f"/v1/search{query}", content=NEW[0][1]).json()["refine"] == "none"


@pytest.mark.parametrize(
    ("sent", "ids"),
    [
        (form(NEW[:2]), {}),
        (form(NEW[:1], NEW[2:4]), {}),
        (form(NEW[:1]), {"unlike": [key(BASE[5]), key(BASE[6])]}),
        (form(NEW[1:3], NEW[4:5]), {"id": [key(BASE[0])], "unlike": [key(BASE[5])]}),
        ([], {"id": [key(BASE[0]), key(BASE[3])]}),
        ([], {"id": key(BASE[0]), "unlike": key(BASE[3])}),
        (form((), NEW[:1]), {"id": key(BASE[0])}),
    ],
)
def test_several_pictures_are_one_query(http, searcher, sent, ids):
    of = {file[1]: file for file in NEW} | {key(file): file for file in BASE}
    asked = {name: np.atleast_1d(value).tolist() for name, value in ids.items()}
    like = [of[data] for part, data in sent if part == "image"] + [of[i] for i in asked.get("id", ())]
    unlike = [of[data] for part, data in sent if part == "unlike"] + [of[i] for i in asked.get("unlike", ())]
    query = mixed_query([vector(searcher, f) for f in like], [vector(searcher, f) for f in unlike])
    out = [int(i, 16) for some in asked.values() for i in some]
    for collapse in (False, True):
        answer = http.post("/v1/search", params={"k": 20, "collapse": collapse, **ids}, files=sent or None)
        assert found(answer) == expected(searcher, query, 20, collapse=collapse, leave_out=out)
        assert not {of[i][0] for some in asked.values() for i in some} & set(found(answer))
        best = answer.json()["neighbours"][0]
        assert best["similarity"] == pytest.approx(float(vector(searcher, of[best["id"]]) @ query), abs=1e-5)


def test_what_leaves_nothing_to_search_for_is_told(http):
    for sent, ids in (
        (form(NEW[:1], NEW[:1]), {}),
        ([], {"id": key(BASE[0]), "unlike": key(BASE[0])}),
        (form(BASE[:1]), {"unlike": key(BASE[0])}),
    ):
        answer = http.post("/v1/search", params=ids, files=sent or None)
        assert "nothing is left" in problem(answer, 422, "nothing_left")


def test_queries_that_cannot_be_asked(http):
    def post(files=None, content=None, **params):
        return http.post("/v1/search", params=params, files=files, content=content)

    problem(post(unlike=key(BASE[0])), 400, "one_image")
    problem(post(form((), NEW[:1])), 400, "one_image")
    problem(post(form([NEW[0]] * 9, [NEW[1]] * 8)), 400, "too_many_images")
    problem(post(form([NEW[0]] * 8), id=[key(f) for f in BASE[:9]]), 400, "too_many_images")
    problem(post(id=[key(f) for f in BASE[:17]]), 422, "invalid_request")
    problem(post([("other", NEW[0][1])]), 400, "bad_form")
    problem(post(form(NEW[:1], [("x", b"no picture at all")])), 415, "not_an_image")
    problem(post(form(NEW[:1]), unlike="0" * 16), 404, "not_found")
    problem(post(id=[key(BASE[0]), "0" * 16]), 404, "not_found")
    for name, value in (
        ("refine", "yes"), ("refine", ""), ("collapse", "maybe"), ("unlike", "../../etc"), ("id", ""),
        ("crop", ""), ("crop", "0,0,1"), ("crop", "0,0,0,1"), ("crop", "0.5,0,0.6,1"), ("crop", "-0.1,0,1,1"),
        ("crop", "nan,0,1,1"), ("crop", "a"), ("crop", "0,0,1,1" + "0" * 200),
    ):  # fmt: skip
        problem(post(content=NEW[0][1], **{name: value}), 422, "invalid_request")


@pytest.mark.parametrize("crop", ["0,0,0.5,0.5", "0.25,0.5,0.75,0.5", "0,0,1,1", ".5,.5,.1,.1"])
def test_a_part_of_the_picture_is_searched_with(http, searcher, crop):
    part = Crop.parse(crop)
    upload = http.post("/v1/search", params={"crop": crop, "k": 20}, content=NEW[2][1])
    assert found(upload) == expected(searcher, vector(searcher, NEW[2], part), 20)
    by_id = http.post("/v1/search", params={"crop": crop, "k": 20, "id": key(BASE[3])})
    query = vector(searcher, BASE[3], part)
    assert found(by_id) == expected(searcher, query, 20, leave_out=[image_id(BASE[3][0])])
    # with several it is the first one's
    both = http.post("/v1/search", params={"crop": crop, "id": key(BASE[3])}, files=form(NEW[2:3]))
    mixed = mixed_query([vector(searcher, NEW[2], part), vector(searcher, BASE[3])])
    assert found(both) == expected(searcher, mixed, leave_out=[image_id(BASE[3][0])])


def test_a_crop_is_of_the_upright_picture(http, searcher):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(io.BytesIO(NEW[2][1])).save(buffer, "PNG", exif=exif)
    turned = png(np.rot90(np.array(Image.open(io.BytesIO(NEW[2][1]))), -1))
    answers = [
        http.post("/v1/search?crop=0,0,0.5,0.4&k=20", content=data) for data in (buffer.getvalue(), turned)
    ]
    assert found(answers[0]) == found(answers[1])


def test_near_duplicates_come_as_one(http):
    plain = http.post("/v1/search?k=200&refine=none", content=BASE[9][1]).json()["neighbours"]
    cards = http.post("/v1/search?k=200&refine=none&collapse=true", content=BASE[9][1]).json()["neighbours"]
    assert all(hit["copies"] == [] for hit in plain)
    assert cards[0]["source"] == BASE[9][0]
    assert {copy["source"] for copy in cards[0]["copies"]} == {BASE[1][0], BASE[2][0]}
    assert len(cards) == len(BASE) - 2
    similarity = {hit["id"]: hit["similarity"] for hit in plain}
    for copy in cards[0]["copies"]:
        assert copy["similarity"] == pytest.approx(similarity[copy["id"]], abs=1e-5)
    # k counts cards, and what is below the threshold is no copy either
    assert len(http.post("/v1/search?k=5&collapse=true", content=BASE[9][1]).json()["neighbours"]) == 5
    lowest = sorted(copy["similarity"] for copy in cards[0]["copies"])[-1] - 1e-4
    one = http.post(f"/v1/search?k=1&collapse=true&threshold={lowest}", content=BASE[9][1]).json()
    assert len(one["neighbours"][0]["copies"]) == 1


def test_what_was_removed_is_no_copy_and_cannot_be_asked_with(mixed_registry):
    with client(mixed_registry, open_writes=True) as http:
        assert http.delete("/v1/items", params={"id": key(BASE[2])}).status_code == 200
        try:
            cards = http.post("/v1/search?k=200&collapse=true", content=BASE[9][1])
            sources = found(cards) + [
                copy["source"] for hit in cards.json()["neighbours"] for copy in hit["copies"]
            ]
            assert sorted(sources) == sorted(file[0] for file in BASE if file != BASE[2])
            for asked in ({"id": key(BASE[2])}, {"id": key(BASE[1]), "unlike": key(BASE[2])}):
                for crop in ({}, {"crop": "0,0,1,0.5"}):
                    problem(http.post("/v1/search", params=asked | crop), 404, "not_found")
            items = http.get("/v1/items?limit=200").json()
            assert items["images"] == len(BASE) - 1
            assert key(BASE[2]) not in {item["id"] for item in items["items"]}
        finally:
            http.post("/v1/items?name=back.png", content=BASE[2][1])


def test_some_of_the_collection_is_shown(http, registry):
    first = http.get("/v1/items?limit=5").json()
    assert (first["images"], len(first["items"])) == (len(BASE), 5)
    assert http.get("/v1/items?limit=5").json() == first
    every = http.get("/v1/items?limit=200").json()["items"]
    assert {item["source"] for item in every} == {file[0] for file in BASE}
    for limit in ("0", "201", "x"):
        problem(http.get(f"/v1/items?limit={limit}"), 422, "invalid_request")
    with client(registry, open_writes=True) as emptied:
        emptied.delete("/v1/items", params={"id": [key(file) for file in BASE]})
        assert emptied.get("/v1/items").json()["items"] == []


def test_limits_hold_for_every_picture_of_a_query(mixed_registry):
    large = png(np.zeros((101, 100, 3), np.uint8))
    strip = png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    with client(mixed_registry, max_pixels=10_000, max_upload_bytes=8_000) as http:
        for part in ("image", "unlike"):
            sent = [("image", NEW[0][1]), (part, large)]
            problem(http.post("/v1/search", files=sent), 413, "too_large")
        problem(http.post("/v1/search?crop=0,0,0.1,0.1", content=large), 413, "too_large")
        problem(http.post("/v1/search?crop=0,0,1,0.01", content=strip), 422, "too_elongated")
        many = [("image", NEW[0][1] + bytes(2000))] * 5
        problem(http.post("/v1/search", files=many), 413, "upload_too_large")
    with client(mixed_registry, deadline_seconds=1e-9) as http:
        problem(http.post("/v1/search", params={"id": [key(BASE[0]), key(BASE[1])]}), 503, "deadline")


def test_the_schema_tells_all_of_it(http):
    schema = http.get("/openapi.json").json()
    post = schema["paths"]["/v1/search"]["post"]
    told = {parameter["name"]: parameter["schema"] for parameter in post["parameters"]}
    assert set(told) == {"k", "threshold", "refine", "collapse", "where", "id", "unlike", "crop"}
    assert told["refine"]["enum"] == ["neighbourhood", "none"]
    assert told["id"]["type"] == told["unlike"]["type"] == "array"
    parts = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(parts) == {"image", "unlike"}
    answer = schema["components"]["schemas"]
    assert {"refine", "neighbours", "no_match_below"} <= set(answer["Neighbours"]["properties"])
    assert "copies" in answer["Neighbour"]["properties"]
