"""What training says and does where halves of the images do not agree on its clusters."""

from types import SimpleNamespace

import pytest
import torch

from tests.learning.tiny import tiny_params
from udml.learning.loop.steps import set_learning_rate, set_temperature
from udml.learning.losses import create_loss
from udml.learning.train import _doubt

WITH_AND_WITHOUT = pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"strengths_by_cluster_size": {"25": 0.18, "16": 0.14}, "found_cluster_size": 25}, "only 18% of"),
        ({"strengths_by_cluster_size": {"25": 0.20, "10": 0.24}, "found_cluster_size": 10}, "only 24% of"),
        ({"strengths_by_cluster_size": {"25": 0.29, "16": 0.27}, "found_cluster_size": 25}, ""),
        ({"strengths_by_cluster_size": {}, "found_cluster_size": 25}, ""),  # too few images to halve
        ({}, ""),  # the number was given
    ],
)


@WITH_AND_WITHOUT
def test_doubtful_pseudo_classes_are_told(record: dict[str, object], told: str) -> None:
    assert bool(_doubt(record)) == bool(told)
    assert told in _doubt(record)


@WITH_AND_WITHOUT
def test_doubtful_pseudo_classes_are_learnt_at_half_the_rate(record: dict[str, object], told: str) -> None:
    params = tiny_params(learning_rate_schedule="constant")
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    run = SimpleNamespace(
        params=params,
        optimiser=optimiser,
        clusters=2,
        data=SimpleNamespace(images=[0] * 8),
        state=SimpleNamespace(rounds=[record]),
    )
    set_learning_rate(run, 0)  # type: ignore[arg-type]
    assert optimiser.param_groups[0]["lr"] == pytest.approx(params.learning_rate * (0.5 if told else 1.0))


@pytest.mark.parametrize(
    ("rounds", "share"),
    [
        ([{"strengths_by_cluster_size": {"25": 0.33, "10": 0.40}, "found_cluster_size": 10}], 0.7),
        ([{"strengths_by_cluster_size": {"25": 0.29, "16": 0.27}, "found_cluster_size": 25}], 1.0),
        (
            [{"strengths_by_cluster_size": {"25": 0.20, "10": 0.24}, "found_cluster_size": 10}],
            1.0,
        ),  # doubtful
        ([{"strengths_by_cluster_size": {}, "found_cluster_size": 25}], 1.0),
        ([{}], 1.0),
        ([], 1.0),
    ],
)
def test_where_pseudo_classes_are_things_the_loss_is_sharper(
    rounds: list[dict[str, object]], share: float
) -> None:
    params = tiny_params()
    loss = create_loss("nt_xent", params.losses["nt_xent"], 6, 16)
    run = SimpleNamespace(params=params, loss=loss, state=SimpleNamespace(rounds=rounds))
    for _ in range(2):  # each round anew, from what is set and not from what is
        set_temperature(run)  # type: ignore[arg-type]
    assert loss.loss.temperature == pytest.approx(share * params.losses["nt_xent"]["temperature"])


def test_other_losses_are_left_alone() -> None:
    params = tiny_params()
    loss = create_loss("multi_similarity", params.losses["multi_similarity"], 6, 16)
    run = SimpleNamespace(params=params, loss=loss, state=SimpleNamespace(rounds=[{}]))
    before = vars(loss.loss).copy()
    set_temperature(run)  # type: ignore[arg-type]
    assert vars(loss.loss) == before
