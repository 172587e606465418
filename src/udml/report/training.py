"""The report's account of training: curves per clustering round, cluster sizes, what clusters hold."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from udml.data.catalog import ImageStore
from udml.learning.labels.telling import found_on_a_part
from udml.learning.loop.schedule import how_it_ended
from udml.report.charts import MISSING, Series, histogram, line_chart, number
from udml.report.page import Section, chart_card, counted, details, picture, table
from udml.report.pictures import contact_sheet, save_webp

_SHEETS = 12
_SHEET_COLUMNS, _SHEET_LINES = 6, 2
_SHEET_THUMBNAIL_PX = 80
_MIN_SHEET_IMAGES = 4

# title, how to read it, (key in rounds.json, name in the legend, style) of each line
_CURVES = (
    (
        "Finding itself again",
        "Held-out images and their neighbours, looked for by a strongly changed view of them. The neighbours "
        "pick the checkpoint. Higher is better.",
        (("score_neighbours", "neighbours found again", "trained"), ("score", "found first", "second")),
    ),
    (
        "Metric loss",
        "Pulls the images of a cluster together and pushes others away. Should fall or stay level.",
        (("metric_loss", "metric loss", "trained"),),
    ),
    (
        "Rotation loss",
        "How surprised the network is by which way up an image is. Lower is better.",
        (("rotation_loss", "rotation loss", "trained"),),
    ),
    (
        "Rotation accuracy",
        "How often it tells which way up an image is; guessing gives 0.25. Higher is better.",
        (("rotation_accuracy", "rotation accuracy", "trained"),),
    ),
    (
        "Effective rank",
        "How many directions the embedding uses. A steep fall means that it is collapsing.",
        (("effective_rank", "embedding", "trained"), ("frozen_effective_rank", "frozen backbone", "frozen")),
    ),
    (
        "Cluster churn",
        "How much the clusters changed since the round before; 0 is not at all. Should settle.",
        (("churn", "churn", "trained"),),
    ),
    (
        "Agreement with labels",
        "Normalised mutual information of clusters and labels. Watched, never used; higher is better.",
        (("label_nmi", "agreement", "trained"),),
    ),
)


_COLUMNS = (
    "round",
    "step",
    "clusters",
    "empty",
    "singletons",
    "share_left_out",
    "largest_share",
    "churn",
    "score",
    "score_neighbours",
    "metric_loss",
    "rotation_loss",
    "rotation_accuracy",
    "effective_rank",
    "embedding_std",
    "mean_cosine",
    "label_nmi",
    "images_per_second",
)


def curves_section(rounds: Sequence[Mapping[str, Any]]) -> Section:
    """Small charts over the steps of training, one per quantity that was recorded."""
    picked = _picked(rounds)
    steps = [float(entry["step"]) for entry in rounds]
    cards = []
    for title, meaning, lines in _CURVES:
        series = [
            Series(name, steps, [_number(entry.get(key)) for entry in rounds], style)
            for key, name, style in lines
        ]
        if any(one.points() for one in series):
            picked_step = float(picked["step"]) if picked else None
            cards.append(chart_card(title, meaning, line_chart(title, series, picked_step)))
    body = f'<div class="charts">{"".join(cards)}</div>' + details("The numbers", _rounds_table(rounds))
    return Section("training", "Training", "How training went", _curves_intro(rounds, picked), body)


def _picked(rounds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((entry for entry in rounds if entry.get("picked")), None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _curves_intro(rounds: Sequence[Mapping[str, Any]], picked: Mapping[str, Any] | None) -> str:
    if not rounds:
        return "No clustering round was recorded."
    sentences = [f"The images were clustered {counted(len(rounds), 'time')}; each dot is one clustering."]
    if picked is not None:
        sentences.append(
            f"The checkpoint of step {picked['step']:,} was kept, by the first chart; "
            "no label was looked at to choose it."
        )
    sentences.append(how_it_ended(rounds))
    return " ".join(sentences).rstrip()


def _rounds_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in rounds:
        values = [_number(entry.get(key)) for key in _COLUMNS]
        cells = [MISSING if value is None else number(value) for value in values]
        rows.append([*cells, "yes" if entry.get("picked") else ""])
    return table([*(key.replace("_", " ") for key in _COLUMNS), "picked"], rows, "Every clustering round")


def sizes_section(rounds: Sequence[Mapping[str, Any]]) -> Section:
    """Cluster sizes of the first round and of the one that was kept, side by side."""
    intro = (
        "Clusters stand in for classes. Most images in a few huge clusters would mean that the embedding "
        "does not tell them apart; a hump in the middle is healthy."
    ) + _how_many(rounds)
    kept = _picked(rounds) or (rounds[-1] if rounds else None)
    shown = [entry for entry in rounds[:1] if entry is not kept] + ([kept] if kept else [])
    bins = [entry.get("cluster_sizes_histogram") or {"edges": [], "counts": []} for entry in shown]
    # Edges are the same in every round; bins that stay empty to the right are not drawn.
    used = max((index + 1 for one in bins for index, count in enumerate(one["counts"]) if count), default=0)
    cards = []
    for entry, one in zip(shown, bins, strict=True):
        title = f"{'Kept: round' if entry is kept else 'Round'} {entry['round']}, step {entry['step']:,}"
        empty, single = int(entry.get("empty") or 0), int(entry.get("singletons") or 0)
        found = f"{entry['clusters']:,} clusters, {empty:,} empty, {single:,} with a single image."
        chart = histogram(f"Cluster sizes, {title}", one["edges"][: used + 1], one["counts"][:used])
        cards.append(chart_card(title, f"{found} Across: images in a cluster. Up: clusters.", chart))
    body = (
        f'<div class="charts">{"".join(cards)}</div>'
        if cards
        else '<p class="nothing">Nothing was recorded.</p>'
    )
    return Section("sizes", "Cluster sizes", "How large the clusters are", intro, body)


def _how_many(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Why there are so many clusters, where their number was found."""
    strengths = rounds[0].get("strengths_by_cluster_size") if rounds else None
    if not strengths:
        return ""
    found, coarsest = str(rounds[0]["found_cluster_size"]), next(iter(strengths))
    on_a_part = f" {found_on_a_part(rounds[0])}".rstrip()
    agreed = f"{strengths[found]:.0%} of the pairs that one half predicts are together in the other"
    if found == coarsest:
        nothing = f"as two halves of the images agree on nothing finer ({agreed})."
        return f" About {found} images each, {nothing}{on_a_part}"
    return (
        f" About {found} images each, as that is what two halves of the images agree on most "
        f"({agreed}; with {coarsest} images each {strengths[coarsest]:.0%}).{on_a_part}"
    )


