"""Groups of neurons that behave alike: single ones are too many, and matter too little, to be switched off in turn."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.probes import Probe, Readout, probing
from asc_core.scores.restart import Inputs

GROUPS = 16


class _Moments(Probe):
    """Running sums over real tokens of x, x^2 and |x| of every neuron; the calls of a shared row add up."""

    def __init__(self, rows: int):
        self.sums: list[torch.Tensor | None] = [None] * rows  # (3, neurons) each, float64
        self.tokens = [0] * rows
        self.mask = torch.zeros(0)

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        if readout.kind == "ffn":
            real = inputs[self.mask].double()  # (tokens, neurons)
            sums = torch.stack([real.sum(0), real.square().sum(0), real.abs().sum(0)])
            known = self.sums[readout.row]
            self.sums[readout.row] = sums if known is None else known + sums
            self.tokens[readout.row] += len(real)


def neuron_groups(
    encoder: Encoder, batches: Iterable[Inputs], groups: int = GROUPS, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """The group of every neuron, one array (neurons,) a row; at most `groups` a row, numbered from 0, none empty.

    k-means (k-means++, Arthur and Vassilvitskii 2007) on three statistics of what a neuron adds to the residual
    stream: mean, standard deviation and mean absolute value of its activation, each times the norm of its readout
    column, on a logarithmic scale (the sign of the mean kept) and standardised.
    """
    moments = _Moments(len(encoder.shape.neurons))
    with torch.inference_mode(), probing(moments):
        for inputs in batches:
            moments.mask = inputs["attention_mask"].bool()
            encoder.model(**inputs)
    found = []
    for readout in encoder.readouts:
        if readout.kind == "ffn":
            sums = moments.sums[readout.row]
            assert sums is not None
            means = (sums / moments.tokens[readout.row]).cpu().numpy()
            norm = readout.weight.detach().double().norm(dim=0).cpu().numpy()
            found.append(_cluster(means, norm, groups, seed))
    return tuple(found)


def _cluster(means: np.ndarray, norm: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """means: (3, n) of x, x^2, |x|. norm: (n,)"""
    if norm.size <= groups:
        return np.arange(norm.size)
    from sklearn.cluster import KMeans  # takes a second to import
    from sklearn.exceptions import ConvergenceWarning

    mean, square, absolute = means
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    scale = np.median(absolute * norm) + np.finfo(float).tiny
    statistics = np.stack([np.arcsinh(s * norm / scale) for s in (mean, deviation, absolute)], 1)
    statistics = (statistics - statistics.mean(0)) / (statistics.std(0) + np.finfo(float).tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different neurons than groups: fewer groups
        labels = KMeans(groups, random_state=seed, n_init=4).fit_predict(statistics)
    return np.unique(labels, return_inverse=True)[1]
