"""The grocery benchmark: what training without labels is worth on real smartphone photos.

    python -m benchmarks.grocery --data ../shared/data/grocery

Train, without labels, on every image of class ids 0-40 of the Grocery Store Dataset; test on every
image of ids 41-80. Reported, in percent: R@1 and MAP@R leave-one-out over the test images, and both
across the published splits (query: test split, gallery: train and val splits); searched by similarity
alone and by neighbourhoods. What training has to beat is the frozen backbone, whitened. The vectors
scored are those of the exported ONNX models. With --supervised every run is repeated with the true labels of
the training classes in place of clusters, and the share of the gap between the whitened start and that end is
printed that training without labels closes, in MAP@R. Settings are those of params.yaml, but for the light of
training views: it is not changed, unless --relight is given, because colour tells groceries apart. Finished
runs are kept in the work directory and not run again.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settings import STEPS, STORE_PX
from benchmarks.training.ceiling import gap_closed, start_and_end
from benchmarks.training.train import Photos
from udml.config import Params, load_params
from udml.data.catalog import open_store, read_catalog
from udml.data.importing.importer import import_data
from udml.data.prepare import prepare
from udml.evaluation.metrics import Embedded, score_queries
from udml.evaluation.neighbourhoods import know_neighbourhoods, refine_with
from udml.export.export import FROZEN_FILE, MODEL_FILE, WHITENED_FILE, export
from udml.files import write_json
from udml.learning.train import train
from udml.machine import usable_cores
from udml.search.embedder import Embedder, embed_store


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-grocery"))
    parser.add_argument("--input-px", type=int, default=96, choices=sorted(STORE_PX))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rotation-weights", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--supervised", action="store_true", help="train by the true labels, too")
    parser.add_argument("--relight", action="store_true", help="change the light of training views")
    options = parser.parse_args()
    params = _params(load_params(), options.input_px, options.relight)
    work = (options.work / f"{options.input_px}px").resolve()
    data, prepared = options.work.resolve() / "data", work / "prepare"
    images = options.data.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    if not data.exists():
        import_data(images, "grocery", data)
    if not prepared.exists():
        prepare(data, prepared, params.prepare)
    rows = [
        _run(work, data, prepared, _with(params, weight, seed), options.supervised)
        for seed in options.seeds
        for weight in options.rotation_weights
    ]
    print(table(rows, options.input_px))


def _params(params: Params, input_px: int, relight: bool) -> Params:
    train_params = dataclasses.replace(params.train, input_px=input_px, steps=STEPS)
    if not relight:
        train_params = dataclasses.replace(train_params, light_stops=0.0, cast_stops=0.0)
    return dataclasses.replace(
        params,
        train=train_params,
        prepare=dataclasses.replace(params.prepare, store_short_side_px=STORE_PX[input_px]),
    )


def _with(params: Params, rotation_weight: float, seed: int) -> Params:
    train_params = dataclasses.replace(params.train, rotation_weight=rotation_weight, seed=seed)
    return dataclasses.replace(params, train=train_params)


def _run(work: Path, data: Path, prepared: Path, params: Params, supervised: bool) -> dict[str, Any]:
    """Train, export and score one model, and its ceiling, unless that has been done; returns its figures."""
    light = "-relit" if params.train.light_stops else ""
    out = work / f"rotation-{params.train.rotation_weight:g}-seed-{params.train.seed}{light}"
    done = out / "figures.json"
    settings = json.loads(json.dumps(dataclasses.asdict(params.train) | {"looks": params.export.looks}))
    figures = json.loads(done.read_text()) if done.exists() else {}
    if figures.get("params") != settings or "refined" not in figures:
        figures = {"params": settings, **_unlabelled(out, data, prepared, params)}
        write_json(done, figures)
    if supervised and "supervised" not in figures:
        photos = Photos(data, prepared, read_catalog(prepared), params.train)
        _, (r1, map_at_r) = start_and_end(photos, params.train, params.export.looks, supervised=True)
        figures["supervised"] = {"r1": r1, "map_at_r": map_at_r}
        write_json(done, figures)
    return figures


def _unlabelled(out: Path, data: Path, prepared: Path, params: Params) -> dict[str, Any]:
    """Train without labels and export to `out`; the figures of what ships and of what it began with."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    train(prepared, out / "train", out / "live", params.train)
    seconds = time.perf_counter() - began
    export(out / "train", prepared, data, out / "export", params.export)
    return {
        "train_seconds": seconds,
        "trained": score(prepared, out / "export" / MODEL_FILE),
        "refined": score(prepared, out / "export" / MODEL_FILE, refined=True),
        "whitened": score(prepared, out / "export" / WHITENED_FILE),
        "frozen": score(prepared, out / "export" / FROZEN_FILE),
    }


