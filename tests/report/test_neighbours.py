import numpy as np
import pandas as pd
import pytest

from tests.fixtures.fakes import write_prepared
from udml.data.catalog import open_store, read_catalog
from udml.report import map as report_map
from udml.report.map import map_section
from udml.report.neighbours import Strip, Verdict, queries_section, verdict

LABELS = ["cat", "cat", "dog", "cat", None, None]
GROUPS = [1000, 1001, 1002, 1000, 1004, 1005]


@pytest.fixture
def prepared(tmp_path):
    images = [np.full((24, 32, 3), 30 * row, np.uint8) for row in range(6)]
    sources = [f"a <b> & {row}.jpg" for row in range(6)]
    write_prepared(tmp_path / "prepare", images, LABELS, ["test"] * 6, GROUPS, sources=sources)
    catalog = read_catalog(tmp_path / "prepare")
    return catalog, open_store(tmp_path / "prepare", catalog), tmp_path / "report"


@pytest.mark.parametrize(
    ("query", "row", "expected"),
    [
        (0, 1, Verdict.HIT),
        (0, 2, Verdict.MISS),
        (0, 3, Verdict.COPY),
        (0, 4, Verdict.OPEN),
        (4, 5, Verdict.OPEN),
    ],
)
def test_a_neighbour_is_judged_by_group_first_then_by_label(prepared, query, row, expected):
    catalog: pd.DataFrame = prepared[0]
    assert verdict(catalog, query, row) is expected


def test_a_strip_tells_hits_from_misses_without_colour(prepared):
    catalog, store, out = prepared
    html = queries_section(
        [Strip(0, [3, 1, 2, 4], [0.99, 0.8, 0.75, 0.5])], [], True, catalog, store, out
    ).body_html
    assert html.count('alt="Neighbour') == 4
    assert 'alt="Neighbour 1, a copy, not counted: cat"' in html
    assert 'alt="Neighbour 2, same class: cat"' in html
    assert 'alt="Neighbour 3, another class: dog"' in html
    assert 'alt="Neighbour 4, no label: a &lt;b&gt; &amp; 4.jpg"' in html
    assert "\N{CHECK MARK}</span> <b>0.80" in html
    assert "\N{BALLOT X}</span> <b>0.75" in html
    assert {path.name for path in (out / "thumbnails").iterdir()} == {
        "0.jpg",
        "1.jpg",
        "2.jpg",
        "3.jpg",
        "4.jpg",
    }


def test_without_labels_nothing_is_said_of_misses(prepared):
    catalog, store, out = prepared
    html = queries_section([Strip(4, [5], [0.4])], [], False, catalog, store, out).body_html
    assert "misses" not in html
    assert "The loneliest" in html
    assert "another class" not in html


def test_the_map_is_capped_and_says_so(prepared, monkeypatch):
    catalog, store, out = prepared
    monkeypatch.setattr(report_map, "MAP_IMAGES", 4)
    embeddings = np.eye(6, dtype=np.float32)
    section = map_section(np.arange(6), embeddings, catalog, store, out, seed=0)
    assert "A random 4 of 6 test images" in section.body_html
    assert (out / "map.webp").stat().st_size > 0
    monkeypatch.setattr(report_map, "MAP_IMAGES", 6)
    assert (
        "All 6 of 6 test images"
        in map_section(np.arange(6), embeddings, catalog, store, out, seed=0).body_html
    )
    assert len(catalog) == 6
