"""The page of `udml monitor`: one HTML file that holds its own pictures."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from udml.data.statistics import shown_statistic
from udml.files import atomic_path
from udml.monitor.drift import Drift, Verdict
from udml.monitor.unusual import UnusualImage
from udml.report.page import Section, counted, facts, page, picture, table
from udml.report.pictures import THUMBNAIL_PX, thumbnail
from udml.search.embedder import FileProblem
from udml.text import printable

_HEADLINES = {
    Verdict.DRIFT: "The new images <b>differ</b> from those the model knows",
    Verdict.NO_DRIFT: "The new images look like those the model knows",
    Verdict.TOO_FEW: "Too few new images for a verdict",
}


def write_report(
    out: Path,
    drift: Drift,
    unusual: Sequence[UnusualImage],
    pictures: Sequence[np.ndarray],
    problems: Sequence[FileProblem],
    about: Sequence[tuple[str, object]],
) -> None:
    """Write the verdict, its numbers and the most unusual images to `out`, atomically.

    Args:
        out: the HTML file.
        drift: the verdict and its numbers.
        unusual: most unusual first.
        pictures: of these, uint8 [h, w, 3] each.
        problems: files that were left out.
        about: names and values for the table of facts.
    """
    sections = [_tests(drift)] if drift.p_value is not None else []
    sections.append(
        Section(
            "unusual",
            "Unusual images",
            "The most unusual of the new images",
            "Least like anything in the collection, or with light, colour, focus or size far outside it.",
            f'<ul class="pairs">{"".join(map(_unusual, unusual, pictures))}</ul>',
        )
    )
    sections.append(Section("about", "About", "What was compared", "", facts(about, "What was compared")))
    if problems:
        rows = "".join(
            f"<li>{escape(printable(p.path))}: {escape(p.reason)} ({escape(printable(p.detail))})</li>"
            for p in problems
        )
        sections.append(Section("left-out", "Left out", "Files left out", "", f"<ul>{rows}</ul>"))
    header = f'<h1>{_HEADLINES[drift.verdict]}</h1><p class="lead">{escape(summary(drift))}</p>'
    with atomic_path(out) as temporary:
        temporary.write_text(page("Drift", header, sections, "udml monitor"), encoding="utf-8")


def summary(drift: Drift) -> str:
    """The verdict's numbers in one sentence."""
    if drift.p_value is None:
        return (
            f"{counted(drift.tested_images, 'independent image')} against {drift.reference_images:,}: "
            "collect more, or lower monitor.min_images."
        )
    most = drift.statistics[0]
    return (
        f"p = {drift.p_value:.4f} (embeddings {drift.embedding_p_value:.4f}, image statistics "
        f"{drift.statistics_p_value:.4f}, most of all {most.name}: median "
        f"{shown_statistic(most.name, most.reference_median)} before, "
        f"{shown_statistic(most.name, most.new_median)} now)."
    )


def _tests(drift: Drift) -> Section:
    rows = [
        (
            s.name,
            shown_statistic(s.name, s.reference_median),
            shown_statistic(s.name, s.new_median),
            f"{s.gap:.3f}",
            f"{s.p_value:.4f}",
        )
        for s in drift.statistics
    ]
    columns = ("statistic", "median before", "median now", "largest gap", "p, adjusted")
    embedding = facts(
        [
            ("p of both tests together", f"{drift.p_value:.4f}"),
            ("Embeddings", f"p = {drift.embedding_p_value:.4f}, energy distance {drift.energy_distance:.5f}"),
            ("Image statistics", f"p = {drift.statistics_p_value:.4f}"),
        ],
        "Tests",
    )
    return Section(
        "tests",
        "Tests",
        "How sure is that?",
        "p is how often a batch without drift would look at least this different.",
        embedding + table(columns, rows, "Image statistics, most drifted first"),
    )


def _unusual(one: UnusualImage, pixels: np.ndarray) -> str:
    image = thumbnail(pixels, THUMBNAIL_PX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    lines = [
        f"<b>{one.similarity:.2f}</b> to the nearest, lonelier than {one.lonelier_share:.0%} of the others",
        *(escape(remark) for remark in one.remarks),
    ]
    name = escape(printable(one.path.name))
    shown = picture(address, printable(one.path.name), (THUMBNAIL_PX, THUMBNAIL_PX))
    return (
        f'<li title="{escape(printable(one.path))}">{shown}<span class="caption">{"<br>".join(lines)}'
        f'<span class="name">{name}</span></span></li>'
    )
