from pathlib import Path

import faiss
import numpy as np
import pytest

from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures
from udml.data.catalog import open_store, read_catalog
from udml.data.statistics import image_statistics
from udml.errors import UdmlError
from udml.search.gallery import GalleryIndex, IndexInfo
from udml.search.reference import read_reference, write_reference

COUNT = 20
# images 1004, 1005 and 1006 are one burst, 1008 and 1009 another
GROUPS = [1000, 1001, 1002, 1003, 1004, 1004, 1004, 1007, 1008, 1008, *range(1010, 1020)]


def open_fake(ids: np.ndarray) -> GalleryIndex:
    vectors = np.random.default_rng(0).standard_normal((len(ids), 4)).astype(np.float32)
    flat = faiss.IndexFlatIP(4)
    flat.add(vectors)
    return GalleryIndex(IndexInfo("m", "d", "flat", 4, len(ids), 1.0, {}), ids, None, flat)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return write_prepared(tmp_path, pictures(COUNT), [None] * COUNT, ["train"] * COUNT, GROUPS)


def write(prepared: Path, out: Path, images: int) -> Path:
    out.mkdir()
    catalog = read_catalog(prepared)
    write_reference(out, catalog, open_store(prepared, catalog), images)
    return out


def test_every_burst_counts_once_and_its_figures_are_those_of_its_pixels(
    prepared: Path, tmp_path: Path
) -> None:
    out = write(prepared, tmp_path / "index", images=1000)
    ids = np.arange(1000, 1000 + COUNT)
    index = open_fake(ids)
    reference = read_reference(out, index)
    assert reference.image_ids.tolist() == sorted(set(GROUPS))
    image = pictures(COUNT)[8]
    row = reference.image_ids.tolist().index(1008)
    np.testing.assert_array_equal(
        reference.statistics[row], image_statistics(image, image.shape[1], image.shape[0])
    )
    np.testing.assert_array_equal(reference.vectors[row], index.base.reconstruct(8))


def test_the_sample_is_bounded_and_the_same_each_time(prepared: Path, tmp_path: Path) -> None:
    files = [write(prepared, tmp_path / name, images=5) / "reference.npy" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(read_reference(files[0].parent, open_fake(np.arange(1000, 1020))).image_ids) == 5


def test_images_taken_off_the_index_leave_the_sample(prepared: Path, tmp_path: Path) -> None:
    out = write(prepared, tmp_path / "index", images=1000)
    reference = read_reference(out, open_fake(np.arange(1000, 1010)))
    assert reference.image_ids.tolist() == [1000, 1001, 1002, 1003, 1004, 1007, 1008]
    assert len(reference.vectors) == len(reference.statistics) == 7
    with pytest.raises(UdmlError, match="of another index"):
        read_reference(out, open_fake(np.arange(5)))


def test_an_index_without_a_sample_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="dvc repro index"):
        read_reference(tmp_path, open_fake(np.arange(5)))
