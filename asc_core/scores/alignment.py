"""Linear centred kernel alignment (CKA) between layers (Kornblith et al. 2019, arXiv 1905.00414).

Of mean-pooled examples. Each pair of layers would need a cross-covariance of its own, d x d, so a sample of examples is
kept instead, of fixed size: memory does not grow with the data, and the result is exact for the sample. With fewer
examples than hidden dimensions CKA comes out somewhat high, for all pairs of layers alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.scores.collector import SAMPLED_FEATURES, Collector
from asc_core.scores.method import FromSums
from asc_core.scores.representation import change_by_layer
from asc_core.scores.streaming import NORMAL_QUANTILE, Statistic, Sums

if TYPE_CHECKING:
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.values import Shape

_REPLICATES = 100


class PooledStates(Collector):
    """The mean over tokens of each state (embeddings, then each layer's output), for a sample of the features.

    "cka.states": (sampled features, (L+1) d), 0 where another batch has the feature; "cka.seen": (sampled features,).
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self._real = view.mask.float()[:, None, :]
        self._pooled: list[torch.Tensor] = []
        self._last: torch.Tensor

    @torch.no_grad()
    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self._keep(hidden)

    @torch.no_grad()
    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self._last = after

    def _keep(self, hidden: torch.Tensor) -> None:
        sums = self.view.per_feature((self._real @ hidden)[:, 0])
        self._pooled.append(sums / self.view.per_feature(self.view.tokens[:, None].float()))

    @torch.no_grad()
    def statistics(self) -> dict[str, Statistic]:
        self._keep(self._last)
        places = torch.from_numpy(self.view.sample_places)
        chosen = places >= 0
        pooled = torch.cat(self._pooled, 1).cpu()
        states, seen = torch.zeros(SAMPLED_FEATURES, pooled.shape[1]), torch.zeros(SAMPLED_FEATURES)
        states[places[chosen]], seen[places[chosen]] = pooled[chosen], 1
        return {
            "cka.states": Statistic(states, "feature", whole=True),
            "cka.seen": Statistic(seen, "feature", whole=True),
        }


def alignment(grams: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(states, n, n) inner products of examples, each counted (n,) times -> (states, states) linear CKA."""
    share = counts / counts.sum()
    means = grams @ share  # (states, n)
    centred = grams - means[:, :, None] - means[:, None, :] + (means @ share)[:, None, None]
    root = np.sqrt(counts)
    flat = (centred * root[:, None] * root).reshape(len(grams), -1)
    products = flat @ flat.T
    lengths = np.sqrt(np.diagonal(products))
    scale = lengths[:, None] * lengths
    return np.divide(products, scale, out=np.eye(len(grams)), where=scale > 0)


def alignment_of_layers(sums: Sums, shape: Shape, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """({"similarity": (L+1, L+1), "layers": 1 - CKA of each layer's output and input}, {"layers": margins}).

    The margin is 1.96 standard deviations over bootstrap replicates (not their percentiles: an example that is drawn
    twice is perfectly aligned with itself, which shifts replicates upwards).
    """
    seen = sums.arrays["cka.seen/sum"] > 0
    states = sums.arrays["cka.states/sum"][seen].reshape(int(seen.sum()), shape.layers + 1, -1).swapaxes(0, 1)
    grams = states @ states.swapaxes(1, 2)
    similarity = alignment(grams, np.ones(grams.shape[1]))
    draws = np.random.default_rng((seed, 2)).poisson(1.0, (_REPLICATES, grams.shape[1]))
    drawn = [change_by_layer(alignment(grams, counts)) for counts in draws if counts.any()]
    layers = change_by_layer(similarity)
    spread = np.std(drawn, axis=0) if drawn else np.zeros_like(layers)
    return {"similarity": similarity, "layers": layers}, {"layers": NORMAL_QUANTILE * spread}


METHODS = (
    FromSums(
        id="cka",
        title="Linear CKA",
        description="Centred kernel alignment of mean-pooled examples, between every two layers, on a sample of at "
        "most 256 examples. A layer's score is 1 minus that of its output and its input.",
        source="Kornblith et al. 2019, arXiv 1905.00414",
        parts=("layers",),
        collector=PooledStates,
        found=alignment_of_layers,
    ),
)
