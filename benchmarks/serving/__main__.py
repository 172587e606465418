"""What the service stands and how fast it is; the tables of docs/serving.md.

    python -m benchmarks.serving speed       engine, PyTorch and service on real photos
    python -m benchmarks.serving overload    three times the load it can answer
    python -m benchmarks.serving switches    1,000 changes of version under load
    python -m benchmarks.serving malformed   10,000 malformed requests and damaged images
    python -m benchmarks.serving kills       SIGKILL while images are added, 200 times

Uses the workspace's trained network (artifacts/train) and photos of the Grocery Store Dataset. The
client is a process of its own and talks to the service over loopback.
"""

import argparse
import io
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.serving import bundles, trials
from benchmarks.serving.speed import compare, lines
from benchmarks.settings import SEARCH_BATCH, STORE_PX
from udml.machine import usable_cores
from udml.registry import store
from udml.serving.engine.pictures import to_jpeg

TRIALS = ("speed", "overload", "switches", "malformed", "kills")


def main() -> None:
    """Run one trial and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/grocery"))
    parser.add_argument("--trained", type=Path, default=Path("artifacts/train"))
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-serving"))
    parser.add_argument("--collection", type=int, default=1000, help="photos in the collection")
    parser.add_argument("--input-px", type=int, nargs="+", default=[96, 224], choices=sorted(STORE_PX))
    parser.add_argument("--photos", type=int, default=16 * SEARCH_BATCH, help="speed: photos of a round")
    parser.add_argument("--rounds", type=int, default=5, help="speed: rounds")
    parser.add_argument("--seconds", type=float, default=60, help="overload: how long")
    parser.add_argument("--count", type=int, help="switches, requests or kills (default: 1000, 10000, 200)")
    options = parser.parse_args()
    print(f"{options.trial}: {usable_cores()} cores, {options.collection} photos in the collection\n")
    if options.trial == "speed":
        speed(options)
    else:
        print("\n".join(f"| {name} | {value} |" for name, value in _run(options).items()))


def speed(options: argparse.Namespace) -> None:
    """Print the table of speeds, a row for each model and contestant."""
    print("| model | contestant | alone, ms: p50 / p99 | photos/s | ratio within a round |")
    print("|---|---|---|---|---|")
    photos = [data for _, data in bundles.photos(options.data / "test", options.photos)]
    for input_px in options.input_px:
        root = _registry(options, input_px, versions=1)
        network, spec = bundles.network_at(options.trained, input_px)
        speeds = compare(root, network, spec, photos, options.rounds, alone=min(100, len(photos)))
        print("\n".join(lines(input_px, speeds)), flush=True)


def _run(options: argparse.Namespace) -> dict[str, object]:
    root = _registry(options, min(options.input_px), versions=2 if options.trial == "switches" else 1)
    queries = [data for _, data in bundles.photos(options.data / "test", 64)]
    match options.trial:
        case "overload":
            return asdict(trials.overload(root, queries, options.seconds))
        case "switches":
            return asdict(trials.switches(root, queries, options.count or 1000))
        case "malformed":
            from benchmarks.serving.malformed import malformed

            return asdict(malformed(root, queries[:8], options.count or 10_000))
        case _:
            return asdict(trials.kills(root, _different(queries), options.count or 200))


def _registry(options: argparse.Namespace, input_px: int, versions: int) -> Path:
    """A new registry with a collection of real photos; v1 is the champion."""
    root = (options.work / f"{options.trial}-{input_px}px").resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    files = bundles.photos(options.data / "train", options.collection)
    items = bundles.write_originals(root, files)
    for seed in range(versions):
        network, spec = bundles.network_at(options.trained, input_px, seed)
        model = bundles.export_model(network, spec, root / f"model-{seed}.onnx")
        bundles.register(root, model, files, items)
    store.promote(root / "models", "v1", "")
    return root


def _different(photos: list[bytes]) -> Iterator[bytes]:
    """Photos without end, none twice: each is made of noise and a real one."""
    decoded = [np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"), np.int16) for photo in photos]
    for number in itertools.count():
        rng = np.random.default_rng(number)
        pixels = decoded[number % len(decoded)] + rng.integers(-20, 21, (1, 1, 3)) + rng.normal(0, 8, 3)
        marked = np.clip(pixels, 0, 255).astype(np.uint8)
        marked[:16, :16] = rng.integers(0, 256, (16, 16, 3))
        yield to_jpeg(Image.fromarray(marked))


if __name__ == "__main__":
    main()
