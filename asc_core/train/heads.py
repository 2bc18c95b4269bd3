"""Giving an encoder the head that a task needs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from asc_core import modeling
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from asc_core.tasks.base import Task
from asc_core.tasks.heads import head_fits


def encoder_for_task(
    source: str | Path,
    task: Task,
    device: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    base: str | Path | None = None,
) -> Encoder:
    """Load an encoder whose head fits the task: the checkpoint's own where it fits, else a new one drawn from `seed`.

    source, base: what `load_encoder` takes. Raises: UserError as it does.
    """
    found = load_encoder(source, device=device, trust_remote_code=trust_remote_code, base=base)
    return with_head_for(found, task, seed)


def with_head_for(encoder: Encoder, task: Task, seed: int = 0) -> Encoder:
    """The encoder itself where its head fits the task, else a copy of its layers under a new head."""
    if head_fits(encoder, task):
        return encoder
    config = loadable_config(encoder)
    describe_head(config, task)
    auto = HEADS[task.head]
    made = modeling.compact_class if modeling.needs_compact_class(config) else modeling.uncut_class
    try:
        model_class = made(encoder.architecture, auto)
    except ValueError as error:
        raise UserError(f"{encoder.name} cannot get the head that {task.name} needs: {error}.") from None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
    model.base_model.load_state_dict(encoder.model.base_model.state_dict(), strict=False)  # heads differ in the pooler
    return encoder.with_model(model, packing="float32", stored=encoder.stored).to(encoder.device)


def loadable_config(encoder: Encoder) -> Any:
    """A copy of an encoder's configuration from which its model can be built again: a cut one gets the compact type.

    (The model of a cut encoder is still of the class that it was before the cut, which builds full-size layers.)
    """
    config = encoder.model.config
    name = type(encoder.model).__name__
    if not modeling.needs_compact_class(config):
        config = copy.deepcopy(config)
    else:
        name = modeling.compact_class(encoder.architecture, HEADS[encoder.head]).__name__
        config_class: Any = modeling.compact_class(encoder.architecture, "AutoConfig")
        config = config_class.from_dict(config.to_dict() | {"model_type": modeling.COMPACT + encoder.architecture})
    config.architectures = [name]
    return config


def describe_head(config: Any, task: Task) -> None:
    """Write what a task's head is into a configuration."""
    labels = ("value",) if task.kind == "regression" else task.labels
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    elif task.head == "question-answering":
        config.num_labels = 2
    if task.slot_labels:
        config.slot_id2label = {str(i): label for i, label in enumerate(task.slot_labels)}
    config.problem_type = {"regression": "regression", "multi-label": "multi_label_classification"}.get(task.kind)
