"""One page, whole in itself, of where a version came from: data, settings, code, model, index, champion."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE
from udml.registry.compare import leaves
from udml.registry.describing.origin import Origin, hash_of, imported, read_origin
from udml.report.page import Section, counted, facts, page, table
from udml.text import printable

_BOX_PX, _HIGH_PX, _GAP_PX = 150, 64, 34
_SHORT = 12  # digits of a hash that are shown
_BAR = "font: 12px sans-serif"


def make_lineage(models: Path, name: str) -> str:
    """The page of a version, HTML.

    Raises:
        UdmlError: if there is no such version, or it is damaged.
    """
    origin = read_origin(models, name)
    bundle = origin.bundle
    sections = [
        Section("way", "Way", "From images to answers", _way_intro(origin), _drawing(origin)),
        Section("data", "Data", "Data", "", _data(origin)),
        Section("settings", "Settings", "Settings", "", _settings(origin)),
        Section("stages", "Stages", "Stages and their code", _CODE, _stages(origin)),
        Section("files", "Files", "What is in the version", "", _files(origin)),
        Section("champion", "Champion", "When it was the champion", "", _champion(origin)),
        Section("log", "Log", "What the registry's log tells of it", "", _log(origin)),
    ]
    header = f"<h1>{escape(bundle.name)}: where it came from</h1>"
    return page(f"{bundle.name}: lineage", header, sections, f"registered {escape(bundle.created)}")


_CODE = (
    "Each hash is DVC's, of a file or folder as the stage found or left it. Two versions of which a hash "
    "agrees had the same there."
)


def _way_intro(origin: Origin) -> str:
    bundle = origin.bundle
    images = counted(bundle.images, "image")
    told = f"{images} in the index, by model {bundle.model_version}."
    if bundle.compacted_from:
        told += (
            f" Model and figures are those of {bundle.compacted_from}, whose collection was folded into it."
        )
    return told


def _drawing(origin: Origin) -> str:
    """The way as boxes with arrows, one under the other on a narrow page by scrolling."""
    bundle, latest = origin.bundle, (origin.reigns[-1] if origin.reigns else None)
    served = (
        "never champion" if latest is None else "champion now" if latest.until is None else "was champion"
    )
    boxes = (
        ("data", "Data", bundle.data_version),
        ("settings", "Settings and code", _revision(origin)),
        ("stages", "Model", bundle.model_version),
        ("files", "Index", f"{origin.index.get('kind', '')}, {bundle.images:,}"),
        ("champion", "Champion", served),
    )
    width, high = len(boxes) * (_BOX_PX + _GAP_PX), _HIGH_PX + 4
    parts = [_box(number, *box) for number, box in enumerate(boxes)]
    parts += [_arrow(number) for number in range(len(boxes) - 1)]
    return (
        f'<div class="scroll"><svg viewBox="0 0 {width} {high}" width="{width}" height="{high}" role="img" '
        f'aria-label="data, settings and code, model, index, champion">{"".join(parts)}</svg></div>'
    )


def _box(number: int, anchor: str, title: str, line: str) -> str:
    left = 2 + number * (_BOX_PX + _GAP_PX)
    shown = printable(line)
    shown = shown if len(shown) <= 20 else f"{shown[:19]}…"
    middle = left + _BOX_PX // 2
    return (
        f'<a href="#{anchor}"><rect x="{left}" y="2" width="{_BOX_PX}" height="{_HIGH_PX}" rx="8" '
        f'fill="none" stroke="currentColor"/>'
        f'<text x="{middle}" y="28" text-anchor="middle" fill="currentColor" '
        f'style="{_BAR}; font-weight: bold">{escape(title)}</text><text x="{middle}" y="48" '
        f'text-anchor="middle" fill="currentColor" style="{_BAR}">{escape(shown)}</text></a>'
    )


def _arrow(number: int) -> str:
    start = 2 + number * (_BOX_PX + _GAP_PX) + _BOX_PX
    end, middle = start + _GAP_PX, 2 + _HIGH_PX // 2
    points = f"{end - 8},{middle - 5} {end - 1},{middle} {end - 8},{middle + 5}"
    return (
        f'<path d="M{start + 2} {middle}H{end - 2}" stroke="currentColor"/>'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/>'
    )


def _revision(origin: Origin) -> str:
    return origin.bundle.git_revision[:_SHORT] or "no git revision"


def _data(origin: Origin) -> str:
    known: list[tuple[str, object]] = [
        ("trained on", origin.card.data_version),
        ("in the index", origin.bundle.data_version),
    ]
    for dep in imported(origin.stages):
        known += [("as DVC has it", hash_of(dep)), ("files", dep.get("nfiles", ""))]
        known.append(("bytes", dep.get("size", "")))
    return facts(known, "data")


def _settings(origin: Origin) -> str:
    revision = ("code, git revision", origin.bundle.git_revision or "unknown")
    rows = [revision, *leaves(origin.params)]
    return facts([(name, printable(str(value))) for name, value in rows], "settings")


def _stages(origin: Origin) -> str:
    rows = [
        (name, role, printable(str(one.get("path", ""))), hash_of(one))
        for name, stage in origin.stages.items()
        for what, role in (("deps", "reads"), ("outs", "makes"))
        for one in stage.get(what) or ()
    ]
    return table(("stage", "", "path", "hash"), rows, "stages")


def _files(origin: Origin) -> str:
    known = origin.bundle.files
    first = [name for name in known if name == MODEL_FILE or name.startswith(f"{INDEX_DIRECTORY}/")]
    ordered = [*first, *(name for name in known if name not in first)]
    return table(
        ("file", "bytes", "sha256"),
        [(printable(name), known[name].size_bytes, known[name].sha256) for name in ordered],
        "files",
    )


def _champion(origin: Origin) -> str:
    if not origin.reigns:
        return "<p>It has not been the champion.</p>"
    rows = [(one.since, one.until or "now", one.how, printable(one.reason)) for one in origin.reigns]
    return table(("from", "to", "by", "because"), rows, "times as the champion")


def _log(origin: Origin) -> str:
    return table(("time", "event", "because"), list(_told(origin)), "log")


def _told(origin: Origin) -> Iterator[Sequence[str]]:
    for event in origin.events:
        yield str(event.get("time", "")), event["event"], printable(str(event.get("reason", "")))
