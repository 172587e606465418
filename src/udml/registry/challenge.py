"""Set the workspace's model, the challenger, against the frozen backbone and the present champion.

Champion and challenger are scored on the same images: the test images of the workspace as it is now.
"""

import math
import shutil
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from udml import paths
from udml.config import Params, Retrain, load_params
from udml.data.catalog import open_store
from udml.errors import UdmlError
from udml.evaluation.evaluate import compare_with
from udml.evaluation.intervals import Estimate
from udml.evaluation.results import (
    BASELINES,
    LEAVE_ONE_OUT,
    LEAVE_ONE_OUT_REFINED,
    Evaluation,
    ModelEvaluation,
)
from udml.files import SCRATCH, atomic_directory, read_json, write_json
from udml.judgement.standing import Standing
from udml.learning.selection import judge
from udml.registry import store
from udml.registry.bundle import MODEL_FILE, workspace_sources
from udml.registry.gate import DIFFERENCE, TITLES, Decision, Measured, decide
from udml.registry.judged.gate import AUTO, judged_instead, with_judged
from udml.registry.judged.models import judged_standing, keep_standing
from udml.registry.lease import Lease, require_held
from udml.report.pictures import contact_sheet
from udml.search.embedder import Embedder

RESULT = SCRATCH / "challenge"
DECISION_FILE = "decision.json"
NEIGHBOURS_FILE = "changed-neighbours.jpg"
_LABEL_FREE = "label_free"
_EFFECTIVE_RANK = "effective_rank"
_SHOWN_QUERIES = 8
_SHOWN_NEIGHBOURS = 6
_SIDE_PX, _GAP_PX = 80, 6


@dataclass(frozen=True)
class Challenge:
    """What came of a challenge.

    Attributes:
        champion: the version that was challenged, "" if there was none.
        promote: whether the challenger may serve.
        reason: why, or why not, with numbers.
        gate: the decision in full, for the log.
        table: rows of "figure", "frozen backbone", the champion, "challenger", "difference".
    """

    champion: str
    promote: bool
    reason: str
    gate: dict[str, Any]
    table: list[dict[str, str]]


def challenge(models: Path) -> Challenge:
    """Judge the workspace's model; write decision.json, and a picture of changed neighbours, to `RESULT`.

    Raises:
        UdmlError: if the pipeline has not run, or the champion is not what was registered.
    """
    params, sources = load_params(), workspace_sources()
    if not sources.metrics.exists():
        raise UdmlError(f"no figures at {sources.metrics}", "run `dvc repro` first")
    metrics = read_json(sources.metrics)
    champion = store.champion_name(models)
    evaluation = None
    if champion is not None:
        store.verify(models, champion)
        evaluation = compare_with(store.version_directory(models, champion) / MODEL_FILE, params)
    standing = judged_standing(models) if params.retrain.metric == AUTO else None
    untrained = Embedder(sources.model).card.untrained
    decision = _decide(metrics, evaluation, f"champion {champion}", params, standing, untrained)
    table = comparison_table(metrics, evaluation, f"champion {champion}")
    if standing is not None:
        table = with_judged(table, standing)
        keep_standing(models, standing)
    result = Challenge(champion or "", decision.promote, decision.reason, asdict(decision), table)
    RESULT.parent.mkdir(exist_ok=True)
    with atomic_directory(RESULT) as unfinished:
        write_json(unfinished / DECISION_FILE, asdict(result))
        if evaluation is not None:
            picture_of_changes(evaluation).save(unfinished / NEIGHBOURS_FILE, "JPEG", quality=80)
    return result


def read_challenge(workspace: Path) -> Challenge:
    """The result that `challenge` left in a workspace."""
    return Challenge(**read_json(workspace / RESULT / DECISION_FILE))


def conclude(models: Path, workspace: Path, lease: Lease, revision: str) -> str:
    """Register what was judged in `workspace`, and promote or refuse it; returns the version's name.

    Raises:
        UdmlError: if the lease was lost, or the champion is another one by now. The champion stays.
    """
    judged = read_challenge(workspace)

    def check() -> None:
        require_held(lease)
        if (store.champion_name(models) or "") != judged.champion:
            raise UdmlError(
                f"the champion changed from {judged.champion or 'none'} to {store.champion_name(models)} "
                "while the challenger was judged",
                "run `udml retrain` again; what was computed is kept",
            )

    check()
    name = store.register(models, workspace_sources(workspace), revision).name
    act = store.promote if judged.promote else store.refuse
    act(models, name, judged.reason, check, judged.gate)
    shutil.rmtree(workspace / RESULT)
    return name


def _decide(
    metrics: dict[str, Any],
    evaluation: Evaluation | None,
    champion: str,
    params: Params,
    standing: Standing | None,
    untrained: bool,
) -> Decision:
    rank, frozen_rank = (metrics[kind][_LABEL_FREE][_EFFECTIVE_RANK] for kind in ("trained", "frozen"))
    frozen = against_frozen(metrics, params.retrain)
    other = against_champion(evaluation, champion, params.retrain) if evaluation else None
    return decide(
        judged_instead(frozen, standing, "baseline", params.retrain.min_gain_over_frozen),
        other and judged_instead(other, standing, "champion", -params.retrain.max_loss_to_champion),
        judge(rank, frozen_rank, params.train.min_effective_rank_share),
        params.retrain,
        untrained,
    )


