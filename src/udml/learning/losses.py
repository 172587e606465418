"""Metric losses on pseudo-labels, by name, from pytorch-metric-learning but for the first two.

A loss is a function of unit embeddings [n, d] and pseudo-labels int [n] that returns a scalar.
`proxy_anchor` has one trainable proxy per pseudo-class, so a loss is an `nn.Module`.
"""

import torch
import torch.nn.functional as F
from pytorch_metric_learning import distances, losses, miners
from torch import nn

NEVER_WAIT = ("nt_xent", "multi_similarity")
"""Losses that read nothing back from a GPU, so that a step with them can be recorded."""


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


# Two losses of our own: pytorch-metric-learning's, but with masks in place of lists of pairs. How long a
# list is the CPU learns from the GPU, which then stands idle four times a step.


class NTXent(nn.Module):
    """Cross-entropy of each positive pair among its anchor's negative pairs, at a temperature.

    N-pair loss (Sohn, NeurIPS 2016), normalised and scaled as in SimCLR (Chen et al., ICML 2020). The
    other positives of an anchor are left out of a pair's sum.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scalar loss of embeddings [n, d] of any length with labels int64 [n]; 0 without positive pairs."""
        similarity = _cosines(embeddings) / self.temperature
        same, different = _pairs(labels)
        negatives = similarity.masked_fill(~different, -torch.inf).logsumexp(1, keepdim=True)
        losses_of_pairs = F.softplus(negatives - similarity)
        return losses_of_pairs.masked_fill(~same, 0).sum() / same.sum().clamp(min=1)


class MultiSimilarity(nn.Module):
    """Multi-similarity loss and mining (Wang et al., CVPR 2019, equations 10-13 and 15).

    pytorch-metric-learning's to the last bit.
    """

    def __init__(
        self, positive_scale: float, negative_scale: float, base: float, mining_margin: float
    ) -> None:
        super().__init__()
        self.positive_scale, self.negative_scale = positive_scale, negative_scale
        self.base, self.mining_margin = base, mining_margin

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scalar loss of embeddings [n, d] of any length with labels int64 [n]."""
        similarity = _cosines(embeddings)
        positive, negative = self.mine(similarity.detach(), labels)
        near = self._pull(self.positive_scale, self.base - similarity, positive)
        far = self._pull(self.negative_scale, similarity - self.base, negative)
        return (near + far).mean()

    def mine(self, similarity: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The positive and the negative pairs worth learning from, bool [n, n] each.

        Those are less than the margin away from their anchor's hardest pair of the other kind.
        """
        same, different = _pairs(labels)
        nearest = similarity.masked_fill(~different, -torch.inf).amax(1, keepdim=True)
        furthest = similarity.masked_fill(~same, torch.inf).amin(1, keepdim=True)
        return (
            same & (similarity - self.mining_margin < nearest),
            different & (similarity + self.mining_margin > furthest),
        )

    @staticmethod
    def _pull(scale: float, excess: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """log(1 + sum of exp(scale x excess) over an anchor's pairs) / scale, float [n]; 0 without pairs."""
        terms = (scale * excess).masked_fill(~pairs, -torch.inf)
        return (1 / scale) * F.pad(terms, (0, 1)).logsumexp(1)


def _cosines(embeddings: torch.Tensor) -> torch.Tensor:
    """Cosine similarities [n, n] of embeddings [n, d]."""
    # two sides as the library takes them, so that the gradients too are its to the last bit
    return F.normalize(embeddings, dim=1) @ F.normalize(embeddings, dim=1).T


def _pairs(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive pairs and negative pairs of labels [n]: bool [n, n] each."""
    different = labels[:, None] != labels
    return (~different).fill_diagonal_(False), different


def create_loss(name: str, settings: dict[str, float], clusters: int, dim: int) -> MinedLoss:
    """Build the loss `name` with its section of `train.losses` as `settings`."""
    cosine = distances.CosineSimilarity()
    s = settings
    if name == "nt_xent":
        return MinedLoss(NTXent(**s))
    if name == "multi_similarity":
        return MinedLoss(MultiSimilarity(**s))
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
