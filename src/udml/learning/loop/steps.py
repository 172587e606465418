"""Optimiser steps: batches drawn and made ahead, the two losses, the weights and their average.

Shapes: b images of a batch, S = input_px, d length of embeddings.
"""

import functools
import math
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from udml.config import Train
from udml.learning.labels.number import doubtful_strength, found_clearly
from udml.learning.loop.batches import draw_batch, members_by_cluster
from udml.learning.loop.replay import Replay
from udml.learning.loop.run import Run
from udml.learning.loop.schedule import Leg, leg_of, planned_steps
from udml.learning.losses import NTXent
from udml.learning.model.network import ROTATIONS
from udml.learning.views.device import resident_views, send
from udml.learning.views.training import draw_all, prefetch, random_views, variation_of
from udml.progress import progress

DOUBTFUL_RATE = 0.5  # chosen on training classes of cars98 that were left out (docs/labels.md)
CLEAR_TEMPERATURE = 0.7  # of the loss's own; chosen on those of places, omniglot and grocery (docs/labels.md)
_SHOW_EVERY_SECONDS = 1.0


def take_steps(run: Run, until: int) -> None:
    """Optimiser steps `run.state.step` .. `until` - 1 on the round's clusters."""
    params = run.params
    members = members_by_cluster(run.state.assignment, params.min_points_per_cluster)
    steps = range(run.state.step, until)
    batch = params.clusters_per_batch * params.images_per_cluster
    began, outcomes = time.perf_counter(), []
    shown = began
    make = lambda step: make_batch(run, members, step)  # noqa: E731
    bar = progress(prefetch(make, steps), f"train to {until}/{_leg(run).end}", len(steps), "step")
    bar.disable = not run.device.accelerator.is_main_process
    set_temperature(run)
    take = _taker(run)
    for step, (views, labels) in zip(steps, bar, strict=True):
        set_learning_rate(run, step)
        outcomes.append(take(views, labels))
        if time.perf_counter() - shown > _SHOW_EVERY_SECONDS:  # to look makes the CPU wait for the GPU
            shown = time.perf_counter()
            speed = batch * (step - run.state.step + 1) / (shown - began)
            losses = f"metric {outcomes[-1][0]:.3f} rotation {outcomes[-1][1]:.3f}"
            bar.set_postfix_str(f"{losses} {speed:.0f} images/s", refresh=False)
    run.state.step = until
    mean = torch.stack(outcomes).cpu().double().mean(dim=0)
    run.state.last_losses = {
        "metric_loss": float(mean[0]),
        "rotation_loss": float(mean[1]),
        "rotation_accuracy": float(mean[2]),
        "images_per_second": len(steps) * batch / (time.perf_counter() - began),
    }


def _taker(run: Run) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """`_step` of a run, or the record of it."""
    step = functools.partial(_step, run)
    if not run.device.replayed:
        return step
    run.device.replay = run.device.replay or Replay(step)
    return run.device.replay


def make_batch(run: Run, members: dict[int, np.ndarray], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A step's views that fall to this process, uint8 [b / processes, S, S, 3], and all b pseudo-labels.

    Both are on the device.
    """
    params = run.params
    rows = draw_batch(members, params.clusters_per_batch, params.images_per_cluster, [params.seed, step])
    share = len(rows) // run.device.accelerator.num_processes
    first = share * run.device.accelerator.process_index
    mine = rows[first : first + share]
    variation = variation_of(params)
    seed = [params.seed, step]
    device = run.device.accelerator.device
    labels = send(run.state.assignment[rows], device)
    if run.data.bank is not None:
        return send(run.data.bank.draw(rows, seed)[first : first + share], device), labels
    if run.device.resident is None:
        images = [run.data.images[int(row)] for row in mine]
        return send(random_views(images, params.input_px, variation, seed, first), device), labels
    drawn = draw_all(run.device.resident.size[mine].tolist(), variation, seed, first)
    return resident_views(run.device.resident, mine, drawn, params.input_px), labels


def set_learning_rate(run: Run, step: int) -> None:
    """Give the optimiser the learning rate of a step, where a recorded step finds it too."""
    rate = learning_rate(run.params, _leg(run), step) * _caution(run)
    for group in run.optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _caution(run: Run) -> float:
    """What the learning rate is multiplied by: doubtful pseudo-classes teach less that is wrong so."""
    rounds = run.state.rounds
    return DOUBTFUL_RATE if rounds and doubtful_strength(rounds[0]) is not None else 1.0


def set_temperature(run: Run) -> None:
    """Let NT-Xent look harder at an anchor's nearest negatives where these are other things indeed.

    Where clusters are parts of classes, the nearest are of the same class as often as not.
    """
    loss, rounds = run.loss.loss, run.state.rounds
    if isinstance(loss, NTXent):
        clear = bool(rounds) and found_clearly(rounds[0])
        loss.temperature = run.params.losses["nt_xent"]["temperature"] * (CLEAR_TEMPERATURE if clear else 1.0)


def _leg(run: Run) -> Leg:
    """The present leg; where no round has decided on one, as in a benchmark of steps, the whole training."""
    planned = planned_steps(run.params, len(run.data.images), run.clusters)
    return leg_of(run.state.rounds) or Leg(0, planned, planned, 0.0, 1.0, straight=True)


def learning_rate(params: Train, leg: Leg, step: int) -> float:
    """The learning rate of a step: constant, or falling to 0 along half a cosine."""
    if params.learning_rate_schedule == "constant":
        return params.learning_rate
    return params.learning_rate * 0.5 * (1 + math.cos(leg.angle(step)))


@torch.no_grad()
def _update_average(run: Run) -> None:
    """Let the averaged weights follow the trained ones.

    The average is what is clustered, judged and shipped: pseudo-labels then move less from round to
    round, and a checkpoint no longer depends on its last few batches.
    """
    pairs = [
        (mean, trained)
        for mean, trained in zip(run.average.parameters(), run.network.parameters(), strict=True)
        if trained.requires_grad
    ]
    means, trained = [list(side) for side in zip(*pairs, strict=True)]
    torch._foreach_lerp_(means, trained, 1 - run.params.average_decay)


def _step(run: Run, views: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One optimiser step; returns metric loss, rotation loss and rotation accuracy, on the device.

    Nothing in it waits for a GPU, but for some of the losses: while one step runs, the next is asked for.
    """
    weight = run.params.rotation_weight
    run.optimiser.zero_grad(set_to_none=True)  # before a replayed forward pass, which reuses their memory
    with run.device.accelerator.autocast():
        embeddings, logits = run.forward(run.device.normalise(views))
    metric_loss = run.loss(_gather(run, embeddings.float()), labels)
    rotation_loss, accuracy = metric_loss.new_zeros(()), metric_loss.new_zeros(())
    if weight:
        turns = torch.arange(ROTATIONS, device=logits.device).repeat_interleave(len(logits) // ROTATIONS)
        rotation_loss = F.cross_entropy(logits.float(), turns)
        accuracy = (logits.argmax(1) == turns).float().mean()
    run.device.accelerator.backward(metric_loss + weight * rotation_loss)
    run.optimiser.step()
    _update_average(run)
    return torch.stack([metric_loss, rotation_loss, accuracy]).detach()


def _gather(run: Run, embeddings: torch.Tensor) -> torch.Tensor:
    """All processes' embeddings in order, with gradients; the loss then sees the whole batch."""
    if run.device.accelerator.num_processes == 1:
        return embeddings
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(embeddings))