def against_frozen(metrics: dict[str, Any], params: Retrain) -> Measured:
    """What metrics.json says of the challenger and the frozen backbone, whitened if it was."""
    protocol, metric = _ruler(metrics["trained"], params)
    kind = "whitened" if "whitened" in metrics else "frozen"
    trained, other = (metrics[name][protocol][metric] for name in ("trained", kind))
    if metric not in metrics["difference"].get(protocol, {}):
        raise UdmlError(
            f"{paths.METRICS} is of an older version: it lacks a difference of {metric} under {protocol}",
            "run `dvc repro evaluate`",
        )
    difference = Estimate(*(metrics["difference"][protocol][metric + end] for end in ("", "_low", "_high")))
    return Measured(BASELINES[kind], metric, trained, other, difference)


def against_champion(evaluation: Evaluation, name: str, params: Retrain) -> Measured:
    """What an evaluation whose `frozen` is the champion says of the two."""
    protocol, metric = _ruler(evaluation.trained.scores, params)
    challenger = _estimate(evaluation.trained, protocol, metric).value
    other = _estimate(evaluation.frozen, protocol, metric).value
    return Measured(name, metric, challenger, other, evaluation.differences[protocol][metric])


def _ruler(scored: Container[str], params: Retrain) -> tuple[str, str]:
    """Protocol and metric that decide: models are compared in the search that they ship with."""
    for protocol in (LEAVE_ONE_OUT_REFINED, LEAVE_ONE_OUT):
        if protocol in scored:
            return protocol, params.metric if params.metric != AUTO else "map_at_r"
    return _LABEL_FREE, params.label_free_metric


def _estimate(model: ModelEvaluation, protocol: str, metric: str) -> Estimate:
    return model.label_free[metric] if protocol == _LABEL_FREE else model.scores[protocol].estimates[metric]


def comparison_table(
    metrics: dict[str, Any], evaluation: Evaluation | None, champion: str
) -> list[dict[str, str]]:
    """Frozen backbone, champion and challenger side by side, for people: per cent, rank in dimensions."""
    rows = []
    for protocol, metric in (
        *((LEAVE_ONE_OUT, metric) for metric in ("recall_at_1", "map_at_r", "r_precision")),
        (LEAVE_ONE_OUT_REFINED, "map_at_r"),
        *((_LABEL_FREE, metric) for metric in ("neighbours_found_again", "found_again_at_1")),
        (_LABEL_FREE, _EFFECTIVE_RANK),
    ):
        if metric not in metrics["trained"].get(protocol, {}):  # an older udml left it out
            continue
        how = ", by neighbourhoods" if protocol == LEAVE_ONE_OUT_REFINED else ""
        row = {"figure": TITLES.get(metric, "effective rank") + how}
        for kind, title in (("frozen", "frozen backbone"), ("whitened", "frozen, whitened")):
            if kind in metrics:
                row[title] = _shown(metric, metrics[kind][protocol][metric])
        known = evaluation if evaluation is not None and _is_scored(evaluation, protocol) else None
        if known is not None:
            row[champion] = _shown(metric, _estimate(known.frozen, protocol, metric).value)
        row["challenger"] = _shown(metric, metrics["trained"][protocol][metric])
        difference = known.differences[protocol].get(metric) if known else None
        if difference is not None and not math.isnan(difference.low):
            low, high = 100 * difference.low, 100 * difference.high
            row[DIFFERENCE] = f"{100 * difference.value:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append(row)
    return rows


def _is_scored(evaluation: Evaluation, protocol: str) -> bool:
    return protocol == _LABEL_FREE or protocol in evaluation.trained.scores


def _shown(metric: str, value: float) -> str:
    return f"{value:.1f}" if metric == _EFFECTIVE_RANK else f"{100 * value:.1f}"


def picture_of_changes(evaluation: Evaluation) -> Image.Image:
    """The queries whose neighbours changed most, two lines each.

    The first picture of a line is the query; then comes what the champion finds, and in the second line
    what the challenger finds.
    """
    old, new = (model.neighbours[:, :_SHOWN_NEIGHBOURS] for model in (evaluation.frozen, evaluation.trained))
    kept = np.array([len(np.intersect1d(*pair)) for pair in zip(old, new, strict=True)])
    asked = np.argsort(kept, kind="stable")[:_SHOWN_QUERIES]
    lines = [[evaluation.rows[at], *found[at]] for at in asked for found in (old, new)]
    columns = 1 + old.shape[1]
    pictures = [int(row) for line in lines for row in line]
    sheet = contact_sheet(open_store(paths.PREPARED), pictures, columns, _SIDE_PX, _GAP_PX)
    white = Image.new("RGB", sheet.size, "white")
    white.paste(sheet, mask=sheet.getchannel("A"))
    return white
