"""The training loop: cluster, judge, save, train; again until `schedule` ends it.

One round is: embed every training image by its fixed view, cluster the embeddings into
pseudo-classes, measure how healthy and how good they are, decide what follows, write a checkpoint, take
the optimiser steps of that. arXiv 1911.07072, section 3, with the release's faults left
out (fixed views instead of random crops, no label ever looked at).

Shapes: n training images, h held-out images, S = input_px, c and d lengths of features and embeddings.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from udml.config import Train
from udml.errors import UdmlError
from udml.evaluation.labelfree import augmentation_retrieval, effective_rank, neighbours_found_again
from udml.learning import selection
from udml.learning.labels.pseudo_labels import (
    RANK_SAMPLE,
    Clustering,
    churn,
    cluster_health,
    nmi,
    unit_means,
)
from udml.learning.loop.checkpoint import (
    BEST_FILE,
    SHIPPED_FILE,
    WHITENED_FILE,
    Progress,
    save_checkpoint,
    write_tensors,
)
from udml.learning.loop.clustering import agreed, find_number, pseudo_labels
from udml.learning.loop.embedding import (
    averaged_over_views,
    embed,
    embed_features,
    is_finished,
    shipping_head,
)
from udml.learning.loop.run import Run, TrainingSet, start_run
from udml.learning.loop.schedule import UNFIT, Clock, decide, leg_of
from udml.learning.loop.steps import take_steps
from udml.learning.losses import set_proxies
from udml.learning.mixing import unit_rows
from udml.learning.model.head import finish_head, principal_head, start_head
from udml.learning.model.network import Network
from udml.learning.model.preprocess import Channels
from udml.learning.model.tuning import merged
from udml.progress import say_going_on


def fit(
    network: Network,
    data: TrainingSet,
    params: Train,
    mean_std: tuple[Channels, Channels],
    scratch: Path,
    on_round: Callable[[dict[str, Any]], None] = lambda record: None,
) -> list[dict[str, Any]]:
    """Train `network`; leaves the weights to ship in `scratch`/shipped.safetensors.

    A checkpoint in `scratch` is resumed. On the CPU the outcome is bit-identical whether or not the
    run was killed in between.

    Args:
        network: pretrained trunk, fresh heads.
        data: see `TrainingSet`.
        params: the `train` section.
        mean_std: of the backbone, on the 0..255 scale.
        scratch: a directory that outlives a kill.
        on_round: called with each round's record, restored ones included.

    Returns:
        One record per round; `picked` marks the one that ships.

    Raises:
        UdmlError: if no round was healthy, or the data are too few for a batch.
    """
    run = start_run(network, data, params, mean_std, scratch)
    if run.device.accelerator.is_main_process:
        going_to = run.state.rounds[-1]["planned_end"] if run.state.rounds else 0
        say_going_on(run.state.step if run.state.rounds else 0, going_to, "step")
    for record in run.state.rounds:
        on_round(record)
    while True:
        resumed = bool(run.state.rounds) and run.state.rounds[-1]["step"] == run.state.step
        if not resumed:
            judge_and_cluster(run)
            on_round(run.state.rounds[-1])
        leg = leg_of(run.state.rounds)
        if leg is None or not run.state.rounds[-1]["healthy"]:
            break
        take_steps(run, leg.until)
    if run.state.best_round < 0:
        raise UdmlError(
            f"no checkpoint was healthy: {run.state.rounds[-1]['verdict']}", "lower train.learning_rate"
        )
    _finish(run)
    for index, record in enumerate(run.state.rounds):
        record["picked"] = index == run.state.best_round
    return run.state.rounds


# --- one round --------------------------------------------------------------------------------------


def judge_and_cluster(run: Run) -> None:
    """Embed, cluster, measure, pick, save: everything of a round that is not an optimiser step."""
    params, first = run.params, not run.state.rounds
    features, embeddings = embed(run, run.data.views, f"round {len(run.state.rounds)}: embed", True)
    if first and np.isfinite(features).all():
        whitened = principal_head(features, params.embedding_dim, params.head_whitening)
        _keep_whitened(run, *whitened)
        if params.head_start == "pca":
            start_head(run.network.embedding_head, *whitened)
            run.average.load_state_dict(run.network.state_dict())
            embeddings = embed_features(run, features, run.average.embedding_head)
    frozen_rank = (
        effective_rank(unit_rows(features[:RANK_SAMPLE]))
        if first
        else run.state.rounds[0]["frozen_effective_rank"]
    )
    record = {
        "round": len(run.state.rounds),
        "step": run.state.step,
        "frozen_effective_rank": frozen_rank,
        **run.state.last_losses,
    }
    losses_finite = all(np.isfinite(value) for value in run.state.last_losses.values())
    if not (losses_finite and np.isfinite(embeddings).all()):
        reason = "the loss or the embeddings are not finite numbers"
        finite_losses = {k: v if np.isfinite(v) else None for k, v in run.state.last_losses.items()}
        ended = {"ended_by": UNFIT, "more_would_pay": None}
        run.state.rounds.append(record | finite_losses | {"healthy": False, "verdict": reason} | ended)
        return
    head = shipping_head(run, features)
    shipping = embed_features(run, features, head)
    seen, vectors = features, shipping
    if run.data.further_views and run.data.taught is None:
        seen = averaged_over_views(run, features)
        vectors = embed_features(run, seen, head)
    # with a random head the trunk's own features are the better start, as in the paper
    if first and params.head_start == "random":
        vectors = unit_rows(seen)
    found = find_number(run, vectors) if first else {}
    clustering = pseudo_labels(run, vectors, first)
    # proxies live where the loss does, before the head is finished
    proxies = unit_means(embeddings, clustering.assignment, run.clusters)
    set_proxies(run.loss, torch.from_numpy(proxies))
    record |= {
        **found,
        **cluster_health(clustering, embeddings, params.min_points_per_cluster, params.seed),
        "churn": None if first else churn(run.state.assignment, clustering.assignment),
        "label_nmi": _label_nmi(run.data.monitor_labels, clustering.assignment),
        **_scores(run, head, shipping),
    }
    verdict = selection.judge(
        record["effective_rank"], frozen_rank, 0.0 if first else params.min_effective_rank_share
    )
    run.state.rounds.append(record | {"healthy": verdict == "", "verdict": verdict})
    run.state.assignment = clustering.assignment
    _decide(run)
    _save(run, clustering)


def _decide(run: Run) -> None:
    """What follows this round, in its record; all processes go by the first one's clock and figures."""
    params, rounds = run.params, run.state.rounds
    clock = None
    if params.budget_minutes is not None:
        before = rounds[-2]["seconds"] if len(rounds) > 1 else 0.0
        steps = run.state.step - (rounds[-2]["step"] if len(rounds) > 1 else 0)
        speed = run.state.last_losses.get("images_per_second")
        a_step = params.clusters_per_batch * params.images_per_cluster / speed if speed else 0.0
        spent = time.perf_counter() - run.began
        rounds[-1]["seconds"] = spent
        clock = Clock(spent, a_step, max(0.0, spent - before - steps * a_step))
    rounds[-1] |= agreed(run, decide(params, len(run.data.images), run.clusters, rounds, clock))


