"""Whether `udml monitor` alarms as rarely as it says, and how much drift it sees.

    python -m benchmarks.drift --data ../shared/data/grocery

On the Grocery Store Dataset. A model is trained, without labels, on a random half of the photos of
classes 0-40 (the *seen* half). Batches without drift are drawn from the *unseen* half of the same
classes, so every alarm is a false one; for the other rows they are changed, or drawn from classes
41-80. Duplicates count once. The settings are those of params.yaml; every batch has another seed.
What takes long (training, embedding) is kept in the work directory and not done again.
"""

import argparse
import csv
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from benchmarks.settings import STEPS
from udml.config import Params, load_params
from udml.data.catalog import ImageStore, open_store, read_catalog
from udml.data.decoding import pixel_digest
from udml.data.duplicates import duplicate_thumbnail, find_groups
from udml.data.importing.importer import import_data
from udml.data.prepare import prepare
from udml.data.statistics import image_statistics
from udml.export.export import MODEL_FILE, export
from udml.files import atomic_path
from udml.learning.train import train
from udml.machine import usable_cores
from udml.monitor.drift import compare
from udml.progress import progress
from udml.search.embedder import Embedder
from udml.search.reference import Reference

KNOWN_CLASSES = 41
REFERENCE_IMAGES = 500  # leaves enough of a half for the batches
SIZES = (25, 50, 200)
SCENES, SHOTS = 300, 5  # of the near-duplicate bursts
Change = Callable[[np.ndarray], np.ndarray]


def blur(radius_px: float) -> Change:
    """Gaussian blur of the stored pixels, whose shorter side has 160 px."""
    return lambda pixels: np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius_px)))


def warm(share: float) -> Change:
    """Red up and blue down by a share."""
    gains = np.array([1 + share, 1, 1 - share])
    return lambda pixels: np.minimum(pixels * gains, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "as they are": lambda pixels: pixels,
    "blur, 0.5 px": blur(0.5),
    "blur, 1 px": blur(1),
    "colour cast, 5 %": warm(0.05),
    "colour cast, 10 %": warm(0.1),
}


