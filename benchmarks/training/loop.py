"""How much of the bare network's speed the training loop keeps.

    python -m benchmarks.training.loop --prepared artifacts/prepare
    python -m benchmarks.training.loop --backbone resnet50 --untrained --input-px 224

Alternates, in one process, stretches of the real training loop (random crops made while it runs,
pseudo-label loss, rotation, optimiser, weight averaging) with the bare forward and backward pass of
such a batch that is already there. Other settings are those of params.yaml; the device is the one that
`train` would choose, and what it compiles and replays is compiled and replayed for the bare pass too.

On a GPU it also says what share of the speed of a large bf16 matrix product that is, measured beside it, and
which kernels take the time. Rotated copies count as arithmetic, not as images.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.contenders import spread
from benchmarks.training.train import Photos, our_start
from udml.config import load_params
from udml.data.catalog import read_catalog
from udml.learning.loop.batches import members_by_cluster
from udml.learning.loop.replay import Replay
from udml.learning.loop.run import Run
from udml.learning.loop.steps import make_batch, take_steps
from udml.machine import keep_freed_memory, usable_cores

MATRIX_SIDE = 8192


def main() -> None:
    """Run and print the two speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", type=Path, default=Path("artifacts/prepare"))
    parser.add_argument("--backbone", help="default: that of params.yaml")
    parser.add_argument("--untrained", action="store_true", help="random weights: nothing to download")
    parser.add_argument("--input-px", type=int, help="default: that of params.yaml")
    parser.add_argument("--steps", type=int, default=10, help="steps of a stretch")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each kind")
    options = parser.parse_args()
    keep_freed_memory()
    params = load_params().train
    params = dataclasses.replace(
        params,
        backbone=options.backbone or params.backbone,
        pretrained=params.pretrained and not options.untrained,
        input_px=options.input_px or params.input_px,
    )
    with tempfile.TemporaryDirectory() as scratch:
        photos = Photos(Path(), options.prepared, read_catalog(options.prepared), params)
        run = our_start(photos, params, Path(scratch))
        # which images meet does not matter here
        run.state.assignment = np.arange(len(run.data.images)) % run.clusters
        members = members_by_cluster(run.state.assignment, params.min_points_per_cluster)
        resident = run.device.normalise(make_batch(run, members, 0)[0])
        compare(run, resident, options.steps, options.repeats)


def compare(run: Run, resident: torch.Tensor, steps: int, repeats: int) -> None:
    """Print what the loop and the bare pass of the batch `resident`, float [b, 3, S, S], do in turns."""
    device, batch = run.device.accelerator.device, len(resident)
    bare_pass: Callable[[], torch.Tensor] = lambda: _bare(run, resident)  # noqa: E731
    if device.type == "cuda":
        bare_pass = Replay(bare_pass)
    take_steps(run, 5)  # compiles and records, on a GPU
    _times(5, bare_pass)
    loop, bare = [], []
    for _ in range(repeats):
        run.state.step = 0  # the same batches each time
        loop.append(_speed(lambda: take_steps(run, steps), steps * batch))
        bare.append(_speed(lambda: _times(steps, bare_pass), steps * batch))
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{usable_cores()} cores"
    what = f"{run.params.backbone}, {run.params.input_px} px, batch {batch}"
    print(f"{what}, torch {torch.__version__}, {where}\n")
    print("| | |\n|---|---|")
    print(f"| training loop, images/s | {spread(loop, 0)} |")
    print(f"| bare pass, images/s | {spread(bare, 0)} |")
    print(f"| ratio | {spread([a / b for a, b in zip(loop, bare, strict=True)], 2)} |")
    if device.type == "cuda":
        reached = {"training loop": statistics.median(loop), "bare pass": statistics.median(bare)}
        _say_share_of_peak(_flops(run, resident) / batch, reached)
        _say_which_kernels(lambda: _times(5, bare_pass))


def _bare(run: Run, resident: torch.Tensor) -> torch.Tensor:
    with run.device.accelerator.autocast():
        embeddings, logits = run.forward(resident)
    total = embeddings.sum() + logits.sum()
    total.backward()
    run.optimiser.zero_grad(set_to_none=True)
    return total.detach()


def _times(count: int, work: Callable[[], object]) -> None:
    for _ in range(count):
        work()


def _speed(work: Callable[[], object], amount: float) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return amount / (time.perf_counter() - began)


# --- what bounds a GPU ----------------------------------------------------------------------------


def _say_share_of_peak(flops_per_image: float, images_per_second: dict[str, float]) -> None:
    product = _matrix_flops_per_second()
    print(f"| arithmetic, GFLOP an image | {flops_per_image / 1e9:.2f} |")
    print(f"| bf16 matrix product, TFLOP/s | {product / 1e12:.0f} |")
    for name, speed in images_per_second.items():
        reached = speed * flops_per_image
        print(f"| {name}, TFLOP/s | {reached / 1e12:.1f}: {reached / product:.1%} of the product's |")


def _say_which_kernels(work: Callable[[], object]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    microseconds: dict[str, float] = defaultdict(float)
    for kernel in profile.key_averages():
        microseconds[_family(kernel.key)] += kernel.self_device_time_total
    whole = sum(microseconds.values())
    print("\n| kernels of the bare pass | share of their time |\n|---|---|")
    for family, spent in sorted(microseconds.items(), key=lambda item: -item[1]):
        print(f"| {family} | {spent / whole:.1%} |")


def _family(kernel: str) -> str:
    """What a kernel does, told from its name."""
    families = {
        "depthwise convolution": ("c1_k1", "depthwise", "grouped"),
        "element by element, compiled": ("triton_poi",),
        "sums, compiled": ("triton_red", "triton_per"),
        "matrix product or full convolution": (
            "nvjet",
            "gemm",
            "cublas",
            "cutlass",
            "xmma",
            "convol",
            "cudnn",
        ),
    }
    fits = (name for name, parts in families.items() if any(part in kernel for part in parts))
    return next(fits, "other")


def _flops(run: Run, x: torch.Tensor) -> int:
    """Operations of one forward and backward pass of the layers with weights.

    Two for each multiplication and addition, and as many again for each gradient that is wanted. PyTorch's
    own counter takes the gradient of a grouped convolution's weight for an ungrouped one's.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.ndim == 1:
            return
        passes = 1 + weight.requires_grad + inputs[0].requires_grad
        total += passes * 2 * output.numel() * weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in run.network.modules()]
    with run.device.accelerator.autocast():
        run.forward.forward(x)  # not the compiled one, which runs no hooks
    for hook in hooks:
        hook.remove()
    return total


def _matrix_flops_per_second() -> float:
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE, device="cuda", dtype=torch.bfloat16).unbind()
    speeds = [_speed(lambda: torch.mm(left, right), 2 * MATRIX_SIDE**3) for _ in range(20)]
    return statistics.median(speeds[5:])


if __name__ == "__main__":
    main()
