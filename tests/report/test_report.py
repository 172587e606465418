import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.fakes import fake_evaluation, fake_rounds, write_prepared, write_trained
from tests.fixtures.vectors import unit
from udml.config import load_params
from udml.errors import UdmlError
from udml.files import write_json
from udml.report.report import write_report

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
TRAIN, TEST, CLASSES = 24, 40, 4
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("src", "href") if key in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def workspace(tmp_path):
    """Prepared and trained directories, and a function that writes a report over them."""
    rng = np.random.default_rng(0)
    count = TRAIN + TEST
    images = [rng.integers(0, 255, (20 + row % 5, 24, 3), dtype=np.uint8) for row in range(count)]
    classes = rng.integers(0, CLASSES, count)

    def make(labelled=True, report_queries=8, quarantined=2):
        labels = [f"class <{code}>" if labelled else None for code in classes]
        splits = ["train"] * TRAIN + ["test"] * TEST
        groups = [1000 + row for row in range(count)]
        groups[TRAIN + 1] = groups[TRAIN]
        quarantine = [
            {
                "image_id": 5000 + row,
                "source": f"bad/<{row}>.jpg",
                "reason": "truncated",
                "detail": "the file ends early",
                "size_bytes": 12,
                "split": None,
                "label": None,
            }
            for row in range(quarantined)
        ]
        prepared = write_prepared(tmp_path / "prepare", images, labels, splits, groups, quarantine)
        clusters = rng.integers(0, 3, TRAIN)
        trained = write_trained(tmp_path / "train", clusters, rng.random(TRAIN), fake_rounds(4, labelled))
        embeddings = np.eye(CLASSES, 8)[classes[TRAIN:]] + rng.normal(0, 0.45, (TEST, 8))
        embeddings[1] = embeddings[0]  # copies are each other's nearest neighbours
        worse = embeddings + rng.normal(0, 0.5, (TEST, 8))
        codes = classes[TRAIN:] if labelled else np.full(TEST, -1)
        names = tuple(f"class <{code}>" for code in range(CLASSES)) if labelled else ()
        evaluation = fake_evaluation(np.arange(TRAIN, count), codes, names, unit(embeddings), unit(worse))
        return evaluation, prepared, trained, tmp_path / "report"

    return make


def written(parts):
    evaluation, prepared, trained, out = parts
    index = write_report(out, evaluation, prepared, trained, PARAMS, "float32 ships")
    return index, index.read_text(encoding="utf-8")


@pytest.mark.parametrize("labelled", [True, False])
def test_the_page_is_whole_and_needs_no_network(workspace, labelled):
    index, text = written(workspace(labelled))
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (index.parent / link).is_file(), link
    assert "http" not in text.replace("http-equiv", "")
    assert [found for tag, found in page.tags if tag == "script" and "src" in found] == []
    assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.S).lower().split()


def test_every_picture_and_chart_has_a_name(workspace):
    page = Page(written(workspace())[1])
    assert all(found.get("alt") for tag, found in page.tags if tag == "img")
    assert all(found.get("aria-label") for tag, found in page.tags if tag == "svg")
    assert sum(tag == "img" for tag, _ in page.tags) > 20


def test_sections_come_in_order_and_labels_are_optional(workspace):
    anchors = ["results", "label-free", "training", "sizes", "queries", "clusters", "map", "data", "making"]
    for labelled in (True, False):
        _, text = written(workspace(labelled))
        found = re.findall(r'<section id="([^"]+)"', text)
        assert found == (anchors if labelled else anchors[1:])
        assert ("right class" in text) is labelled
        assert ("Worst misses" in text) is labelled


def test_the_headline_and_the_protocols_are_those_of_the_evaluation(workspace):
    parts = workspace()
    _, text = written(parts)
    value = parts[0].trained.scores["leave_one_out"].estimates["recall_at_1"].value
    assert f"<b>{100 * value:.1f}\N{NARROW NO-BREAK SPACE}%</b>" in text
    assert f"Trained on {TRAIN} unlabelled images" in text
    for protocol in ("leave_one_out: 40 &lt;test&gt; images", "k-means, as many", "80 strong views"):
        assert f"Protocol: {protocol}" in text


