import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.fakes import write_prepared
from udml.data.catalog import open_store
from udml.report.pictures import (
    contact_sheet,
    draw_map,
    project,
    save_thumbnail,
    snap_to_grid,
    thumbnail,
)


@pytest.fixture
def store(tmp_path):
    images = [np.full((20 + row, 30, 3), 40 * row, np.uint8) for row in range(6)]
    write_prepared(tmp_path, images, [None] * 6, ["test"] * 6)
    return open_store(tmp_path)


def test_a_thumbnail_shows_the_centre_square():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    assert (np.asarray(thumbnail(image, 10)) == 200).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(0, 100))
def test_on_the_grid_no_two_share_a_cell(n, seed):
    points = np.random.default_rng(seed).normal(size=(n, 2))
    cells, (columns, lines) = snap_to_grid(points)
    assert len({tuple(cell) for cell in cells.tolist()}) == n
    assert (cells >= 0).all()
    assert (cells < (columns, lines)).all()


def test_on_the_grid_neighbours_stay_neighbours():
    centres = np.repeat([[0.0, 0.0], [10.0, 10.0]], 20, axis=0)
    cells, shape = snap_to_grid(centres + np.random.default_rng(0).normal(0, 0.1, (40, 2)))
    assert cells[:20, 0].max() < cells[20:, 0].min() + shape[0] / 3
    assert cells[:20, 1].mean() < cells[20:, 1].mean()


def test_identical_points_still_get_cells_of_their_own():
    cells, _ = snap_to_grid(np.zeros((12, 2)))
    assert len({tuple(cell) for cell in cells.tolist()}) == 12


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 40])
def test_any_number_of_embeddings_can_be_projected(n):
    embeddings = np.random.default_rng(1).normal(size=(n, 8)).astype(np.float32)
    plane = project(embeddings, seed=0)
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()


def test_collapsed_embeddings_can_be_projected():
    assert np.isfinite(project(np.ones((30, 4), np.float32), seed=0)).all()


def test_projection_repeats_with_its_seed_and_keeps_groups_apart():
    rng = np.random.default_rng(2)
    embeddings = np.concatenate([rng.normal(0, 0.05, (30, 16)) + np.eye(16)[k] for k in (0, 1)]).astype(
        np.float32
    )
    plane = project(embeddings, seed=5)
    assert np.array_equal(plane, project(embeddings, seed=5))
    within = np.linalg.norm(plane[:30] - plane[:30].mean(0), axis=1).mean()
    assert np.linalg.norm(plane[:30].mean(0) - plane[30:].mean(0)) > 2 * within


def test_the_map_shows_every_image_in_its_cell(store):
    cells = np.array([[0, 0], [2, 1], [1, 1]])
    picture = np.asarray(draw_map(store, [5, 2, 3], cells, (3, 2)))
    step = picture.shape[1] // 3
    seen = [picture[line * step + step // 2, column * step + step // 2] for column, line in cells.tolist()]
    assert [pixel.tolist() for pixel in seen] == [
        [200, 200, 200, 255],
        [80, 80, 80, 255],
        [120, 120, 120, 255],
    ]
    assert picture[step // 2, step + step // 2, 3] == 0  # a free cell is transparent


def test_a_contact_sheet_reads_from_left_to_right(store):
    sheet = np.asarray(contact_sheet(store, [1, 2, 3, 4], columns=3, side_px=10, gap_px=2))
    assert sheet.shape == (22, 34, 4)
    assert [int(sheet[5, x, 0]) for x in (5, 17, 29)] == [40, 80, 120]
    assert int(sheet[17, 5, 0]) == 160
    assert sheet[17, 17, 3] == 0


def test_a_thumbnail_is_written_once(store, tmp_path):
    assert save_thumbnail(store, 3, tmp_path / "t") == "3.jpg"
    first = (tmp_path / "t" / "3.jpg").stat().st_mtime_ns
    save_thumbnail(store, 3, tmp_path / "t")
    assert (tmp_path / "t" / "3.jpg").stat().st_mtime_ns == first