def score(prepared: Path, model: Path, refined: bool = False) -> dict[str, float]:
    """The four figures of an exported model on the test classes, in percent."""
    catalog = read_catalog(prepared)
    rows = np.flatnonzero(catalog["split"] == "test")
    test = catalog.iloc[rows]
    embeddings = embed_store(Embedder(model), open_store(prepared, catalog), rows, model.stem)
    every = Embedded(
        embeddings, test["label"].astype("category").cat.codes.to_numpy(np.int64), test["group"].to_numpy()
    )
    asked = (test["role"] == "query").to_numpy()
    query, gallery = (_part(every, mask) for mask in (asked, ~asked))
    alone = _mean_scores(every, every, np.arange(len(rows)), refined)
    across = _mean_scores(query, gallery, np.full(asked.sum(), -1), refined)
    return {
        "r1": alone["recall_at_1"],
        "map_at_r": alone["map_at_r"],
        "cross_split_r1": across["recall_at_1"],
        "cross_split_map_at_r": across["map_at_r"],
    }


def _part(every: Embedded, mask: np.ndarray) -> Embedded:
    return Embedded(every.embeddings[mask], every.labels[mask], every.groups[mask])


def _mean_scores(query: Embedded, gallery: Embedded, own_row: np.ndarray, refined: bool) -> dict[str, float]:
    refine = refine_with(know_neighbourhoods(gallery.embeddings)) if refined else None
    found = score_queries(query, gallery, own_row, [1], False, 2**29, refine)
    return {name: 100 * float(values.mean()) for name, values in found.values.items()}


def table(rows: list[dict[str, Any]], input_px: int) -> str:
    """The rows as a Markdown table: mean and spread (lowest to highest) over seeds."""
    lines = [
        f"Input {input_px} px, {STEPS} steps, seeds "
        f"{sorted({row['params']['seed'] for row in rows})}; {platform.processor() or platform.machine()}, "
        f"{usable_cores()} cores.",
        "",
        "| model | R@1 | MAP@R | cross-split R@1 | cross-split MAP@R | training, s |",
        "|---|---|---|---|---|---|",
        _line("frozen backbone", [rows[0]["frozen"]], []),
        _line("frozen backbone, whitened", [rows[0]["whitened"]], []),
    ]
    for weight in sorted({row["params"]["rotation_weight"] for row in rows}):
        own = [row for row in rows if row["params"]["rotation_weight"] == weight]
        name = f"trained, rotation {weight:g}" if weight else "trained, no rotation"
        lines.append(_line(name, [r["trained"] for r in own], [r["train_seconds"] for r in own]))
        lines.append(_line(f"{name}, by neighbourhoods", [r["refined"] for r in own], []))
        if all("supervised" in row for row in own):
            lines.append(_line(f"supervised, {name.partition(', ')[2]}", [r["supervised"] for r in own], []))
            ways = ("whitened", "trained", "supervised")
            closed = [gap_closed(*(row[way]["map_at_r"] for way in ways)) for row in own]
            lines.append(f"| gap closed, % of MAP@R | | {_spread(closed, 0)} | | | |")
    return "\n".join(lines)


def _line(name: str, figures: list[dict[str, float]], seconds: list[float]) -> str:
    keys = ("r1", "map_at_r", "cross_split_r1", "cross_split_map_at_r")
    cells = [_spread([f[key] for f in figures], 1) if key in figures[0] else "" for key in keys]
    return f"| {name} | {' | '.join(cells)} | {_spread(seconds, 0) if seconds else ''} |"


def _spread(values: list[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
