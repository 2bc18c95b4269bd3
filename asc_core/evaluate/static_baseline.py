"""Is a Transformer needed at all? The floor: a text as the mean of its tokens' static vectors, and a linear classifier.

The vectors are the encoder's own word embeddings, so that nothing has to be downloaded; of a pair of texts the two
means, their product and their distance go in. In the manner of fastText (Joulin et al. 2017, 1607.01759) and of
model2vec, whose vectors are distilled and better: this is a floor, not the best that is possible without a Transformer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.tasks.base import Features, Task

KINDS = ("text-classification", "pair-classification")
NEVER = -1e4  # the logit of a class that the training texts lack


@dataclass(frozen=True)
class StaticBaseline:
    """The classifier as what a task evaluates, see `Reader`. bytes: of the vectors that the training texts use, in
    float32, and the classifier."""

    encoder: Encoder
    vectors: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    bytes: int

    @property
    def name(self) -> str:
        return f"static vectors of {self.encoder.name}"

    def __getattr__(self, name: str) -> Any:
        """Tokenizer, labels and all else that a task asks are the encoder's."""
        return getattr(self.encoder, name)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        mask, types = inputs["attention_mask"], inputs.get("token_type_ids")
        read = _read(self.vectors, inputs["input_ids"], mask, types)
        return SimpleNamespace(logits=read @ self.weight.T + self.bias)


def static_refusal(task: Task) -> str | None:
    """Why there is no such floor for a task; None where there is one."""
    if task.kind in KINDS and task.labelled and "train" in task.splits:
        return None
    if task.kind in KINDS:
        return f"a linear classifier needs labelled training texts, which {task.name} does not have"
    return f"{task.kind} needs more than one vector a text and one class, so there is no static floor to compare with"


def static_baseline(encoder: Encoder, task: Task, limit: int | None = 20_000, seed: int = 0) -> StaticBaseline:
    """Fit it on the training texts. limit: that many at most, drawn by seed.

    Raises: UserError where the task does not allow it; see `static_refusal`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    refusal = static_refusal(task)
    if refusal is not None:
        raise UserError(f"{refusal[0].upper()}{refusal[1:]}.")
    features = task.features(task.examples("train", limit, seed), encoder)
    assert features.targets is not None
    vectors = modeling.whole_table(encoder.model.get_input_embeddings()).float().cpu()
    read = torch.cat([_of_feature(vectors, features, row) for row in range(len(features))]).numpy()
    targets = np.asarray(features.targets)
    if len(np.unique(targets)) < 2:
        raise UserError(f"All training texts of {task.name} are of one class, so there is nothing to fit.")
    scaler, classifier = StandardScaler(), LogisticRegression(max_iter=1000, C=0.1)
    make_pipeline(scaler, classifier).fit(read, targets)
    weight, bias = _linear(scaler, classifier, len(encoder.labels))
    used = len(np.unique(np.concatenate(list(features.input_ids))))
    size = 4 * (used * vectors.shape[1] + weight.numel() + bias.numel())
    return StaticBaseline(encoder, vectors, weight, bias, size)


def _linear(scaler: Any, classifier: Any, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(labels, inputs) and (labels,): scaling and classifier as one, classes in the encoder's order."""
    coefficients, intercept = classifier.coef_, classifier.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn keeps the second's alone
        coefficients, intercept = np.vstack([-coefficients, coefficients]), np.array([-intercept[0], intercept[0]])
    weight, bias = np.zeros((labels, coefficients.shape[1])), np.full(labels, NEVER)
    weight[classifier.classes_] = coefficients / scaler.scale_
    bias[classifier.classes_] = intercept - (coefficients / scaler.scale_) @ scaler.mean_
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _of_feature(vectors: torch.Tensor, features: Features, row: int) -> torch.Tensor:
    ids = torch.as_tensor(np.asarray(features.input_ids[row]), dtype=torch.long)[None]
    types = None
    if features.token_types is not None:
        types = torch.as_tensor(np.asarray(features.token_types[row]), dtype=torch.long)[None]
    return _read(vectors, ids, torch.ones_like(ids), types)


def _read(vectors: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
    """(B, D): the mean vector of each text, special tokens among it; of a pair two, product and distance: (B, 4 D)."""
    values = vectors[ids]
    if types is None:
        return _mean(values, mask)
    first, second = _mean(values, mask * (types == 0)), _mean(values, mask * (types == 1))
    return torch.cat([first, second, first * second, (first - second).abs()], dim=1)


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.to(values.dtype)
    return torch.einsum("btd,bt->bd", values, weights) / weights.sum(1, keepdim=True).clamp(min=1)
