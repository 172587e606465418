import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.serving.live import make_version, png
from tests.serving.small_service import BASE, NEW, client, problem
from udml import Searcher
from udml.data.identity import image_id
from udml.registry import store
from udml.serving.http import app

SOURCE, FILE, LABEL = BASE[5]
ID = f"{image_id(SOURCE):016x}"


def sources(answer):
    return [neighbour["source"] for neighbour in answer.json()["neighbours"]]


@pytest.mark.parametrize(
    "upload", [{"content": FILE}, {"files": {"image": ("q.png", FILE, "image/png")}}], ids=["body", "form"]
)
def test_search_with_an_upload_finds_what_the_engine_finds(registry, upload):
    with client(registry) as http, Searcher.open(registry / "models/champion", registry / "data") as searcher:
        answer = http.post("/v1/search", params={"k": 5}, **upload)
        expected = searcher.neighbours(searcher.embed_images([searcher.decode(FILE)]), 5)[0]
    assert answer.status_code == 200
    assert answer.json()["version"] == answer.headers["udml-version"] == "v1"
    assert sources(answer) == [hit.source for hit in expected]
    first = answer.json()["neighbours"][0]
    assert (first["id"], first["label"]) == (ID, LABEL)
    assert [n["similarity"] for n in answer.json()["neighbours"]] == pytest.approx(
        [hit.similarity for hit in expected], abs=1e-5
    )


def test_threshold_and_k_limit_what_is_found(registry):
    with client(registry) as http:
        assert sources(http.post("/v1/search?threshold=0.99", content=FILE)) == [SOURCE]
        assert len(sources(http.post("/v1/search", content=FILE))) == 8
        assert len(sources(http.post("/v1/search?k=200", content=FILE))) == len(BASE)
        for query in ("k=0", "k=201", "k=x", "threshold=2", "threshold=nan"):
            problem(http.post(f"/v1/search?{query}", content=FILE), 422, "invalid_request")


def test_search_with_an_image_of_the_collection_leaves_it_out(registry):
    with client(registry) as http:
        by_id = http.post("/v1/search", params={"id": ID, "k": 3})
        by_file = http.post("/v1/search?k=4", content=FILE)
        assert sources(by_id) == sources(by_file)[1:]
        problem(http.post("/v1/search", params={"id": "0" * 16}), 404, "not_found")
        problem(http.post("/v1/search", params={"id": "../../etc"}), 422, "invalid_request")
        problem(http.post("/v1/search"), 400, "one_image")


def test_embed_gives_the_models_vector(registry):
    with client(registry) as http, Searcher.open(registry / "models/champion") as searcher:
        answer = http.post("/v1/embed", content=FILE).json()
        expected = searcher.embed_images([searcher.decode(FILE)])[0]
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6)
    assert answer["model_version"] == searcher.version.model_version


def test_items_and_their_thumbnails(registry):
    with client(registry) as http:
        item = http.get(f"/v1/items/{ID}").json()["item"]
        assert item == {"id": ID, "source": SOURCE, "label": LABEL}
        answer = http.get(f"/v1/items/{ID}/image?side_px=20")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(answer.content)).size) == 20
        assert http.get(f"/v1/items/{ID}/image?side_px=20").content == answer.content
        assert 'udml_thumbnail_cache_total{result="hit"} 1.0' in http.get("/metrics").text
        for query, code in (("side_px=8", 422), ("side_px=100000", 422)):
            problem(http.get(f"/v1/items/{ID}/image?{query}"), code, "invalid_request")
        problem(http.get(f"/v1/items/{'0' * 16}/image"), 404, "not_found")
        for path in ("..%2f..%2fetc%2fpasswd", "v1", ID.upper(), "8" + ID[1:]):
            assert http.get(f"/v1/items/{path}").status_code in (404, 422)


def test_added_images_are_there_after_a_restart_and_removed_ones_are_not(registry):
    new = f"{image_id(NEW[0][0]):016x}"
    with client(registry, open_writes=True) as http:
        form = [("image", (name, data)) for name, data, _ in NEW[:2]] + [("image", ("bad.png", b"no"))]
        added = http.post("/v1/items?label=fresh", files=form).json()["items"]
        assert [item["status"] for item in added] == ["added", "added", "refused"]
        assert added[0]["id"] == new
        assert added[2]["id"] is None
        assert "not an image" in added[2]["problem"]
        again = http.post("/v1/items", params={"name": "other.png"}, content=NEW[0][1]).json()["items"]
        assert [(item["status"], item["id"]) for item in again] == [("present", new)]
        assert http.delete("/v1/items", params={"id": [ID]}).json()["removed"] == [ID]
        assert http.get("/v1/version").json()["images"] == len(BASE) + 1
    with client(registry) as http:
        assert sources(http.post("/v1/search?k=1", content=NEW[0][1])) == [NEW[0][0]]
        assert http.get(f"/v1/items/{new}").json()["item"]["label"] == "fresh"
        assert http.get(f"/v1/items/{new}/image").status_code == 200
        assert SOURCE not in sources(http.post("/v1/search?k=200", content=FILE))
        problem(http.get(f"/v1/items/{ID}"), 404, "not_found")
        problem(http.get(f"/v1/items/{ID}/image"), 404, "not_found")


