"""A page that shows what was learned: numbers, curves, neighbours, clusters, a map, the data.

Static HTML with its pictures beside it; it opens from a file manager, without network. Only the map has
a script, inside the page; without scripts it is a picture.
"""

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from udml import paths
from udml.config import Params
from udml.data.catalog import ImageStore, open_store, read_catalog
from udml.errors import UdmlError
from udml.evaluation.files import summary_table
from udml.evaluation.neighbourhoods import refined_neighbours
from udml.evaluation.results import BASELINES, LEAVE_ONE_OUT, Evaluation
from udml.files import atomic_directory, read_json
from udml.judgement.standing import Standing
from udml.learning.views.strong import strong_view
from udml.model_card import ModelCard
from udml.report.data import data_section, making_section, read_quarantine
from udml.report.judged import judged_section
from udml.report.map import map_section
from udml.report.neighbours import Strip, queries_section
from udml.report.page import Section, page
from udml.report.results import change_sentence, headline_html
from udml.report.scores import label_free_section, main_measure, main_protocol, scores_section
from udml.report.training import clusters_section, curves_section, sizes_section

# what the page shows; a catalogue of a million rows has more than it needs
_COLUMNS = ["image_id", "source", "split", "label", "group"]
_EXAMPLE_FILE = "example-query.png"
_STORE_COLUMNS = ["store_shard", "store_offset", "store_width", "store_height"]


def report_workspace(evaluation: Evaluation, params: Params, standing: Standing | None = None) -> None:
    """Write the report of the workspace's model, a picture to search with beside it, and print the result.

    What people judged, if they did, comes first.

    Raises:
        UdmlError: as `write_report`.
    """
    verdict = read_json(_existing(paths.EXPORTED / "parity.json", "export"))["quantization"]["verdict"]
    said = judged_section(standing) if standing is not None else None
    page = write_report(paths.REPORT, evaluation, paths.PREPARED, paths.TRAINED, params, verdict, said)
    example = _write_example(paths.PREPARED, paths.REPORT / _EXAMPLE_FILE, evaluation)
    print(summary_table(evaluation))
    print(f"\nReport:        {page}")
    print(f"Try a search:  udml search {example}")


