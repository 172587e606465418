"""The map of the test images: interactive where scripts run, one picture of thumbnails where they don't."""

import json
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from udml import mapview
from udml.data.catalog import ImageStore
from udml.report.page import Section, counted, picture
from udml.report.pictures import draw_map, project, save_webp, snap_to_grid
from udml.search.mapping.groups import group
from udml.search.mapping.places import as_bytes

MAP_IMAGES = 1500  # t-SNE of more takes long, and thumbnails become too small to see
_SCRIPT = Path(__file__).with_name("map.js")
_INTRO = (
    "Images that the embedding finds alike lie close together; groups with clear borders are good. Only "
    "nearness means something: directions and distances across gaps do not."
)


def map_section(
    rows: np.ndarray, embeddings: np.ndarray, catalog: pd.DataFrame, store: ImageStore, out: Path, seed: int
) -> Section:
    """The test images laid out so that what the embedding finds alike lies together.

    Args:
        rows: int [n] catalogue rows; at most 1,500 of them, drawn at random, are shown.
        embeddings: float32 [n, d] of the same images.
        catalog: the whole catalogue.
        store: pixels of all catalogue rows.
        out: the report's directory; the picture is its `map.webp`.
        seed: of the draw and of t-SNE.
    """
    count = len(rows)
    if count > MAP_IMAGES:
        chosen = np.sort(np.random.default_rng(seed).choice(count, MAP_IMAGES, replace=False))
        rows, embeddings = rows[chosen], embeddings[chosen]
    points = project(embeddings, seed)
    cells, shape = snap_to_grid(points)
    drawn = draw_map(store, rows.tolist(), cells, shape)
    save_webp(drawn, out / "map.webp")
    some = "All" if len(rows) == count else "A random"
    alt = f"{len(rows):,} test images on a grid; similar ones lie together"
    image = picture("map.webp", alt, drawn.size)
    link = f'<a href="map.webp" aria-label="Open the map at full size">{image}</a>'
    caption = (
        f"{some} {len(rows):,} of {counted(count, 'test image')} (t-SNE, moved to a grid). "
        "Select the map to see it large."
    )
    still = f'<figure class="map">{link}<figcaption>{escape(caption)}</figcaption></figure>'
    data = _data(catalog.iloc[rows], points, embeddings, cells, drawn.size[0] // shape[0])
    return Section("map", "Map", "A map of the test images", _INTRO, _interactive(data) + still)


def _data(
    images: pd.DataFrame, points: np.ndarray, embeddings: np.ndarray, cells: np.ndarray, step_px: int
) -> dict[str, object]:
    """What the map's script reads: of each image its place, group, cell in the picture, name and label."""
    groups = group(np.arange(len(images)), np.ascontiguousarray(embeddings, np.float32))
    order = np.concatenate([np.empty(0, np.int64), *groups])  # the most typical first
    shown = images.iloc[order]
    return {
        "groups": len(groups),
        "group": np.repeat(np.arange(len(groups)), [len(one) for one in groups]).tolist(),
        "places": as_bytes(_framed(points)[order]).tolist(),
        "cells": cells[order].tolist(),
        "step_px": step_px,
        "names": shown["source"].astype(str).tolist(),
        "labels": [None if pd.isna(label) else str(label) for label in shown["label"]],
    }


def _framed(points: np.ndarray) -> np.ndarray:
    """Points moved and scaled to -1..1, both axes alike."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-9)
    return (points - (low + high) / 2) / half


def _interactive(data: dict[str, object]) -> str:
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no name may end the element
    script = mapview.script() + _SCRIPT.read_text(encoding="utf-8")
    return (
        '<div id="map-view" class="map-view" hidden></div>'
        f'<script type="application/json" id="map-data">{text}</script>'
        f'<script type="module">\n{script}</script>'
    )