def test_what_cannot_be_added_or_removed_changes_nothing(registry):
    with client(registry, open_writes=True) as http:
        problem(http.post("/v1/items?name=a.png", content=b"no picture at all"), 415, "not_an_image")
        problem(http.post("/v1/items", content=NEW[0][1]), 422, "none_added")  # it has no name
        problem(http.post("/v1/items?name=a.png"), 400, "no_image")
        problem(http.delete("/v1/items", params={"id": [ID, "0" * 16]}), 404, "not_found")
        problem(http.delete("/v1/items"), 422, "invalid_request")
        told = http.get("/v1/version").json()
        assert (told["images"], told["revision"]) == (len(BASE), 0)


def test_a_photo_whose_name_is_taken_is_added_under_another(registry):
    with client(registry, open_writes=True) as http:
        named = [
            http.post("/v1/items?name=image.jpg", content=data).json()["items"][0] for _, data, _ in NEW[:3]
        ]
        assert [item["name"] for item in named] == ["image.jpg", "image-2.jpg", "image-3.jpg"]
        assert len({item["id"] for item in named}) == 3
        assert http.get(f"/v1/items/{named[2]['id']}").json()["item"]["source"] == "image-3.jpg"


def test_clusters_hold_every_image_once_and_follow_changes(registry):
    with client(registry, open_writes=True) as http:
        groups = http.get("/v1/clusters").json()
        assert (groups["images"], groups["grouped"]) == (len(BASE), len(BASE))
        ids = []
        for group in groups["clusters"]:
            items = http.get(f"/v1/clusters/{group['cluster']}?limit=200").json()["items"]
            assert len(items) == group["images"]
            assert items[:6] == group["examples"]
            ids += [item["id"] for item in items]
        assert sorted(ids) == sorted(f"{image_id(source):016x}" for source, _, _ in BASE)
        number, count = len(groups["clusters"]), groups["clusters"][0]["images"]
        assert len(http.get(f"/v1/clusters/0?offset=1&limit={count}").json()["items"]) == count - 1
        problem(http.get(f"/v1/clusters/{number}"), 404, "not_found")
        http.delete("/v1/items", params={"id": [ID]})
        assert http.get("/v1/clusters").json()["images"] == len(BASE) - 1


def test_operators_see_what_serves_and_how(registry):
    with client(registry) as http:
        told = http.get("/v1/version").json()
        assert (told["version"], told["images"], told["writes"], told["refused"]) == ("v1", 24, "off", None)
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ok", "behind": []}
        http.post("/v1/search", content=FILE)
        figures = http.get("/metrics").text
        for stage in ("read", "decode", "wait", "embed", "search", "total"):
            assert f'udml_stage_seconds_count{{stage="{stage}"}}' in figures
        assert 'udml_requests_total{route="/v1/search",status="200"} 1.0' in figures
        assert 'udml_version{model_version="0000000000000000",version="v1"} 1.0' in figures
        assert "udml_items 24.0" in figures


def test_unknown_paths_and_methods_are_problems_too(registry):
    with client(registry) as http:
        problem(http.get("/v1/nothing"), 404, "not_found")
        problem(http.get("/v1/search"), 405, "method_not_allowed")
        for path in ("/../../etc/passwd", "/page/%2e%2e/%2e%2e/pyproject.toml", "/docs", "/redoc"):
            problem(http.get(path), 404, "not_found")


def test_a_fault_of_ours_is_a_500_that_tells_nothing(registry, monkeypatch):
    with client(registry) as http:
        monkeypatch.setattr(Searcher, "neighbours", lambda *_: 1 / 0)
        answer = http.post("/v1/search", content=FILE)
    sentence = problem(answer, 500, "internal")
    assert "division" not in sentence
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_a_champion_it_does_not_start(tmp_path):
    from udml.errors import UdmlError

    with pytest.raises(UdmlError, match="no champion"), client(tmp_path):
        pass
    make_version(tmp_path, BASE)
    model = store.version_directory(tmp_path / "models", "v1") / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(UdmlError, match=r"model.onnx was changed"), client(tmp_path):
        pass


def test_pictures_of_extreme_shape_and_size_are_refused_by_their_header(registry):
    def picture(width, height):
        return png(np.zeros((height, width, 3), np.uint8))

    with client(registry, max_pixels=10_000) as http:
        assert http.post("/v1/search", content=picture(100, 100)).status_code == 200
        problem(http.post("/v1/search", content=picture(101, 100)), 413, "too_large")
        problem(http.post("/v1/search", content=picture(210, 10)), 422, "too_elongated")


def test_a_decompression_bomb_is_refused_undecoded(registry):
    bomb = io.BytesIO()
    Image.new("1", (8000, 8000)).save(bomb, "PNG")  # 9 kB hold 64 million pixels
    assert len(bomb.getvalue()) < 20_000
    with client(registry, open_writes=True) as http:
        problem(http.post("/v1/search", content=bomb.getvalue()), 413, "too_large")
        problem(http.post("/v1/items?name=b.png", content=bomb.getvalue()), 413, "too_large")


def test_many_who_ask_for_the_description_at_once_have_it_written_once(registry, monkeypatch):
    written, write = [], app._written_description
    monkeypatch.setattr(app, "_written_description", lambda of: written.append(of) or write(of))
    with client(registry) as http, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: http.get("/openapi.json").content, range(24)))
    assert len(set(answers)) == len(written) == 1
