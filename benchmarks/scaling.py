"""What each stage costs as the collection grows: seconds and memory at several sizes, in a table and a plot.

    python -m benchmarks.scaling --data ../shared/data/grocery

The collections are random crops of the photos of the Grocery Store Dataset, as in `benchmarks.prepare`. Every
stage runs once at each size, as its own command, with the settings of params.yaml; only training is cut
to one round of `recluster_every_steps` steps, so that what grows with the collection (embedding and
clustering it, twice) is not hidden behind steps that don't. Finished sizes are kept in the work directory.

"Exponent" is the slope of log seconds over log images: by least squares over all sizes, and from the
last size but one to the last, where what a stage costs on any collection weighs least.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import yaml

from benchmarks.contenders import exponent, machine
from benchmarks.prepare import Run, crops, import_crops, run_command
from benchmarks.settings import ROOT
from udml.files import write_json

SIZES = (1_000, 10_000, 100_000)
Costs = dict[str, Run]


def main() -> None:
    """Run what is not there yet, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the unpacked Grocery Store Dataset")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-prepare"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "scaling.svg")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: there is a cluster")
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    found = {size: costs(options.data, options.work, size, options.engine) for size in sorted(options.sizes)}
    print(table(found))
    draw(found, options.plot)


def costs(data: Path, work: Path, size: int, engine: str = "local") -> Costs:
    """Each stage's cost on a collection of `size` crops, by name, in order."""
    name = f"scaling-{size}" if engine == "local" else f"scaling-{engine}-{size}"
    done = work / f"{name}.json"
    if done.exists():
        return {name: Run(**cost) for name, cost in json.loads(done.read_text()).items()}
    folder, workspace = crops(data, work / f"crops-{size}", size), work / name
    shutil.rmtree(workspace, ignore_errors=True)
    found = {"import": import_crops(folder, workspace)}
    _settle(workspace / "params.yaml", engine)
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        found[stage] = run_command(workspace, str(Path(sys.executable).parent / "udml"), stage)
    write_json(done, {name: asdict(cost) for name, cost in found.items()})
    shutil.rmtree(workspace)
    return found


def _settle(path: Path, engine: str) -> None:
    """Training cut short, and who does the work."""
    params = yaml.safe_load(path.read_text())
    params["compute"]["engine"] = engine
    params["train"]["steps"] = params["train"]["recluster_every_steps"]
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def table(found: dict[int, Costs]) -> str:
    """Seconds and peak memory of each stage at each size, and how fast the seconds grow."""
    sizes = list(found)
    heads = [f"{size:,}: s | MiB" for size in sizes]
    lines = [f"| stage | {' | '.join(heads)} | exponent | at the end |"]
    lines.append("|---|" + "---|" * (2 * len(sizes) + 2))
    for stage in found[sizes[0]]:
        runs = [found[size][stage] for size in sizes]
        cells = [f"{run.seconds:,.1f} | {run.peak_mib:,.0f}" for run in runs]
        seconds = [run.seconds for run in runs]
        parts = [(sizes, seconds), (sizes[-2:], seconds[-2:])] if len(sizes) > 1 else []
        slopes = [f"{exponent(*part):.2f}" for part in parts] or ["", ""]
        lines.append(f"| {stage} | {' | '.join(cells)} | {' | '.join(slopes)} |")
    return "\n".join(lines)


def draw(found: dict[int, Costs], path: Path) -> None:
    """Seconds over images, both logarithmic, a line per stage, and a dotted one that grows as images do."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    sizes = list(found)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for stage in found[sizes[0]]:
        axes.plot(sizes, [found[size][stage].seconds for size in sizes], marker="o", label=stage)
    linear = [found[sizes[0]]["prepare"].seconds * size / sizes[0] for size in sizes]
    axes.plot(sizes, linear, linestyle=":", color="grey", label="grows as images do")
    axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
