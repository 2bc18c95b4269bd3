"""The registry of scoring methods: what each measures, where it comes from, what it needs and which parts it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, KINDS
from asc_core.scores import activation, magnitude, representation
from asc_core.scores.activation import Activations
from asc_core.scores.alignment import PooledStates, alignment_of_layers
from asc_core.scores.attention import Attention
from asc_core.scores.collector import Collector
from asc_core.scores.representation import States, Updates
from asc_core.scores.sensitivity import (
    ArgmaxGateGradients,
    GateGradients,
    NeuronCrossTerms,
    SampledGateGradients,
)
from asc_core.scores.streaming import Sums
from asc_core.values import PartValues, Shape

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

Means = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Method:
    """One way to score parts.

    labels: "none", "gold or own" where the loss needs labels: gold ones, or drawn from the model's own outputs, or
    "own" where the method wants the model's own in any case.
    parts: the kinds of part that it scores. source: the paper.
    collector: what gathers its statistics during the pass; None where the weights say all (`from_weights`).
    statistics: name -> unit of the statistics that it reads. combine(means, shape): from their means, (..., columns)
    each, to {part: (..., parts)} and, where the method has one, "similarity": (..., L+1, L+1). It is applied to the
    estimate and to every bootstrap replicate, which is why a leading dimension must pass through.
    margins: half the width of the normal interval, {part: (parts,)}, of parts whose statistics have no replicates;
    by default those parts' scores are their statistic, perhaps times a factor.
    negative: whether a score may be below 0. signed: `combine` before it takes an absolute value, for the interval.
    from_sums: instead of `combine`, (sums, shape, seed) to what it would give and the margins.
    details: name -> unit of statistics that go into `Scores.details` as means ("x" also stands for "x.0", "x.1", ...).
    asked: "by default", "in all" (what costs a further pass or other attention kernels) or only "by name".
    """

    id: str
    title: str
    description: str
    source: str
    labels: Literal["none", "gold or own", "own"]
    parts: tuple[str, ...]
    collector: type[Collector] | None = None
    statistics: Mapping[str, str] | None = None
    combine: Callable[[Means, Shape], dict[str, np.ndarray]] | None = None
    from_weights: Callable[[Encoder, int], PartValues] | None = None
    margins: Callable[[Sums], dict[str, np.ndarray]] | None = None
    negative: bool = False
    signed: Callable[[Means, Shape], dict[str, np.ndarray]] | None = None
    from_sums: Callable[[Sums, Shape, int], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    asked: Literal["by default", "in all", "by name"] = "by default"
    by_itself: bool = False  # has a pass of its own, `surgeon_scores`

    def labels_used(self, targets: str) -> str:
        """For `Scores.labels`, in a sweep with these targets."""
        own = self.collector.targets if self.collector is not None else None
        return "none" if self.labels == "none" else own or targets


def _each_part(means: Means, shape: Shape) -> dict[str, np.ndarray]:
    """Statistics named "<anything>.<part>" are the scores."""
    return {name.rpartition(".")[2]: values for name, values in means.items()}


def _absolute(means: Means, shape: Shape) -> dict[str, np.ndarray]:
    return {part: np.abs(values) for part, values in _each_part(means, shape).items()}


def _half(means: Means, shape: Shape) -> dict[str, np.ndarray]:
    return {part: values / 2 for part, values in _each_part(means, shape).items()}


def _similarity(variant: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Means, Shape], dict[str, np.ndarray]]:
    def combine(means: Means, shape: Shape) -> dict[str, np.ndarray]:
        similarity = variant(next(iter(means.values())), shape.layers + 1)
        return {"similarity": similarity, "layers": representation.change_by_layer(similarity)}

    return combine


def _normalised_by_layer(means: Means, shape: Shape) -> dict[str, np.ndarray]:
    """Each row's scores divided by their L2 norm."""
    scores = _each_part(means, shape)
    for part, counts in (("heads", shape.heads), ("neurons", shape.neurons)):
        if part in scores:
            rows = np.split(scores[part], np.cumsum(counts)[:-1], axis=-1)
            tiny = np.finfo(np.float64).tiny
            rows = [r / np.maximum(np.linalg.norm(r, axis=-1, keepdims=True), tiny) for r in rows]
            scores[part] = np.concatenate(rows, -1)
    return scores


def _statistics(prefix: str, unit: str, parts: Sequence[str] = KINDS) -> dict[str, str]:
    return {f"{prefix}.{part}": unit for part in parts}


_ASC = "Application Specific Compression, arXiv 2409.05368"

