"""The report's account of the data and of how everything was made."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib import metadata
from pathlib import Path

import pandas as pd

from udml.config import Params
from udml.data.catalog import QUARANTINE_FILE, ImageStore
from udml.errors import UdmlError
from udml.model_card import ModelCard
from udml.report.page import Section, counted, details, facts, picture, table
from udml.report.pictures import THUMBNAIL_PX, save_thumbnail

_QUARANTINE_ROWS = 200
_GROUPS = 8
_GROUP_IMAGES = 4
_PACKAGES = ("udml", "onnxruntime", "faiss-cpu", "torch", "timm", "numpy", "scikit-learn")


def read_quarantine(prepared: Path) -> pd.DataFrame:
    """The files that were set aside.

    Raises:
        UdmlError: if prepare did not write the list.
    """
    path = prepared / QUARANTINE_FILE
    if not path.exists():
        raise UdmlError(f"no quarantine list at {path}", "run `dvc repro prepare` first")
    return pd.read_parquet(path)


def data_section(catalog: pd.DataFrame, quarantine: pd.DataFrame, store: ImageStore, out: Path) -> Section:
    """What came in, what was set aside and why, and which images are the same picture.

    Args:
        catalog: the whole catalogue.
        quarantine: files that were set aside.
        store: pixels of all catalogue rows.
        out: the report's directory; thumbnails go to its `thumbnails`.
    """
    splits = catalog["split"].value_counts()
    labelled = int(catalog["label"].notna().sum())
    rows: list[tuple[str, object]] = [
        ("Files found", f"{len(catalog) + len(quarantine):,}"),
        ("Images used", f"{len(catalog):,}"),
        ("To train on", f"{int(splits.get('train', 0)):,}"),
        ("To test on", f"{int(splits.get('test', 0)):,}"),
        ("Left out of both", f"{int(splits.get('excluded', 0)):,}"),
        ("Set aside", f"{len(quarantine):,}"),
        ("With a label", f"{labelled:,}"),
    ]
    body = (
        facts(rows, "Counts of the data") + _quarantine_html(quarantine) + _groups_html(catalog, store, out)
    )
    intro = "Nothing is dropped in silence: a file that could not be used is listed here with its reason."
    return Section("data", "Data", "The data", intro, body)


def _quarantine_html(quarantine: pd.DataFrame) -> str:
    heading = "<h3>Files set aside</h3>"
    if quarantine.empty:
        return heading + '<p class="intro">None: every file could be read and used.</p>'
    counts = quarantine["reason"].value_counts()
    reasons = ", ".join(f"{str(reason).replace('_', ' ')} ({count:,})" for reason, count in counts.items())
    # A few of each reason first, so that a flood of one kind doesn't hide the others.
    order = quarantine.assign(turn=quarantine.groupby("reason").cumcount()).sort_values(["turn", "reason"])
    shown = order.head(_QUARANTINE_ROWS).sort_values(["reason", "source"])
    shown["reason"] = shown["reason"].str.replace("_", " ")
    columns = [shown[name].tolist() for name in ("source", "reason", "detail", "size_bytes")]
    rows = list(zip(*columns, strict=True))
    listed = table(("file", "reason", "detail", "bytes"), rows, "Files set aside")
    rest = len(quarantine) - len(shown)
    note = f'<p class="note">And {counted(rest, "more file")}; see {QUARANTINE_FILE}.</p>' if rest else ""
    intro = f'<p class="intro">By reason: {escape(reasons)}.</p>'
    return heading + intro + (listed + note if len(shown) <= 12 else details("Show the files", listed + note))


def _groups_html(catalog: pd.DataFrame, store: ImageStore, out: Path) -> str:
    heading = "<h3>The same picture more than once</h3>"
    sizes = catalog["group"].value_counts()
    sizes = sizes[sizes > 1]
    if sizes.empty:
        return heading + '<p class="intro">No image is a copy, or nearly a copy, of another.</p>'
    intro = (
        f"{counted(len(sizes), 'group')} of copies or near copies hold {int(sizes.sum()):,} images. A group "
        "stays on one side of the split, and finding a copy counts neither for nor against the embedding."
    )
    items = "".join(_group_item(catalog, int(group), store, out) for group in _sample(sizes.index.tolist()))
    return f'{heading}<p class="intro">{escape(intro)}</p><ul class="pairs">{items}</ul>'


def _sample(groups: Sequence[int]) -> list[int]:
    """Some groups, spread evenly over all of them in order of size."""
    if len(groups) <= _GROUPS:
        return list(groups)
    return [groups[round(index * (len(groups) - 1) / (_GROUPS - 1))] for index in range(_GROUPS)]


def _group_item(catalog: pd.DataFrame, group: int, store: ImageStore, out: Path) -> str:
    rows = (catalog["group"] == group).to_numpy().nonzero()[0]
    images = []
    for row in rows[:_GROUP_IMAGES].tolist():
        name = save_thumbnail(store, row, out / "thumbnails")
        source = str(catalog["source"].iloc[row])
        images.append(picture(f"thumbnails/{name}", source, (THUMBNAIL_PX, THUMBNAIL_PX)))
    caption = f'<span class="caption">{counted(len(rows), "image")}</span>'
    return f'<li><div class="row">{"".join(images)}</div>{caption}</li>'


def making_section(params: Params, card: ModelCard, protocol: str, quantization: str) -> Section:
    """Model, data, protocol, licence, numbers' precision, versions and every parameter."""
    rows: list[tuple[str, object]] = [
        ("Protocol", protocol),
        ("Trained", card.protocol),
        ("Model version", card.model_version),
        ("Data version", card.data_version),
        ("Backbone", card.backbone),
        ("Licence of its weights", card.weights_licence),
        ("Embedding", f"{card.embedding_dim} numbers of unit length, from {card.seen}"),
        ("Precision", quantization),
        ("Versions", ", ".join(f"{name} {version}" for name, version in _versions())),
    ]
    lines = [
        f"{section}.{key}: {value}"
        for section, values in asdict(params).items()
        for key, value in values.items()
    ]
    listing = (
        f'<pre tabindex="0" aria-label="All parameters"><code>{escape(chr(10).join(lines))}</code></pre>'
    )
    body = facts(rows, "How it was made") + details("All parameters", listing)
    return Section("making", "How it was made", "How it was made", "", body)


def _versions() -> list[tuple[str, str]]:
    found = [("Python", sys.version.split()[0])]
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue  # serving-only installations have no torch
    return found
