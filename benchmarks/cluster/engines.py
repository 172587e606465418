"""The Ray engine beside the local one: seconds of `prepare` and `index` on as many cores, and their files.

    unset PYTHONDONTWRITEBYTECODE    # or each process compiles its modules again
    ray start --head --num-cpus 2 --disable-usage-stats
    python -m benchmarks.cluster.engines --data ../shared/data/grocery --model artifacts/export

The files are crops as in `benchmarks.prepare`. Each engine runs each stage in turn, `--rounds` times over,
from nothing; the Ray engine on the cluster that this machine is part of, which must have as many cores in all
as the local one uses. Both sides include the start of their processes. "Same files" compares all that the
two have left, byte by byte.
"""

import argparse
import hashlib
import shutil
import statistics
import sys
from pathlib import Path

import yaml

from benchmarks.contenders import machine, spread
from benchmarks.prepare import Run, crops, import_crops, run_command

SIZES = (5_000, 20_000)
ENGINES = ("local", "ray")
STAGES = {"prepare": "prepare", "index": "index"}  # command, and what it writes below artifacts/


def main() -> None:
    """Run both engines at every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--model", type=Path, help="what an export stage wrote; default: `prepare` only")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-prepare"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}; {options.rounds} rounds\n", flush=True)
    print("| files | stage | local, s | Ray, s | overhead, % | same files |\n|---|---|---|---|---|---|")
    for size in options.sizes:
        workspace = options.work / f"ray-{size}"
        if not (workspace / "data").exists():
            import_crops(crops(options.data, options.work / f"crops-{size}", size), workspace)
        for stage in STAGES if options.model else ("prepare",):
            if stage == "index":
                shutil.copytree(options.model, workspace / "artifacts" / "export", dirs_exist_ok=True)
            print(_row(workspace, stage, size, options.rounds), flush=True)


def _row(workspace: Path, stage: str, size: int, rounds: int) -> str:
    runs: dict[str, list[Run]] = {engine: [] for engine in ENGINES}
    found: dict[str, set[str]] = {engine: set() for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            out = workspace / "artifacts" / STAGES[stage]
            shutil.rmtree(out, ignore_errors=True)
            _set_engine(workspace / "params.yaml", engine)
            runs[engine].append(run_command(workspace, str(Path(sys.executable).parent / "udml"), stage))
            found[engine].add(_digest(out))
    local, ray = ([run.seconds for run in runs[engine]] for engine in ENGINES)
    over = 100 * (statistics.median(ray) / statistics.median(local) - 1)
    same = "yes" if found["local"] == found["ray"] and len(found["ray"]) == 1 else "no"
    return f"| {size:,} | {stage} | {spread(local)} | {spread(ray)} | {over:.0f} | {same} |"


def _set_engine(path: Path, engine: str) -> None:
    params = yaml.safe_load(path.read_text())
    params["compute"]["engine"] = engine
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def _digest(directory: Path) -> str:
    """Of the names and the content of all files below."""
    whole = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        whole.update(str(path.relative_to(directory)).encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
