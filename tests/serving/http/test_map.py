"""What the API sends of the map."""

import json
import struct

import numpy as np

from tests.serving.small_service import BASE, NEW, client
from udml.search import gallery
from udml.serving.http import keys


def read(content):
    (length,) = struct.unpack_from("<I", content)
    head = json.loads(content[4 : 4 + length])
    n, at = head["placed"], 4 + length
    ids = np.frombuffer(content, "<u8", n, at)
    places = np.frombuffer(content, "<u2", 2 * n, at + 8 * n).reshape(n, 2)
    groups = np.frombuffer(content, np.uint8, n, at + 12 * n)
    assert len(content) == at + 13 * n
    assert (at % 8) == 0
    return head, ids, places, groups


def test_the_api_gives_every_image_a_place_and_says_when_nothing_has_changed(registry):
    with client(registry, open_writes=True) as service:
        answer = service.get("/v1/map")
        head, ids, places, groups = read(answer.content)
        assert head["images"] == head["placed"] == len(BASE)
        assert len({f"{one:016x}" for one in ids}) == len(BASE)
        assert (np.diff(groups.astype(int)) >= 0).all()
        assert groups.max() < head["groups"]
        assert len(np.unique(places, axis=0)) > len(BASE) / 2
        tag = answer.headers["etag"]
        again = service.get("/v1/map", headers={"If-None-Match": f"W/{tag}"})
        assert (again.status_code, again.content) == (304, b"")
        files = [("image", (name.replace("/", "-"), data)) for name, data, _ in NEW[:2]]
        assert service.post("/v1/items", files=files).status_code == 200
        removed = f"{ids[0]:016x}"
        assert service.delete(f"/v1/items?id={removed}").status_code == 200
        changed = service.get("/v1/map", headers={"If-None-Match": tag})
        head, more, *_ = read(changed.content)
        assert head["placed"] == len(BASE) + 1  # two came, beside their neighbours, and one went
        assert ids[0] not in more
        asked = "&".join(f"id={one:016x}" for one in more)
        items = service.get(f"/v1/map/items?{asked}").json()["items"]
        assert [item["id"] for item in items] == [f"{one:016x}" for one in more]
        for wrong in ("", "?id=x", "?" + "&".join(["id=" + removed] * 201)):
            assert service.get(f"/v1/map/items{wrong}").status_code == 422


def test_a_version_from_before_there_were_maps_says_so(registry, monkeypatch):
    monkeypatch.setattr(gallery, "read_places", lambda _: None)
    with client(registry) as service:
        head, ids, *_ = read(service.get("/v1/map").content)
        assert len(service.get("/v1/clusters").json()["clusters"]) == head["groups"] > 1
    assert "dvc repro index" in head["missing"]
    assert len(ids) == 0


def test_the_map_is_behind_the_key(registry):
    key = keys.add_key(registry / "keys.json", "anna")
    with client(registry, keys=registry / "keys.json") as service:
        assert service.get("/v1/map").status_code == 401
        answer = service.get("/v1/map", headers={"Authorization": f"Bearer {key}"})
    assert read(answer.content)[0]["placed"] == len(BASE)
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Authorization", "private, no-cache")