def main() -> None:
    """Run what is not there yet and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-drift"))
    parser.add_argument("--batches", type=int, default=400, help="without drift, of each size")
    parser.add_argument("--power-batches", type=int, default=100, help="with drift, of each kind and size")
    options = parser.parse_args()
    params, images = load_params(), options.data.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(options.work)
    build(images, params)
    photos = read_photos(images)
    print(f"{usable_cores()} cores, {params.monitor}, reference of {REFERENCE_IMAGES} photos\n")
    print(head("batches without drift"))
    for row in false_alarms(photos, params, options.batches):
        print(row)
    print(head("batches with drift"))
    for row in power(photos, params, options.power_batches):
        print(row)
    print(head("bursts, nothing new in them"))
    for row in bursts(photos, params, options.batches):
        print(row)


# --- models and vectors ---------------------------------------------------------------------------


def build(images: Path, params: Params) -> None:
    """Import, prepare, train on the seen half and export, into the working directory."""
    if not Path("data").exists():
        with Path("manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "split"])
            writer.writerows((images / name, "train" if seen else "test") for name, _, seen in listed(images))
        import_data(Path("manifest.csv"), "manifest", Path("data"))
    if not Path("prepare").exists():
        prepare(Path("data"), Path("prepare"), params.prepare)
    if not Path("train").exists():
        train(Path("prepare"), Path("train"), Path("live"), dataclasses.replace(params.train, steps=STEPS))
    if not Path("export").exists():
        export(Path("train"), Path("prepare"), Path("data"), Path("export"), params.export)


def listed(images: Path) -> Iterator[tuple[str, int, bool]]:
    """Path, class and whether it is of the seen half, of every photo."""
    for split in ("train", "val", "test"):
        for line in (images / f"{split}.txt").read_text().splitlines():
            if line.strip():
                name, fine, _ = (part.strip() for part in line.split(","))
                even = hashlib.sha256(str(images / name).encode()).digest()[-1] % 2 == 0
                yield name, int(fine), int(fine) < KNOWN_CLASSES and even


@dataclass(frozen=True)
class Photos:
    """All photos, duplicates once. Rows of the arrays belong together.

    Attributes:
        vectors, statistics: by kind of change, float [n, d] and [n, 8].
        seen, known, published_test: bool [n]: trained on; of classes 0-40; of the published test split.
        run: int [n], the same for five consecutive photos of a class: one occasion.
        burst_vectors, burst_statistics: five near-duplicate shots of each of 300 unseen photos.
        burst_thumbnails, burst_digests, burst_pictures: of the same shots, one after the other, as
            `find_groups` wants them.
    """

    vectors: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    seen: np.ndarray
    known: np.ndarray
    published_test: np.ndarray
    run: np.ndarray
    burst_vectors: np.ndarray
    burst_statistics: np.ndarray
    burst_thumbnails: np.ndarray
    burst_digests: np.ndarray
    burst_pictures: list[np.ndarray]

    def mean_run(self, rows: np.ndarray) -> float:
        """How many of `rows` are of one occasion, on average."""
        return len(rows) / len(np.unique(self.run[rows]))


def read_photos(images: Path) -> Photos:
    """The photos with their vectors, embedded now unless that has been done."""
    catalog = read_catalog(Path("prepare"))
    store = open_store(Path("prepare"), catalog)
    rows = np.flatnonzero(catalog["group"] == catalog["image_id"])
    facts = {str(images / name): (fine, seen) for name, fine, seen in listed(images)}
    sources = catalog["source"].to_numpy()[rows]
    known = np.array([facts[source][0] < KNOWN_CLASSES for source in sources])
    seen = (catalog["split"] == "train").to_numpy()[rows]
    scenes = np.random.default_rng(0).permutation(np.flatnonzero(known & ~seen))[:SCENES]
    sizes = catalog[["width", "height"]].to_numpy()
    changed = _kept(Path("vectors.npz"), lambda: _changed(sizes, store, rows))
    bursts = _bursts(store, rows[scenes])
    shots = _kept(Path("bursts.npz"), lambda: _shots(sizes, bursts, rows[scenes]))
    folders = pd.Series(sources).str.rsplit("/", n=1).str[0]
    number = folders.groupby(folders).cumcount() // SHOTS
    return Photos(
        vectors={name: changed[f"vectors {name}"] for name in CHANGES},
        statistics={name: changed[f"statistics {name}"] for name in CHANGES},
        seen=seen,
        known=known,
        published_test=np.array([str(images / "test") in source for source in sources]),
        run=pd.factorize(folders + number.astype(str))[0],
        burst_pictures=[picture for scene in bursts for picture in scene],
        **shots,
    )


def _changed(sizes: np.ndarray, store: ImageStore, rows: np.ndarray) -> dict[str, Any]:
    """Vectors and statistics of every photo under every change, by their names."""
    embedder = Embedder(Path("export") / MODEL_FILE)
    arrays: dict[str, Any] = {}
    for name, change in CHANGES.items():
        vectors, statistics = [], []
        for start in progress(range(0, len(rows), 256), name):
            part = rows[start : start + 256]
            pictures = [change(store[int(row)]) for row in part]
            vectors.append(embedder.embed(pictures))
            statistics += [
                image_statistics(picture, *sizes[row]) for row, picture in zip(part, pictures, strict=True)
            ]
        arrays[f"vectors {name}"] = np.concatenate(vectors)
        arrays[f"statistics {name}"] = np.stack(statistics)
    return arrays


def _bursts(store: ImageStore, rows: np.ndarray) -> list[list[np.ndarray]]:
    """Near-duplicate shots of each of the photos in `rows`."""
    rng = np.random.default_rng(1)
    return [[_shot(store[int(row)], rng) for _ in range(SHOTS)] for row in rows]


def _shots(sizes: np.ndarray, shots: list[list[np.ndarray]], rows: np.ndarray) -> dict[str, Any]:
    """What is computed of the shots of the photos in `rows`, as fields of `Photos`."""
    embedder = Embedder(Path("export") / MODEL_FILE)
    flat = [picture for scene in shots for picture in scene]
    statistics = [
        [image_statistics(shot, *sizes[row]) for shot in scene]
        for row, scene in zip(rows, shots, strict=True)
    ]
    return {
        "burst_vectors": np.stack([embedder.embed(scene) for scene in progress(shots, "bursts")]),
        "burst_statistics": np.array(statistics),
        "burst_thumbnails": np.stack([duplicate_thumbnail(Image.fromarray(picture)) for picture in flat]),
        "burst_digests": np.array([pixel_digest(picture) for picture in flat], dtype="V16"),
    }


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """What `make` gives, or gave in an earlier run."""
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **make())
    return dict(np.load(path))


def _shot(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another frame of a burst: moved by up to 1 %, exposure off by up to 3 %.

    No sensor noise: the photos have their own, and more of it would be drift.
    """
    height, width, _ = pixels.shape
    down, right = int(rng.integers(0, height // 100 + 1)), int(rng.integers(0, width // 100 + 1))
    cut = pixels[down : height - height // 100 + down, right : width - width // 100 + right]
    return np.clip(np.rint(cut * rng.uniform(0.97, 1.03)), 0, 255).astype(np.uint8)


# --- tables ---------------------------------------------------------------------------------------


def head(title: str) -> str:
    """The first lines of a table."""
    columns = f"| {title} | images | alarms | rate, % (95 % interval) | rate at level 5 %, % |"
    return f"\n{columns}\n|---|---|---|---|---|"


def line(name: str, size: int, p_values: list[float], level: float) -> str:
    """A row: how many p-values reach the level, with the exact binomial (Clopper-Pearson) interval."""
    from scipy.stats import binomtest

    def rate(at: float) -> tuple[int, str]:
        alarms = sum(p <= at for p in p_values)
        low, high = binomtest(alarms, len(p_values)).proportion_ci(method="exact")
        return alarms, f"{100 * alarms / len(p_values):.1f} ({100 * low:.1f} to {100 * high:.1f})"

    alarms, shown = rate(level)
    return f"| {name} | {size} | {alarms} of {len(p_values)} | {shown} | {rate(0.05)[1]} |"


def false_alarms(photos: Photos, params: Params, batches: int) -> Iterator[str]:
    """Batches of unseen photos against a reference of unseen, and of seen ones."""
    fresh = np.flatnonzero(photos.known & ~photos.seen)
    trained = np.flatnonzero(photos.seen)
    for size in SIZES:
        for name, reference_pool in (("unseen", fresh), ("seen", trained)):

            def draw(rng: np.random.Generator, pool: np.ndarray = reference_pool, n: int = size) -> Draw:
                reference = rng.permutation(pool)[:REFERENCE_IMAGES]
                batch = rng.permutation(np.setdiff1d(fresh, reference))[:n]
                return (
                    reference,
                    photos.vectors["as they are"][batch],
                    photos.statistics["as they are"][batch],
                )

            found = _p_values(photos, params, draw, batches, f"{name}, {size}")
            yield line(f"against a reference of {name} photos", size, found, params.monitor.alarm_rate)


Draw = tuple[np.ndarray, np.ndarray, np.ndarray]  # reference rows, new vectors, new statistics


def power(photos: Photos, params: Params, batches: int) -> Iterator[str]:
    """Changed photos and new classes, against a reference of unseen photos as they are."""
    fresh = np.flatnonzero(photos.known & ~photos.seen)
    other = np.flatnonzero(~photos.known)
    kinds = {name: (fresh, 1.0, name) for name in CHANGES if name != "as they are"}
    kinds["new classes"] = (other, 1.0, "as they are")
    kinds["new classes, a quarter of the batch"] = (other, 0.25, "as they are")
    for name, (pool, share, change) in kinds.items():
        for size in SIZES:

            def draw(
                rng: np.random.Generator,
                pool: np.ndarray = pool,
                change: str = change,
                n: int = size,
                odd: int = round(size * share),
            ) -> Draw:
                reference = rng.permutation(fresh)[:REFERENCE_IMAGES]
                changed = rng.permutation(np.setdiff1d(pool, reference))[:odd]
                rest = rng.permutation(np.setdiff1d(fresh, np.union1d(reference, changed)))[: n - odd]
                parts = [(change, changed), ("as they are", rest)]
                return (
                    reference,
                    np.concatenate([photos.vectors[kind][rows] for kind, rows in parts]),
                    np.concatenate([photos.statistics[kind][rows] for kind, rows in parts]),
                )

            found = _p_values(photos, params, draw, batches, f"{name}, {size}")
            yield line(name, size, found, params.monitor.alarm_rate)


def bursts(photos: Photos, params: Params, batches: int) -> Iterator[str]:
    """Batches that arrive in bursts of five, near duplicates and looser ones."""
    fresh = np.flatnonzero(photos.known & ~photos.seen)
    scenes = np.random.default_rng(0).permutation(fresh)[:SCENES]
    count = 40
    for grouped in (True, False):

        def draw_near(rng: np.random.Generator, grouped: bool = grouped) -> Draw:
            reference = rng.permutation(np.setdiff1d(fresh, scenes))[:REFERENCE_IMAGES]
            chosen = np.sort(rng.permutation(len(scenes))[:count])
            shots = (chosen[:, None] * SHOTS + np.arange(SHOTS)).ravel()
            kept = _first_of_groups(photos, shots, params) if grouped else np.arange(len(shots))
            vectors = photos.burst_vectors[chosen].reshape(len(shots), -1)
            statistics = photos.burst_statistics[chosen].reshape(len(shots), -1)
            return reference, vectors[kept], statistics[kept]

        name = "five near-duplicate shots of 40 things"
        name += "" if grouped else ", found by the embedding alone"
        found = _p_values(photos, params, draw_near, batches, name)
        yield line(name, count * SHOTS, found, params.monitor.alarm_rate)

    def draw_loose(rng: np.random.Generator) -> Draw:
        occasions = rng.permutation(np.unique(photos.run[fresh]))[:count]
        batch = fresh[np.isin(photos.run[fresh], occasions)]
        reference = rng.permutation(np.setdiff1d(fresh, batch))[:REFERENCE_IMAGES]
        return reference, photos.vectors["as they are"][batch], photos.statistics["as they are"][batch]

    name = "up to five different photos of each of 40 occasions"
    found = _p_values(photos, params, draw_loose, batches, name)
    yield line(name, round(photos.mean_run(fresh) * count), found, params.monitor.alarm_rate)


def _first_of_groups(photos: Photos, shots: np.ndarray, params: Params) -> np.ndarray:
    positions = np.arange(len(shots))
    groups = find_groups(
        positions,
        photos.burst_digests[shots],
        photos.burst_thumbnails[shots],
        params.prepare.duplicate_max_bits,
        params.prepare.duplicate_min_correlation,
        lambda position: photos.burst_pictures[shots[position]],
    )
    return positions[groups == positions]


def _p_values(
    photos: Photos, params: Params, draw: Callable[[np.random.Generator], Draw], batches: int, name: str
) -> list[float]:
    found = []
    for seed in progress(range(batches), name, unit="batch"):
        rows, vectors, statistics = draw(np.random.default_rng([seed, batches]))
        reference = Reference(
            rows, photos.vectors["as they are"][rows], photos.statistics["as they are"][rows]
        )
        drift = compare(reference, vectors, statistics, dataclasses.replace(params.monitor, seed=seed))
        found.append(1.0 if drift.p_value is None else drift.p_value)  # too few for a verdict: no alarm
    return found


if __name__ == "__main__":
    main()