METHODS: dict[str, Method] = {
    method.id: method
    for method in (
        Method(
            "asc-a",
            "ASC similarity A",
            "Cosine of the hidden states summed over all tokens, between every two layers. A layer's score is 1 minus "
            "the similarity of its output to its input.",
            f"{_ASC}, the authors' code of 2024",
            "none",
            ("layers",),
            States,
            {"asc-a": "token"},
            _similarity(representation.similarity_of_sums),
        ),
        Method(
            "asc-b",
            "ASC similarity B",
            "Mean over examples of the mean over tokens of the cosine of hidden states, between every two layers. A "
            "layer's score is 1 minus the similarity of its output to its input.",
            f"{_ASC}, the authors' code of 2026",
            "none",
            ("layers",),
            States,
            {"asc-b": "text"},
            _similarity(representation.similarity_of_tokens),
        ),
        Method(
            "update",
            "Update (1 - cos)",
            "How far a part turns the residual stream: 1 - cos(x, x + what it adds), mean over tokens; for a layer its "
            "output against its input (block influence). Heads and neurons on a sample of the tokens.",
            "ShortGPT, arXiv 2403.03853; sublayers: What Matters in Transformers, arXiv 2406.15786",
            "none",
            KINDS,
            Updates,
            _statistics("update", "token"),
            _each_part,
        ),
        Method(
            "update-norm",
            "Relative norm of the update",
            "The length of what a part adds to the residual stream over the length of what it adds to, mean over "
            "tokens. Heads and neurons on a sample of the tokens.",
            "as `update`, with the magnitude that a cosine ignores",
            "none",
            KINDS,
            Updates,
            _statistics("update-norm", "token"),
            _each_part,
        ),
        Method(
            "angular",
            "Angular distance",
            "The angle between hidden states of a text's last token over pi, mean over texts, for every two layers "
            "(similarity: 1 minus it; n layers apart in the n-th diagonal). A layer's score is that of its output and "
            "its input.",
            "The Unreasonable Ineffectiveness of the Deeper Layers, Gromov et al. 2024, arXiv 2403.17887, equation 7",
            "none",
            ("layers",),
            States,
            {"angular": "text"},
            _similarity(representation.similarity_of_angles),
        ),
        Method(
            "cka",
            "Linear CKA",
            "Centred kernel alignment of mean-pooled examples, between every two layers, on a sample of at most "
            "256 examples. A layer's score is 1 minus that of its output and its input.",
            "Kornblith et al. 2019, arXiv 1905.00414",
            "none",
            ("layers",),
            PooledStates,
            from_sums=alignment_of_layers,
        ),
        Method(
            "michel",
            "Michel sensitivity",
            "Mean over examples of |dL/dm|, m a gate on the part; not normalised by layer.",
            "Michel et al. 2019, arXiv 1905.10650, equation 3",
            "gold or own",
            KINDS,
            GateGradients,
            _statistics("michel", "feature"),
            _each_part,
        ),
        Method(
            "michel-normalised",
            "Michel sensitivity, by layer",
            "As `michel` for heads and neurons, each layer's scores divided by their L2 norm.",
            "Michel et al. 2019, arXiv 1905.10650, section 4.1",
            "gold or own",
            ("heads", "neurons"),
            GateGradients,
            _statistics("michel", "feature", ("heads", "neurons")),
            _normalised_by_layer,
        ),
        Method(
            "michel-token",
            "Michel sensitivity, by token",
            "The absolute value taken for each token instead of each example, mean over tokens, as the authors' code "
            "does; heads only, not normalised by layer.",
            "Michel et al. 2019, the authors' code",
            "gold or own",
            ("heads",),
            GateGradients,
            {"michel-token.heads": "token"},
            _each_part,
        ),
        Method(
            "fisher",
            "Fisher information",
            "Mean over examples of (dL/dm)^2, m a gate on the part, the gradient of each example by itself (the "
            "authors' code squares means over batches). Details: cross.heads, (heads, heads), the mean of g_i g_j for "
            "all heads of the encoder, row by row.",
            "Kwon et al. 2022, arXiv 2204.09656",
            "gold or own",
            KINDS,
            GateGradients,
            _statistics("fisher", "feature"),
            _each_part,
            details={"cross.heads": "feature"},
        ),
        Method(
            "taylor2",
            "Taylor, second order",
            "What the loss is expected to rise by when the part's gate g goes from 1 to 0: -dL/dg + 1/2 (dL/dg)^2, "
            "mean over examples, with the Fisher information in place of the second derivative. Below 0: expected to "
            "do harm.",
            "Optimal Brain Damage, LeCun et al. 1989; Molchanov et al. 2019, arXiv 1906.10771, equation 6, signed",
            "gold or own",
            KINDS,
            GateGradients,
            _statistics("taylor2", "feature"),
            _each_part,
            negative=True,
        ),
        Method(
            "textpruner",
            "TextPruner, loss",
            "|sum of W * dL/dW over the part's columns of the readout's weight W|, summed over all examples, as a mean "
            "(the package takes the absolute value batch by batch). Computed without gradients of weights.",
            "TextPruner, Yang et al. 2022, arXiv 2203.15996",
            "gold or own",
            KINDS,
            GateGradients,
            _statistics("gradient", "feature"),
            _absolute,
            signed=_each_part,
        ),
        Method(
            "textpruner-self",
            "TextPruner, own labels",
            "As `textpruner`, with the loss against the model's own decisions (argmax). Against its soft outputs, as "
            "the package has it, the gradient of an unpruned model is 0, and so is the mean against labels drawn from "
            "them.",
            "TextPruner, Yang et al. 2022, arXiv 2203.15996, section 3.2",
            "own",
            KINDS,
            ArgmaxGateGradients,
            _statistics("gradient-argmax", "feature"),
            _absolute,
            signed=_each_part,
            asked="in all",
        ),
        Method(
            "kprune-predictive",
            "K-prune, predictive knowledge",
            "1/2 mean of (dL/dm)^2, m a gate on the part, L the loss against labels drawn from the model's own "
            "distribution: the second order of the divergence from the original model's outputs. (Against the soft "
            "outputs themselves, as in the paper, the gradient of an unpruned model is 0.) Temperature 1.",
            "K-prune, Park et al. 2023, arXiv 2308.03449, section 4.2",
            "own",
            KINDS,
            SampledGateGradients,
            _statistics("fisher-sampled", "feature"),
            _half,
            asked="in all",
        ),
        Method(
            "fisher-neuron-cross",
            "Fisher information, cross terms of neurons",
            "As `fisher` for neurons. Details: cross.neurons.<row>, (neurons, neurons), the mean of g_i g_j. Large: "
            "computed only when named.",
            "Kwon et al. 2022, arXiv 2204.09656, section 3.2",
            "gold or own",
            ("neurons",),
            NeuronCrossTerms,
            {"fisher-by-name.neurons": "feature"},
            _each_part,
            details={"cross.neurons": "feature"},
            asked="by name",
        ),
        Method(
            "wanda",
            "Activation times weights",
            "Mean over tokens of |x_j| times the L2 norm of the weights that read it; for a head the sum over its "
            "columns.",
            "Wanda, Sun et al. 2023, arXiv 2306.11695, for structures (with the L1 norm of activations)",
            "none",
            BLOCKS,
            Activations,
            _statistics("absolute", "token", BLOCKS),
            _each_part,
        ),
        Method(
            "flap",
            "Fluctuation",
            "Variance of x_j over tokens times the squared L2 norm of the weights that read it; for a head the sum "
            "over its columns. What a part writes on average could be folded into the bias and does not count.",
            "FLAP, An et al. 2023, arXiv 2312.11983, before its standardisation",
            "none",
            BLOCKS,
            Activations,
            _statistics("square", "token", BLOCKS) | _statistics("drive", "token", BLOCKS),
            activation.fluctuation,
            margins=activation.fluctuation_margin,
        ),
        Method(
            "kprune-representational",
            "K-prune, representational knowledge",
            "Mean over tokens of x_j squared times the mean square of the weights that read it; for a head the sum "
            "over its columns.",
            "K-prune, Park et al. 2023, arXiv 2308.03449, section 4.2",
            "none",
            BLOCKS,
            Activations,
            _statistics("square", "token", BLOCKS),
            activation.power,
        ),
        Method(
            "confidence",
            "Head confidence",
            "The largest attention weight of a token, mean over tokens. Needs eager attention.",
            "Voita et al. 2019, arXiv 1905.09418, section 4",
            "none",
            ("heads",),
            Attention,
            {"confidence.heads": "token"},
            _each_part,
            asked="in all",
        ),
        Method(
            "attention-entropy",
            "Attention entropy",
            "1 minus the entropy of a token's attention weights over its maximum, log of the text's tokens, mean over "
            "tokens: 1 where a head looks at one token, 0 where at all alike. Needs eager attention.",
            "Clark et al. 2019, arXiv 1906.04341, section 3.3, turned so that more is sharper",
            "none",
            ("heads",),
            Attention,
            {"focus.heads": "token"},
            _each_part,
            asked="in all",
        ),
        Method(
            "obs",
            "Optimal brain surgeon",
            "By how much the outputs are expected to move when a part goes after the cheaper parts of its sublayer, "
            "those that stay taking over its work (as a refit lets them). A pass of its own.",
            "ZipLM, Kurtic et al. 2023, arXiv 2302.04089, section 3, with the curvature at the readouts' outputs",
            "none",
            ("heads", "neurons", "attention", "ffn"),
            asked="by name",
            by_itself=True,
        ),
        Method(
            "magnitude",
            "Magnitude of weights",
            "L2 norm of the weights that go away with the part. Looks at no data.",
            "Han et al. 2015, arXiv 1506.02626, for structures",
            "none",
            KINDS,
            from_weights=magnitude.magnitude,
        ),
        Method(
            "random",
            "Random",
            "Numbers drawn by seed: what any other method must beat.",
            "baseline",
            "none",
            KINDS,
            from_weights=magnitude.chance,
        ),
    )
}


def chosen_methods(ids: Sequence[str] | None) -> list[Method]:
    """Those named, each once; None: those asked for by default; "all" among the names: also what is dearer.

    Raises: UserError for an unknown id.
    """
    for name in ids or ():
        if name not in METHODS and name != "all":
            raise UserError(f"There is no scoring method {name!r}; there are: {', '.join(METHODS)}.")
    named = ids or ()
    whole = {"by default"} if ids is None else {"by default", "in all"} if "all" in named else set()
    grouped = [m.id for m in METHODS.values() if m.asked in whole]
    return [METHODS[name] for name in dict.fromkeys([*grouped, *named]) if name != "all"]