def clusters_section(clusters: pd.DataFrame, catalog: pd.DataFrame, store: ImageStore, out: Path) -> Section:
    """Contact sheets of some clusters, from the tightest to the loosest.

    Args:
        clusters: one row per clustered image: image_id, cluster, similarity to its centroid.
        catalog: the whole catalogue.
        store: pixels of all catalogue rows.
        out: the report's directory; pictures go to its `clusters`.
    """
    rows_by_id = pd.Series(np.arange(len(catalog)), index=catalog["image_id"])
    known = clusters[clusters["image_id"].isin(rows_by_id.index) & (clusters["cluster"] >= 0)]
    summary = (
        known.groupby("cluster")["similarity"].agg(["size", "mean"]).sort_values("mean", ascending=False)
    )
    eligible = _worth_showing(summary)
    spread = np.unique(np.linspace(0, len(eligible) - 1, min(_SHEETS, len(eligible))).round().astype(int))
    figures = []
    for cluster in eligible.index[spread]:
        members = known[known["cluster"] == cluster].sort_values("similarity", ascending=False)
        rows = rows_by_id.loc[members["image_id"]].to_numpy()
        figures.append(_sheet(int(cluster), rows, members["similarity"].to_numpy(), catalog, store, out))
    intro = (
        "Some clusters of the kept round, from the tightest to the loosest; inside one, images run from the "
        "most typical to the least. A good cluster shows one kind of thing."
    )
    body = (
        f'<div class="sheets">{"".join(figures)}</div>'
        if figures
        else '<p class="nothing">No cluster was written.</p>'
    )
    return Section("clusters", "Clusters", "What the clusters hold", intro, body)


def _worth_showing(summary: pd.DataFrame) -> pd.DataFrame:
    """Clusters that fill a sheet, if there are enough of them; else those of a few images; else all."""
    for least in (_SHEET_COLUMNS * _SHEET_LINES, _MIN_SHEET_IMAGES):
        large = summary[summary["size"] >= least]
        if len(large) >= _SHEETS // 2:
            return large
    return summary


def _sheet(
    cluster: int,
    rows: np.ndarray,
    similarity: np.ndarray,
    catalog: pd.DataFrame,
    store: ImageStore,
    out: Path,
) -> str:
    """One cluster as a figure: images spread evenly from its most to its least typical."""
    room = _SHEET_COLUMNS * _SHEET_LINES
    chosen = rows if len(rows) <= room else rows[np.linspace(0, len(rows) - 1, room).round().astype(int)]
    sheet = contact_sheet(store, chosen.tolist(), _SHEET_COLUMNS, _SHEET_THUMBNAIL_PX, 4)
    save_webp(sheet, out / "clusters" / f"{cluster}.webp")
    text = f"{counted(len(rows), 'image')}, mean similarity {similarity.mean():.2f}{_purity(catalog, rows)}"
    image = picture(
        f"clusters/{cluster}.webp", f"{len(chosen)} images of cluster {cluster}: {text}", sheet.size
    )
    return f"<figure>{image}<figcaption><b>Cluster {cluster}</b> {escape(text)}</figcaption></figure>"


def _purity(catalog: pd.DataFrame, rows: np.ndarray) -> str:
    """The commonest label and its share, where labels exist."""
    labels = catalog["label"].iloc[rows].dropna()
    if labels.empty:
        return ""
    counts = labels.value_counts()
    return f", {counts.iloc[0] / len(rows):.0%} {counts.index[0]}"
