"""The stage `prepare` beside the bare decoder, from 1,000 to 100,000 JPEG files.

    python -m benchmarks.prepare --data ../shared/data/grocery

The files are random crops of the photos of the Grocery Store Dataset, made once and kept in the work
directory. For every size, in turn and `--rounds` times over:

bare       the decoder alone, over the same files' bytes, in as many processes as `prepare` uses
prepare    `udml prepare`: decode, hash, thumbnails, duplicates, splits, catalogue and pixel store
again      `dvc repro prepare` when nothing has changed

With --steps it is told instead what each step of `prepare` takes of a core for a file: processor time, the
steps in turns, so that other work on the machine counts little.
"""

import argparse
import hashlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from benchmarks.contenders import exponent, machine, spread
from benchmarks.settings import ROOT
from udml.config import load_params
from udml.data.decoding import pixel_digest
from udml.data.duplicates import duplicate_thumbnail
from udml.data.statistics import sharpness
from udml.machine import usable_cores
from udml.pixels import Decoded, decode
from udml.progress import progress

SIZES = (1_000, 10_000, 100_000)
SIDES_PX = (200, 340)  # of the crops; the photos' shorter side has 348
PER_FOLDER = 1_000
STEP_FILES = 500


@dataclass(frozen=True)
class Run:
    """One command: how long it took and the memory of its largest process."""

    seconds: float
    peak_mib: float


def main() -> None:
    """Make the files, run the contenders and print the table, or run the bare decoder alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-prepare"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", action="store_true", help="what each step takes, of 500 files")
    parser.add_argument("--bare", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        decode_all(options.bare)
        return
    if options.data is None:
        parser.error("--data is needed")
    print(f"{machine()}; {options.rounds} rounds\n", flush=True)
    if options.steps:
        print_steps(
            crops(options.data, options.work / f"crops-{min(options.sizes)}", min(options.sizes)),
            options.rounds,
        )
        return
    runs = {size: _alternate(options.data, options.work, size, options.rounds) for size in options.sizes}
    print("| files | bare, files/s | prepare, files/s | of the bare speed, % | peak memory, MiB | again, s |")
    print("|---|---|---|---|---|---|")
    for size, kinds in runs.items():
        bare, own, again = kinds["bare"], kinds["prepare"], kinds["again"]
        cells = [
            spread([size / run.seconds for run in bare], 0),
            spread([size / run.seconds for run in own], 0),
            spread([100 * a.seconds / b.seconds for a, b in zip(bare, own, strict=True)], 0),
            spread([run.peak_mib for run in own], 0),
            spread([run.seconds for run in again]),
        ]
        print(f"| {size:,} | {' | '.join(cells)} |")
    if len(runs) > 1:
        medians = [statistics.median(run.seconds for run in kinds["prepare"]) for kinds in runs.values()]
        print(f"\nSeconds of prepare grow as files ** {exponent(list(runs), medians):.2f}.")


def _alternate(data: Path, work: Path, size: int, rounds: int) -> dict[str, list[Run]]:
    folder, workspace = crops(data, work / f"crops-{size}", size), work / f"workspace-{size}"
    if not (workspace / "data").exists():
        import_crops(folder, workspace)
    own = Path(sys.executable).parent
    found: dict[str, list[Run]] = {"bare": [], "prepare": [], "again": []}
    for _ in range(rounds):
        found["bare"].append(
            run_command(ROOT, sys.executable, "-m", "benchmarks.prepare", "--bare", str(folder.resolve()))
        )
        shutil.rmtree(workspace / "artifacts", ignore_errors=True)
        found["prepare"].append(run_command(workspace, str(own / "udml"), "prepare"))
        run_command(workspace, str(own / "dvc"), "commit", "-q", "-f", "prepare")
        found["again"].append(run_command(workspace, str(own / "dvc"), "repro", "prepare"))
    return found


def print_steps(folder: Path, rounds: int) -> None:
    """Microseconds of a core a file, step by step, and how many hundredths of decoding that is."""
    data = [file.read_bytes() for file in sorted(folder.rglob("*.jpg"))[:STEP_FILES]]
    found: dict[str, list[float]] = {}
    with Path(os.devnull).open("wb") as nowhere:
        steps = _steps(data, nowhere)
        for _ in range(rounds):
            for name, (step, inputs) in steps.items():
                began = time.process_time()
                for one in inputs:
                    step(one)
                found.setdefault(name, []).append(1e6 * (time.process_time() - began) / len(inputs))
    print("| step | microseconds | of decoding, % |\n|---|---|---|")
    for name, each in found.items():
        ratios = [100 * a / b for a, b in zip(each, found["decoding"], strict=True)]
        print(f"| {name} | {spread(each, 0)} | {spread(ratios, 1)} |")


def _steps(data: Sequence[bytes], out: BinaryIO) -> dict[str, tuple[Callable[[Any], object], Sequence[Any]]]:
    """What is done with a file, and what it is done to: one a file."""
    params = load_params().prepare

    def decoded(one: bytes) -> Decoded:
        return decode(one, params.store_short_side_px, params.min_side_px, params.max_pixels)

    images = [decoded(one) for one in data]
    pictures = [Image.fromarray(image.pixels) for image in images]
    greys = [np.asarray(picture.convert("L")) for picture in pictures]
    return {
        "decoding": (decoded, data),
        "thumbnail": (duplicate_thumbnail, pictures),
        "sharpness": (sharpness, greys),
        "picture of the pixels": (lambda image: Image.fromarray(image.pixels), images),
        "grey": (lambda picture: np.asarray(picture.convert("L")), pictures),
        "brightness": (np.mean, greys),
        "sha256 of the file": (lambda one: hashlib.sha256(one).hexdigest(), data),
        "digest of the pixels": (lambda image: pixel_digest(image.pixels), images),
        "pixels given to a file": (lambda image: out.write(image.pixels.data), images),
    }


def run_command(where: Path, *command: str) -> Run:
    """Run a command and wait for it.

    Raises:
        RuntimeError: if it fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=where, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed in {where}")
    return Run(seconds, usage.ru_maxrss / 1024)


