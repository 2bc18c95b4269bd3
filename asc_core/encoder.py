"""Encoder: a fine-tuned Transformer encoder, its tokenizer, its parts, what it is and what it weighs."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from asc_core import modeling, probes
from asc_core.ancestry import Ancestor, Ancestry
from asc_core.errors import UserError, first_line
from asc_core.probes import Readout
from asc_core.sentences import Sentences
from asc_core.values import Cost, Plan, Shape

HEADS = {
    "embedding": "AutoModel",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "intent-slots": "IntentSlots",
}
CLASS_ENDINGS = {
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForIntentSlots": "intent-slots",
}
_SCHEME = re.compile(r"\w+:[\w.+-]+")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
modeling.register()


class Encoder:
    """A model in evaluation mode and float32 (on a CPU, half precision would be hundreds of times slower).

    source: where it was loaded from. name: what people call it. head: one of `HEADS`. packing: how its weights lie, or
    will lie, in a file, one of `modeling.PACKINGS`. sentences: how an embedding model makes one vector of a text; None
    where its folder does not say it. notes: sentences for the user on what was assumed when it was loaded. ancestry:
    what it was made from, as far as its folder says. stored: whether the weights of its layers
    are those that lie where `source` says.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        source: str,
        name: str | None = None,
        packing: str = "float32",
        sentences: Sentences | None = None,
        notes: tuple[str, ...] = (),
        ancestry: Ancestry = Ancestry(),
        stored: bool = False,
    ):
        self.model = model.eval()
        self.sentences = sentences
        self.notes = notes
        self.ancestry = ancestry
        self.stored = stored
        self.tokenizer = tokenizer
        self.source = source
        self.name = name or Path(source).name
        self.packing = packing
        self.architecture = modeling.architecture_name(model.config)
        self._rows = modeling.rows_of(model)
        table = modeling.ARCHITECTURES[self.architecture]
        width = modeling.head_width(model.config)
        self.readouts: list[Readout] = []
        for row, layer in enumerate(self._rows):
            for kind in table.kinds:
                linear, part = layer.get_submodule(table.readout(kind)), width if kind == "attention" else 1
                self.readouts.append(Readout(kind, row, linear, modeling.columns_of(linear) // part, part))
        for module in (*model.modules(), *self._rows):
            if hasattr(module, "chunk_size_feed_forward"):
                module.chunk_size_feed_forward = 0  # chunks would call a readout several times a forward
        ffn_in = [modeling.feeding(table, row, "ffn")[0] for row in self._rows if table.kinds]
        probes.install(model.base_model, self._rows, self.readouts, ffn_in)

    def __repr__(self) -> str:
        return f"Encoder({self.name}: {self.shape}; head: {self.head}; {self.parameters:,} parameters)"

    @cached_property
    def shape(self) -> Shape:
        by_kind = {kind: [0] * len(self._rows) for kind in ("attention", "ffn")}
        for readout in self.readouts:
            by_kind[readout.kind][readout.row] = readout.blocks
        rows = tuple(modeling.executed_rows(self.model))
        return Shape(
            architecture=self.architecture,
            hidden=int(self.model.config.hidden_size),
            head_width=modeling.head_width(self.model.config),
            heads=tuple(by_kind["attention"]),
            neurons=tuple(by_kind["ffn"]),
            rows=rows,
            shares_weights=modeling.depth_is_grouped(self.model) or len(set(rows)) < len(rows),
        )

    @property
    def has_parts(self) -> bool:
        """Whether its layers are a Transformer's, of heads and neurons that can be scored and cut."""
        return bool(modeling.ARCHITECTURES[self.architecture].kinds)

    def require_parts(self) -> None:
        """Raises: UserError where there is nothing to score or to cut."""
        if not self.has_parts:
            raise UserError(
                f"{self.name} is a {self.architecture} model, which has no heads or neurons to score or to cut: give "
                "its word embedding and its matrices fewer numbers or bits instead (asc compress --recipe)."
            )

    @property
    def structures(self) -> tuple[dict[str, Any], ...]:
        """What was done to the model that it came from, as it stands in `config.asc`."""
        return modeling.structures_of(self.model.config)

    @cached_property
    def blueprint(self) -> str:
        """Fingerprint of what the model is, whatever its weights: architecture, widths, structures.

        Equal blueprints take equal time. Where nothing but cuts was done, the shape says it all.
        """
        others: list[Any] = [e for e in self.structures if e["kind"] != "cut" and not _is_ordinary(e)]
        if not self.has_parts:  # its shape says nothing of its matrices
            others += [[[str(name), list(shape)] for name, shape in modeling.shapes(row).items()] for row in self._rows]
        if not others:
            return self.shape.fingerprint
        return _digest(json.dumps([self.shape.fingerprint, others], sort_keys=True).encode())

    @cached_property
    def weights(self) -> str:
        """Fingerprint of blueprint and weights: results belong to these numbers, not to a folder's name."""
        plain = self.blueprint == self.shape.fingerprint
        digest = hashlib.blake2b(b"" if plain else self.blueprint.encode(), digest_size=8)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        if self.head == "embedding" and self.sentences is not None:
            digest.update(self.sentences.fingerprint())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def head(self) -> str:
        name = type(self.model).__name__
        return next((head for ending, head in CLASS_ENDINGS.items() if name.endswith(ending)), "embedding")

    @property
    def max_length(self) -> int:
        """Tokens that fit, special tokens included."""
        most = modeling.most_tokens(self.model.config)
        own = self.sentences.max_tokens if self.sentences is not None and self.head == "embedding" else None
        return int(min(self.tokenizer.model_max_length, *(n for n in (1 << 20, most, own) if n is not None)))

    @property
    def shortened(self) -> bool:
        """Whether it has fewer positions than it was made with."""
        return any(entry["kind"] == "positions" for entry in self.structures)

    @property
    def tokens(self) -> int:
        """Tokens that it has embeddings for."""
        return modeling.tokens_of(self.model.get_input_embeddings())

    @property
    def labels(self) -> tuple[str, ...]:
        names = self.model.config.id2label or {}
        return tuple(str(names[i]) for i in sorted(names, key=int))

    @property
    def slot_labels(self) -> tuple[str, ...]:
        names = getattr(self.model.config, "slot_id2label", None) or {}
        return tuple(str(names[i]) for i in sorted(names, key=int))

    @property
    def type_vocab_size(self) -> int:
        """Texts of one input that it tells apart by token types; 0 where it takes none, whatever its config says."""
        takes_them = "token_type_ids" in inspect.signature(self.model.forward).parameters
        return int(getattr(self.model.config, "type_vocab_size", 0) or 0) if takes_them else 0

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        return self.model(**inputs)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @cached_property
    def part_counts(self) -> modeling.PartCounts:
        """What each part weighs: what a cost model needs to know of this encoder."""
        return modeling.count_parts(self.model, self.packing)

    def cost(self, lengths: np.ndarray) -> Cost:
        """What the model costs as it stands; the only source of a model's cost.

        lengths: (texts,), tokens of each text without padding. Raises: UserError where there is none.
        """
        if not len(lengths):
            raise UserError("FLOPs are counted at the lengths of the task's texts: give at least one text.")
        whole = modeling.count(self.model, self.packing)
        each_layer = self.layer_lengths(lengths)
        return Cost(
            parameters=whole.parameters,
            encoder_parameters=whole.parameters - self.part_counts.outside_layers,
            flops=modeling.layer_flops(self.model, each_layer) / len(lengths),
            bytes=whole.bytes,
        )

    def layer_lengths(self, lengths: np.ndarray) -> list[Sequence[int]]:
        """For each layer, the tokens of each text that it runs on. lengths: as for `cost`."""
        found = []
        for layer in range(self.shape.layers):
            texts: Sequence[int] = lengths.tolist()
            for entry in self.structures:
                texts = modeling.STRUCTURES[entry["kind"]].lengths(entry, texts, layer)
            found.append(texts)
        return found

    @property
    def public_name(self) -> str:
        """What to call it elsewhere: a hub id or a scheme's name as it is, of a folder its last name."""
        scheme = _SCHEME.fullmatch(self.source) is not None and not Path(self.source).exists()
        return self.source if scheme or is_hub_id(self.source) else self.name

    def as_ancestor(self, flops: Mapping[str, float] | None = None) -> Ancestor:
        """What is kept of it by what is made of it. flops: see `Ancestor`."""
        place = Path(self.source)
        folder = str(place.resolve()) if self.stored and place.is_dir() else ""
        return Ancestor(
            name=self.name,
            weights=self.weights,
            parameters=self.parameters,
            bytes=modeling.count(self.model, self.packing).bytes,
            source=self.source if self.stored and not folder else "",
            folder=folder,
            flops=dict(flops or {}),
        )

    def cut(self, plan: Plan) -> Encoder:
        """A smaller encoder without the parts that a plan removes. This one stays as it is.

        Parameters that the cut does not touch (embeddings, norms, task head) are shared with this encoder.
        Raises: UserError where the plan is for another shape, or what was done before cannot be cut.
        """
        if plan.shape != self.shape:
            raise UserError(f"The plan is for {plan.shape}; this encoder is {self.shape}.")
        smaller = _copy_sharing(self.model)
        try:
            entry = modeling.cut(smaller, plan.heads, plan.neurons, plan.layers)
            smaller.config.asc = modeling.added(self.model.config, entry)
        except ValueError as error:
            raise UserError(f"{self.name} cannot be cut: {error}.") from None
        return self.with_model(smaller)

    def with_structure(
        self, entry: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None, tokenizer: Any = None
    ) -> Encoder:
        """An encoder with one more structure, on the same weights where those stay. This one stays as it is.

        entry: as it will stand in `config.asc`. tensors: by their names in the new model, values of those that the
        structure makes new, or other values for old ones. tokenizer: where it is another.
        Raises: UserError where the structure does not fit the model or what was done to it before.
        """
        entry = dict(entry)
        made = modeling.STRUCTURES[entry["kind"]]
        changed = _copy_sharing(self.model)
        try:
            made.check(entry, self.model.config)
            record = modeling.added(self.model.config, entry)
            made.build(changed, entry)
            changed.config.asc = record
            modeling.tie(changed, record["structures"])
            missing = set(made.needs(changed, entry)) - set(tensors or {})
            if missing:
                raise ValueError(f"there are no values for {min(missing)}")
            _put_tensors(changed, tensors or {})
        except ValueError as error:
            raise UserError(f"{self.name} cannot get this structure ({entry['kind']}): {error}.") from None
        return self.with_model(changed, tokenizer=tokenizer or self.tokenizer)

    def packed(self, packing: str) -> Encoder:
        """As it will be once it was stored so: its numbers rounded as the file rounds them. This one stays as it is.

        Raises: UserError where there is no such packing, or where it cannot hold a weight.
        """
        stored_as = packing_named(packing)
        changed = copy.deepcopy(self.model)
        with torch.no_grad():
            for name, tensor in changed.state_dict().items():
                stored = stored_as.unpacked(tensor)
                if tensor.is_floating_point() and not torch.isfinite(stored).all():
                    raise UserError(f"The weight {name} holds numbers that are not finite in {packing}.")
                tensor.copy_(stored)
        return self.with_model(changed, packing=packing)

    def copy(self) -> Encoder:
        """A copy that shares nothing, to train on."""
        return self.with_model(copy.deepcopy(self.model))

    def with_model(self, model: PreTrainedModel, **others: Any) -> Encoder:
        """An encoder like this one with another model in it. others: what else is different, by name."""
        own = {
            "tokenizer": self.tokenizer,
            "source": self.source,
            "name": self.name,
            "packing": self.packing,
            "sentences": self.sentences,
            "notes": self.notes,
            "ancestry": self.ancestry,
        }
        return Encoder(model, **(own | others))

    def to(self, device: str | torch.device) -> Encoder:
        """Raises: UserError where there is no such device."""
        try:
            self.model.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = first_line(error)
            raise UserError(f"The device {device} cannot be used ({reason}): name another, such as cpu.") from None
        return self


def is_hub_id(source: str) -> bool:
    """Whether it looks like one (owner/name), and is no folder here."""
    return _HUB_ID.fullmatch(source) is not None and not Path(source).exists()


def _copy_sharing(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of all modules and the configuration, on the same parameters and buffers."""
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def packing_named(name: str) -> modeling.Packing:
    """Raises: UserError where there is no such packing."""
    if name not in modeling.PACKINGS:
        raise UserError(f"Weights are stored as {' or '.join(modeling.PACKINGS)}, not as {name!r}.")
    return modeling.PACKINGS[name]


def _put_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give parameters and buffers other values without touching the tensors that models share. Raises: ValueError."""
    for name, values in tensors.items():
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        old = getattr(module, last)
        if old.shape != values.shape:
            raise ValueError(f"{name} is {tuple(old.shape)}, its values are {tuple(values.shape)}")
        new = values.detach().to(old.device, old.dtype).clone(memory_format=torch.contiguous_format)
        parameter = isinstance(old, nn.Parameter)
        setattr(module, last, nn.Parameter(new, requires_grad=old.requires_grad) if parameter else new)


def _is_ordinary(entry: Mapping[str, Any]) -> bool:
    return modeling.STRUCTURES[entry["kind"]].ordinary


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