def _keep_whitened(run: Run, weight: np.ndarray, bias: np.ndarray) -> None:
    """Keep the head that whitens the pretrained trunk: what training has to beat."""
    if run.device.accelerator.is_main_process:
        tensors = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
        write_tensors(run.scratch / WHITENED_FILE, tensors)


def _scores(run: Run, head: nn.Linear, embeddings: np.ndarray) -> dict[str, float]:
    """The label-free scores: held-out images and their neighbours, found by strong views among all images."""
    held, strong = (
        embed_features(run, embed(run, views, "", True)[0], head)
        for views in (run.data.held_views, run.data.held_strong_views)
    )
    gallery = np.concatenate([held, embeddings])
    positive = np.arange(len(held))
    found = augmentation_retrieval(strong, gallery, positive)
    kept = neighbours_found_again(strong, gallery, positive)
    return {
        "score": found["r1"],
        "score_mrr": found["mrr"],
        "score_neighbours": float(kept.mean()),
        "score_neighbours_error": float(kept.std() / np.sqrt(len(kept))),
    }


def _label_nmi(labels: np.ndarray | None, assignment: np.ndarray) -> float | None:
    return None if labels is None else nmi(labels, assignment)


def _save(run: Run, clustering: Clustering) -> None:
    """Keep the weights if they are to be picked so far, then the checkpoint that refers to them.

    Every process comes to the same decision; one of them writes.
    """
    record = run.state.rounds[-1]
    is_best = record["healthy"] and selection.picks_latest(
        [(r["score_neighbours"], r["score_neighbours_error"]) for r in run.state.rounds if r["healthy"]]
    )
    if is_best:
        run.state.best_round = record["round"]
    if run.device.accelerator.is_main_process:
        assignment = torch.from_numpy(clustering.assignment)
        if is_best:
            weights = {f"network/{name}": value for name, value in run.average.state_dict().items()}
            clusters = {"assignment": assignment, "similarity": torch.from_numpy(clustering.similarity)}
            write_tensors(run.scratch / BEST_FILE, weights | clusters)
        state = Progress(run.state.step, run.state.rounds, run.state.best_round)
        save_checkpoint(run.scratch, run.modules, run.optimiser, {"assignment": assignment}, state)
    run.device.accelerator.wait_for_everyone()


def _finish(run: Run) -> None:
    """Finish the picked model's head, as it was judged, and write its weights again, ready to ship."""
    best = load_file(run.scratch / BEST_FILE)
    run.average.load_state_dict(
        {name.removeprefix("network/"): value for name, value in best.items() if name.startswith("network/")}
    )
    if is_finished(run.params, run.state.rounds[run.state.best_round]["step"]):
        features = embed(run, run.data.views, "finish: embed", True)[0]
        finish_head(run.average.embedding_head, features, run.params.head_whitening)
    if run.device.accelerator.is_main_process:
        shipped = {f"network/{name}": value for name, value in merged(run.average).state_dict().items()}
        clusters = {name: value for name, value in best.items() if not name.startswith("network/")}
        write_tensors(run.scratch / SHIPPED_FILE, clusters | shipped)
    run.device.accelerator.wait_for_everyone()
