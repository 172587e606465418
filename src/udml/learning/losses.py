"""Metric losses on pseudo-labels, by name, from pytorch-metric-learning.

A loss is a function of unit embeddings [n, d] and pseudo-labels int [n] that returns a scalar.
`proxy_anchor` has one trainable proxy per pseudo-class, so a loss is an `nn.Module`.
"""

import torch
from pytorch_metric_learning import distances, losses, miners
from torch import nn


class MinedLoss(nn.Module):
    """A loss and the miner that picks its pairs."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scalar loss of unit embeddings [n, d] with labels int64 [n]."""
        if self.miner is None:
            return self.loss(embeddings, labels)
        return self.loss(embeddings, labels, self.miner(embeddings, labels))


def create_loss(name: str, settings: dict[str, float], clusters: int, dim: int) -> MinedLoss:
    """Build the loss `name` with its section of `train.losses` as `settings`."""
    cosine = distances.CosineSimilarity()
    s = settings
    if name == "multi_similarity":  # Wang et al., CVPR 2019
        return MinedLoss(
            losses.MultiSimilarityLoss(alpha=s["positive_scale"], beta=s["negative_scale"], base=s["base"]),
            miners.MultiSimilarityMiner(epsilon=s["mining_margin"]),
        )
    if name == "triplet_semihard":  # Schroff et al., CVPR 2015
        return MinedLoss(
            losses.TripletMarginLoss(margin=s["margin"]),
            miners.TripletMarginMiner(margin=s["margin"], type_of_triplets="semihard"),
        )
    if name == "contrastive":  # Hadsell et al., CVPR 2006, on cosine similarity
        positive, negative = s["positive_similarity"], s["negative_similarity"]
        return MinedLoss(losses.ContrastiveLoss(pos_margin=positive, neg_margin=negative, distance=cosine))
    if name == "margin":  # Wu et al., ICCV 2017
        return MinedLoss(
            losses.MarginLoss(margin=s["margin"], beta=s["boundary"]),
            miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4),
        )
    if name == "nt_xent":  # Sohn, NeurIPS 2016 (N-pair); Chen et al., ICML 2020
        return MinedLoss(losses.NTXentLoss(temperature=s["temperature"]))
    if name == "proxy_anchor":  # Kim et al., CVPR 2020
        return MinedLoss(losses.ProxyAnchorLoss(clusters, dim, margin=s["margin"], alpha=s["scale"]))
    raise ValueError(f"unknown loss {name}")


def set_proxies(loss: MinedLoss, centroids: torch.Tensor) -> None:
    """Move a proxy loss's proxies to the new centroids [k, d]; other losses have none.

    Warm-started k-means keeps cluster numbers, but a re-clustering moves and may re-seed clusters, so
    a proxy starts each round where its cluster is.
    """
    proxies = getattr(loss.loss, "proxies", None)
    if proxies is not None:
        with torch.no_grad():
            proxies.copy_(centroids.to(proxies.device))