def crops(data: Path, folder: Path, size: int) -> Path:
    """A folder of `size` JPEG files, made unless it is there."""
    if folder.exists():
        return folder
    photos = sorted(data.rglob("*.jpg"))
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    rng = np.random.default_rng(size)
    for number in progress(range(size), f"{size:,} crops", unit="file"):
        with Image.open(photos[int(rng.integers(len(photos)))]) as photo:
            width, height = (int(side) for side in rng.integers(*SIDES_PX, 2))
            left, top = int(rng.integers(photo.width - width)), int(rng.integers(photo.height - height))
            crop = photo.convert("RGB").crop((left, top, left + width, top + height))
        place = making / f"{number // PER_FOLDER:03d}"
        place.mkdir(parents=True, exist_ok=True)
        crop.save(place / f"{number:06d}.jpg", quality=90)
    return making.rename(folder)


def import_crops(folder: Path, workspace: Path) -> Run:
    """Make a workspace and import the files into it; what the import cost."""
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, workspace)
    (workspace / "src").symlink_to(ROOT / "src")
    own = Path(sys.executable).parent
    run_command(workspace, str(own / "dvc"), "init", "-q", "--no-scm")
    return run_command(workspace, str(own / "udml"), "data", "import", str(folder.resolve()))


# --- the bare decoder -----------------------------------------------------------------------------


def decode_all(folder: Path) -> None:
    """Decode every file below `folder` as `prepare` does, and keep nothing."""
    files = sorted(folder.rglob("*.jpg"))
    workers = usable_cores()
    per_task = max(1, math.ceil(len(files) / (8 * workers)))
    tasks = [files[start : start + per_task] for start in range(0, len(files), per_task)]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_decode, tasks))


def _decode(files: list[Path]) -> None:
    params = load_params().prepare
    for file in files:
        decode(file.read_bytes(), params.store_short_side_px, params.min_side_px, params.max_pixels)


if __name__ == "__main__":
    main()