def test_worst_misses_are_wrong_counted_and_sorted_by_certainty(workspace):
    parts = workspace()
    evaluation = parts[0]
    _, text = written(parts)
    group = [TRAIN + 1 if row == TRAIN else row for row in range(TRAIN + TEST)]
    misses = []
    for query, row in enumerate(evaluation.rows):  # slow and plain: the first neighbour that is no copy
        for other, sure in zip(
            evaluation.trained.neighbours[query], evaluation.trained.similarities[query], strict=True
        ):
            if group[other] != group[row]:
                if evaluation.labels[other - TRAIN] != evaluation.labels[query]:
                    misses.append((-sure, query, row))
                break
    shown = [
        int(row)
        for row in re.findall(r'class="asked"><img src="thumbnails/(\d+).jpg', text.split("Worst misses")[1])
    ]
    assert misses
    assert shown == [row for _, _, row in sorted(misses)[: PARAMS.evaluate.report_queries // 2]]


def test_hostile_names_are_shown_as_text(workspace):
    _, text = written(workspace())
    assert "<0>" not in text
    assert "class &lt;0&gt;" in text
    assert "bad/&lt;0&gt;.jpg" in text


def test_a_long_quarantine_is_cut_and_says_so(workspace):
    _, text = written(workspace(quarantined=230))
    assert "truncated (230)" in text
    assert "And 30 more files" in text
    assert text.count("bad/&lt;") == 200


def test_a_report_replaces_the_old_one_only_when_it_is_finished(workspace):
    parts = workspace()
    index, before = written(parts)
    (parts[2] / "clusters.parquet").unlink()
    with pytest.raises(UdmlError, match=r"clusters\.parquet"):
        write_report(parts[3], parts[0], parts[1], parts[2], PARAMS, "float32 ships")
    assert index.read_text(encoding="utf-8") == before
    assert {path.name for path in index.parent.parent.iterdir()} == {"prepare", "train", "report"}


def test_a_stopped_run_is_told(workspace):
    parts = workspace()
    rounds = fake_rounds(3, labelled=True)
    rounds[-1] |= {"healthy": False, "verdict": "effective rank fell to 3.1"}
    write_json(parts[2] / "rounds.json", rounds)
    _, text = written(parts)
    assert "Training was stopped at step 60: effective rank fell to 3.1." in text


def test_the_page_says_what_ended_training_and_whether_more_would_have_paid(workspace):
    parts = workspace()
    rounds = fake_rounds(3, labelled=True)
    rounds[-1] |= {"ended_by": "budget", "more_would_pay": True}
    write_json(parts[2] / "rounds.json", rounds)
    _, text = written(parts)
    assert "train.budget_minutes ended training at step 60; more steps would probably have paid" in text


def test_the_same_inputs_give_the_same_page(workspace):
    parts = workspace()
    index, first = written(parts)
    picture = (index.parent / "map.webp").read_bytes()
    assert written(parts)[1] == first
    assert (index.parent / "map.webp").read_bytes() == picture


def test_the_first_table_goes_from_the_frozen_backbone_to_the_search_that_ships(workspace):
    evaluation, *_ = parts = workspace()
    _, text = written(parts)
    table = text.split('aria-label="What each step is worth"')[1].split("</table>")[0]
    steps = re.findall(r'<th scope="row">([^<]+)<', table)
    assert steps == ["Frozen backbone", "Whitened", "Trained", "By neighbourhoods"]
    value = evaluation.trained.scores["leave_one_out_neighbourhoods"].estimates["map_at_r"].value
    assert f"{100 * value:.1f}" in table.split("By neighbourhoods")[1]
    assert table.count("delta") == 6  # three figures of the two rows that are compared with the one above
    old = replace(evaluation, whitened=None)
    _, text = written((old, *parts[1:]))
    assert "Whitened<" not in text
    assert "the frozen backbone for" in text


def test_pictures_of_queries_show_both_orders_where_they_differ(workspace):
    evaluation, *_ = parts = workspace(report_queries=TEST)
    _, text = written(parts)
    assert "By similarity alone:" in text
    plain = replace(evaluation, trained=replace(evaluation.trained, neighbourhoods=None))
    assert "By similarity alone:" not in written((plain, *parts[1:]))[1]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            10,
            "About 10 images each, as that is what two halves of the images agree on most (39% of the pairs",
        ),
        (25, "About 25 images each, as two halves of the images agree on nothing finer (36% of the pairs"),
    ],
)
def test_the_page_says_why_there_are_so_many_clusters(workspace, found, sentence):
    parts = workspace()
    rounds = fake_rounds(3, labelled=True)
    rounds[0] |= {"strengths_by_cluster_size": {"25": 0.36, "10": 0.39}, "found_cluster_size": found}
    rounds[0] |= {"images": 9_000, "clusters_found_on_images": 9_000}
    write_json(parts[2] / "rounds.json", rounds)
    text = written(parts)[1]
    assert sentence in text
    assert "The number of clusters was found on" not in text
    rounds[0]["clusters_found_on_images"] = 4_000
    write_json(parts[2] / "rounds.json", rounds)
    assert "The number of clusters was found on 4,000 of 9,000 images" in written(parts)[1]
