"""The layout of the map, its file, and the colours it is drawn in."""

import itertools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tests.collection.made_up import DIM, MODEL, write_base
from tests.fixtures.vectors import unit
from udml import mapview
from udml.errors import UdmlError
from udml.search.gallery import INFO_FILE, open_index
from udml.search.mapping import places, repulsion
from udml.search.mapping.layout import attraction
from udml.search.mapping.places import PLACES_FILE, places_beside, read_places, write_places

CARD = SimpleNamespace(model_version=MODEL, embedding_dim=DIM)


def kinds(count, each, seed=0):
    rng = np.random.default_rng(seed)
    return unit(np.repeat(np.eye(count, 16), each, axis=0) + rng.normal(0, 0.08, (count * each, 16)))


def laid_out(path, vectors):
    write_places(path / PLACES_FILE, np.arange(len(vectors)) * 7, vectors, None)
    return read_places(path)


@pytest.mark.parametrize("spread", [0.01, 2, 12])
def test_on_a_grid_points_push_as_pairs_do(spread, monkeypatch):
    points = (np.random.default_rng(0).normal(size=(900, 2)) * spread).astype(np.float32)
    away, total = repulsion.repulsion(points)
    monkeypatch.setattr(repulsion, "_PAIRWISE_BELOW", 10_000)
    exact_away, exact_total = repulsion.repulsion(points)
    assert total == pytest.approx(exact_total, rel=0.1)
    assert np.abs(away - exact_away).mean() < 0.1 * np.abs(exact_away).mean() + 1e-3


def test_both_ends_of_an_edge_are_pulled_and_nothing_drifts():
    points = np.array([[0, 0], [1, 0], [5, 5]], np.float32)
    pull = attraction(points, np.array([[1], [0], [-1]]))
    assert pull[0, 0] > 0 > pull[1, 0]
    assert (pull[2] == 0).all()
    assert np.abs(pull.sum(axis=0)).max() < 1e-6


@pytest.mark.parametrize("each", [12, 68])  # pair by pair, and on a grid
def test_what_is_alike_lies_together_the_same_every_time(tmp_path, each):
    vectors = kinds(6, each)
    found = laid_out(tmp_path, vectors)
    assert np.abs(found.points).max() <= 1
    apart = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    kind = np.repeat(np.arange(6), each)
    assert (kind[apart.argmin(axis=1)] == kind).mean() > 0.97
    if each == 12:
        assert np.array_equal(found.points, laid_out(tmp_path, vectors).points)
    beside = places_beside(kinds(6, 3, seed=1), vectors, found.points)  # added images
    own = np.stack([found.points[kind == k].mean(axis=0) for k in range(6)])
    nearest = np.linalg.norm(beside[:, None] - own[None], axis=2).argmin(axis=1)
    assert nearest.tolist() == np.repeat(np.arange(6), 3).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 450])
def test_few_images_and_equal_ones_have_places(tmp_path, count):
    for vectors in (np.tile(kinds(1, 1), (count, 1)), kinds(16, count // 16 + 1)[:count]):
        found = laid_out(tmp_path, vectors)
        assert found.points.shape == (count, 2)
        assert np.isfinite(found.points).all()
        assert len(np.unique(found.points, axis=0)) == count  # none hides another
    assert (
        places_beside(vectors, np.empty((0, 16), np.float32), np.empty((0, 2))).tolist() == [[0, 0]] * count
    )


def test_of_a_large_index_a_sample_is_on_the_map(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MOST_PLACES", 40)
    found = laid_out(tmp_path, kinds(6, 20))
    assert len(found.ids) == 40
    asked = np.array([found.ids[3], 5, found.ids[0]])
    assert np.isnan(found.of(asked)).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    ids = np.arange(120) * 7
    assert places.sample_of(ids, found, 60).tolist() == found.ids.tolist()
    assert len(places.sample_of(ids, None, 60)) == 60
    assert places.sample_of(ids, found, 120) is ids


def test_an_index_without_a_map_opens_and_a_damaged_one_is_told(tmp_path):
    write_base(tmp_path / "index", 30)
    index = open_index(tmp_path / "index", CARD)
    assert np.array_equal(index.places.ids, np.sort(index.ids))
    info = json.loads((tmp_path / "index" / INFO_FILE).read_text())
    del info["files"][PLACES_FILE]
    (tmp_path / "index" / INFO_FILE).write_text(json.dumps(info))
    (tmp_path / "index" / PLACES_FILE).unlink()
    assert open_index(tmp_path / "index", CARD).places is None
    for wrong in (b"words", b""):
        (tmp_path / "index" / PLACES_FILE).write_bytes(wrong)
        with pytest.raises(UdmlError, match=r"map\.npy is damaged"):
            open_index(tmp_path / "index", CARD)


# What a colour looks like with all cones, and without one kind (Machado, Oliveira and Fernandes 2009).
_EYES = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(light):
    x, y, z = np.cbrt(_XYZ @ np.clip(light, 0, 1) / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("scheme", "ground"), [("light", "#ffffff"), ("dark", "#1e2125")])
def test_colours_stay_apart_for_every_eye_and_stand_out_from_the_ground(scheme, ground):
    colours = re.findall(r"#[0-9a-f]{6}", re.search(rf"{scheme}: \[(.*?)\]", mapview.script())[1])
    assert len(colours) == 6
    for eye in _EYES:
        seen = [lab(eye @ linear(colour)) for colour in colours]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20
    for colour in colours:
        bright, dim = sorted((_XYZ[1] @ linear(one) for one in (colour, ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) > 3, colour


def test_the_script_is_one_piece():
    script = mapview.script()
    assert re.findall(r"^import |^export .*", script, re.MULTILINE) == ["export class ImageMap {"]