def write_report(
    out: Path,
    evaluation: Evaluation,
    prepared: Path,
    trained: Path,
    params: Params,
    quantization: str,
    judged: Section | None = None,
) -> Path:
    """Write the report; `out` is replaced as a whole, once everything is ready.

    At most 1,500 images on the map, 12 clusters, 8 groups of copies and `evaluate.report_queries`
    queries are shown, so that size and time hardly grow with the data: about 3 MB and 15 seconds.

    Args:
        out: the report's directory.
        evaluation: what evaluate measured.
        prepared: prepare's output (catalogue, store, quarantine list).
        trained: train's output (rounds.json, clusters.parquet).
        params: the whole of params.yaml.
        quantization: what export decided about int8, in a sentence.
        judged: what people judged; None where nobody has.

    Returns:
        `out`/index.html.

    Raises:
        UdmlError: if one of the inputs is missing.
    """
    catalog, card = read_catalog(prepared, _COLUMNS + _STORE_COLUMNS), evaluation.trained.card
    with atomic_directory(out) as building:
        sections = [judged] if judged else []
        sections += _sections(building, evaluation, catalog, prepared, trained, params)
        sections.append(making_section(params, card, main_protocol(evaluation), quantization))
        page = _page(evaluation, catalog, card, sections)
        (building / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"


def _sections(
    out: Path,
    evaluation: Evaluation,
    catalog: pd.DataFrame,
    prepared: Path,
    trained: Path,
    params: Params,
) -> list[Section]:
    store = open_store(prepared, catalog)
    rounds = read_json(_existing(trained / "rounds.json"))
    clusters = pd.read_parquet(_existing(trained / "clusters.parquet"))
    return [
        *([scores_section(evaluation)] if evaluation.labelled else []),
        label_free_section(evaluation),
        curves_section(rounds),
        sizes_section(rounds),
        _queries(out, evaluation, catalog, store, params),
        clusters_section(clusters, catalog, store, out),
        map_section(
            evaluation.rows, evaluation.trained.embeddings, catalog, store, out, params.evaluate.seed
        ),
        data_section(catalog, read_quarantine(prepared), store, out),
    ]


_UNTRAINED = (
    "No trained checkpoint beat the frozen backbone, whitened, in finding held-out images' neighbours again: "
    "that backbone is what ships."
)


def _existing(path: Path, stage: str = "train") -> Path:
    if not path.exists():
        raise UdmlError(f"no {path.name} at {path}", f"run `dvc repro {stage}` first")
    return path


def _page(evaluation: Evaluation, catalog: pd.DataFrame, card: ModelCard, sections: list[Section]) -> str:
    best = main_measure(evaluation)
    train_images = int((catalog["split"] == "train").sum())
    kicker = f"Model {card.model_version}, {card.backbone}; {len(evaluation.rows):,} test images"
    headline = headline_html(train_images, best, evaluation.labelled, BASELINES[evaluation.baseline_name])
    header = (
        f'<p class="kicker">{escape(kicker)}</p>'
        f"<h1>{headline}</h1>"
        f'<p class="lead">{escape(_UNTRAINED if card.untrained else change_sentence(best))}</p>'
        f'<p class="protocol">Protocol: {escape(main_protocol(evaluation))}</p>'
    )
    return page(f"Report of model {card.model_version}", header, sections, "Made by udml.")


def _queries(
    out: Path, evaluation: Evaluation, catalog: pd.DataFrame, store: ImageStore, params: Params
) -> Section:
    """Half of the queries drawn at random, half the worst misses; without labels, the loneliest images."""
    wanted = params.evaluate.report_queries
    rng = np.random.default_rng(params.evaluate.seed)
    count = len(evaluation.rows)
    drawn = rng.choice(count, min(count, (wanted + 1) // 2), replace=False)
    mixed = [_strip(evaluation, int(query)) for query in drawn]
    worst = [_strip(evaluation, query) for query in _worst(evaluation, catalog, wanted // 2)]
    return queries_section(mixed, worst, evaluation.labelled, catalog, store, out)


def _worst(evaluation: Evaluation, catalog: pd.DataFrame, count: int) -> list[int]:
    """Positions of test images, the worst first.

    With labels: those whose nearest neighbour, copies aside, is of another class, the most similar
    first. Without: those whose nearest neighbour is the least similar.
    """
    nearest, similarity = evaluation.trained.neighbours, evaluation.trained.similarities
    if nearest.shape[1] == 0:
        return []
    if not evaluation.labelled:
        return np.argsort(similarity[:, 0], kind="stable")[:count].tolist()
    scores = evaluation.trained.scores
    asked = scores[LEAVE_ONE_OUT].query if LEAVE_ONE_OUT in scores else next(iter(scores.values())).query
    rows, group = evaluation.rows, catalog["group"].to_numpy()
    label = np.full(len(catalog), -1, np.int64)
    label[rows] = evaluation.labels
    counts = group[nearest[asked]] != group[rows[asked]][:, None]  # copies of the query don't
    first = counts.argmax(axis=1)
    found, sure = label[nearest[asked, first]], similarity[asked, first]
    missed = counts.any(axis=1) & (found >= 0) & (found != evaluation.labels[asked])
    order = np.argsort(-sure[missed], kind="stable")
    return asked[missed][order][:count].tolist()


def _strip(evaluation: Evaluation, query: int) -> Strip:
    """A query with what is found for it as it ships, and by similarity alone where that differs."""
    trained, row = evaluation.trained, int(evaluation.rows[query])
    plain = trained.neighbours[query].tolist(), trained.similarities[query].tolist()
    if trained.neighbourhoods is None:
        return Strip(row, *plain)
    found, similarity = refined_neighbours(trained.neighbourhoods, query, len(plain[0]))
    shipped = evaluation.rows[found].tolist(), similarity.tolist()
    return Strip(row, *shipped, None if shipped[0] == plain[0] else plain)


def _write_example(prepared: Path, path: Path, evaluation: Evaluation) -> Path:
    """A changed view of a test image as a file, for people to search with."""
    store = open_store(prepared)
    row = int(evaluation.rows[len(evaluation.rows) // 2])
    Image.fromarray(strong_view(store[row], np.random.default_rng(row))).save(path)
    return path
