import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, miners

from udml.config import LOSS_SETTINGS, load_params
from udml.learning.losses import create_loss, set_proxies

SETTINGS = load_params().train.losses


def slow_multi_similarity(
    embeddings: torch.Tensor, labels: list[int], alpha: float, beta: float, base: float, margin: float
) -> float:
    """Wang et al. 2019, equations 10-13 and 15, one anchor and one pair at a time."""
    similarity = (embeddings @ embeddings.T).tolist()
    n, total = len(labels), 0.0
    for i in range(n):
        positive = [similarity[i][j] for j in range(n) if j != i and labels[j] == labels[i]]
        negative = [similarity[i][j] for j in range(n) if labels[j] != labels[i]]
        hard_negative = [s for s in negative if positive and s + margin > min(positive)]
        hard_positive = [s for s in positive if negative and s - margin < max(negative)]
        if hard_positive:
            total += math.log(1 + sum(math.exp(-alpha * (s - base)) for s in hard_positive)) / alpha
        if hard_negative:
            total += math.log(1 + sum(math.exp(beta * (s - base)) for s in hard_negative)) / beta
    return total / n


def batch(seed: int, n: int = 24, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, generator=generator), dim=1), torch.arange(n) % 6


@pytest.mark.parametrize("seed", range(5))
def test_multi_similarity_is_the_papers(seed: int) -> None:
    embeddings, labels = batch(seed)
    loss = create_loss("multi_similarity", SETTINGS["multi_similarity"], 6, 6)
    expected = slow_multi_similarity(embeddings, labels.tolist(), 2.0, 40.0, 0.5, 0.1)
    assert float(loss(embeddings, labels)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("classes", [1, 6, 24])
def test_multi_similarity_and_its_gradient_are_the_librarys_to_the_bit(classes: int) -> None:
    settings = SETTINGS["multi_similarity"]
    library = losses.MultiSimilarityLoss(
        alpha=settings["positive_scale"], beta=settings["negative_scale"], base=settings["base"]
    )
    miner = miners.MultiSimilarityMiner(epsilon=settings["mining_margin"])
    ours = create_loss("multi_similarity", settings, 6, 6)
    for seed in range(10):
        points, _ = batch(seed, 80, 32)
        labels = torch.arange(80) % classes
        one, other = points.clone().requires_grad_(), points.clone().requires_grad_()
        expected, got = library(one, labels, miner(one, labels)), ours(other, labels)
        expected.backward()
        got.backward()
        assert torch.equal(got, expected)
        assert torch.equal(other.grad, one.grad)


@pytest.mark.parametrize("classes", [1, 6, 24, 80])
def test_nt_xent_and_its_gradient_are_the_librarys(classes: int) -> None:
    library, ours = losses.NTXentLoss(temperature=0.2), create_loss("nt_xent", {"temperature": 0.2}, 6, 6)
    for seed in range(10):
        points, _ = batch(seed, 80, 32)
        labels = torch.arange(80) % classes
        one, other = points.clone().requires_grad_(), points.clone().requires_grad_()
        expected, got = library(one, labels), ours(other, labels)
        expected.backward()
        got.backward()
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(other.grad, one.grad if one.grad is not None else torch.zeros_like(one))


@pytest.mark.parametrize("key", ["positive_scale", "negative_scale", "base", "mining_margin"])
def test_no_setting_of_multi_similarity_is_ignored(key: str) -> None:
    embeddings, labels = batch(0)
    settings = dict(SETTINGS["multi_similarity"])
    before = float(create_loss("multi_similarity", settings, 6, 6)(embeddings, labels))
    settings[key] = settings[key] * 0.5
    after = float(create_loss("multi_similarity", settings, 6, 6)(embeddings, labels))
    assert before != pytest.approx(after, rel=1e-6)


@pytest.mark.parametrize("name", list(LOSS_SETTINGS))
def test_every_loss_pulls_pseudo_classes_together(name: str) -> None:
    torch.manual_seed(0)
    points = torch.randn(24, 6, requires_grad=True)
    labels = torch.arange(24) % 6
    loss = create_loss(name, SETTINGS[name], 6, 6)
    optimiser = torch.optim.Adam([points, *loss.parameters()], 0.05)

    def contrast() -> float:
        e = F.normalize(points.detach(), dim=1).numpy()
        same = (labels[:, None] == labels).numpy() & ~np.eye(24, dtype=bool)
        similarity = e @ e.T
        return float(similarity[same].mean() - similarity[~same].mean())

    before = contrast()
    for _ in range(60):
        optimiser.zero_grad()
        value = loss(F.normalize(points, dim=1), labels)
        assert torch.isfinite(value)
        value.backward()
        optimiser.step()
    assert contrast() > before + 0.3


@pytest.mark.parametrize("name", list(LOSS_SETTINGS))
def test_degenerate_batches_give_finite_losses_and_gradients(name: str) -> None:
    for rows, labels in [
        (torch.ones(8, 6), torch.arange(8) % 2),  # collapsed
        (torch.eye(6), torch.arange(6)),  # no positive pair
        (torch.eye(6), torch.zeros(6, dtype=torch.long)),  # no negative pair
    ]:
        points = rows.clone().requires_grad_()
        loss = create_loss(name, SETTINGS[name], 8, 6)(F.normalize(points, dim=1), labels)
        loss.backward()
        assert torch.isfinite(loss)
        assert points.grad is None or torch.isfinite(points.grad).all()


def test_proxies_follow_the_centroids() -> None:
    loss = create_loss("proxy_anchor", SETTINGS["proxy_anchor"], 6, 6)
    set_proxies(loss, torch.eye(6))
    assert torch.equal(loss.loss.proxies.detach(), torch.eye(6))
    set_proxies(
        create_loss("contrastive", SETTINGS["contrastive"], 6, 6), torch.eye(6)
    )  # has none: no effect
