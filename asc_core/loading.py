"""Loading an encoder: checkpoint folders, hub ids, adapters, and whatever else has registered a scheme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from asc_core import modeling
from asc_core.ancestry import Ancestry
from asc_core.checkpoint import adapter as adapters
from asc_core.checkpoint.adapter_bounds import check_adapter
from asc_core.checkpoint.digests import check_loadable
from asc_core.checkpoint.folder import check_folder, check_regular, load_tokenizer
from asc_core.checkpoint.hub import hub_folder
from asc_core.checkpoint.in_memory import in_memory, require_same_answers
from asc_core.checkpoint.reasons import json_object
from asc_core.checkpoint.settings import Settings, settings_of, without_pruned_heads
from asc_core.checkpoint.weights import load_model, require_finite
from asc_core.encoder import CLASS_ENDINGS, HEADS, Encoder
from asc_core.errors import UserError
from asc_core.sentences import ASSUMED, encoder_folder, sentences_of
from asc_core.tasks.reach import is_confined


@dataclass(frozen=True)
class Scheme:
    """What a source such as "demo:nli" means. load: (name, device) -> encoder. folder: name -> checkpoint folder."""

    load: Callable[[str, str | None], Encoder]
    folder: Callable[[str], Path]


SCHEMES: dict[str, Scheme] = {}  # "demo" -> ...; who has a scheme registers it here


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_encoder(
    source: str | Path | PreTrainedModel | Any,
    *,
    tokenizer: Any = None,
    name: str | None = None,
    device: str | None = None,
    head: str | None = None,
    labels: Sequence[str] | None = None,
    slot_labels: Sequence[str] | None = None,
    regression: bool = False,
    multi_label: bool = False,
    trust_remote_code: bool = False,
    base: str | Path | None = None,
) -> Encoder:
    """Load a checkpoint folder, a PEFT adapter folder, a hub id, or `demo:NAME`; or take a model in memory.

    head, labels, slot_labels, regression, multi_label: the head that is wanted, for an encoder to be fine-tuned;
    by default the checkpoint's own. Weights are computed in float32 whatever their stored type. base: for an adapter,
    another base than it names. tokenizer, name: of a model in memory, which is copied and stays as it is.
    Raises: UserError where there is no such checkpoint, no tokenizer, only pickled weights, broken weights, weights
    that are missing, left over or of other shapes, an architecture that is not supported, or an exported folder whose
    files are not those that were exported (`check_loadable`).
    """
    wanted = _Head(head, _names(labels, "labels"), _names(slot_labels, "slot_labels"), regression, multi_label)
    if head is not None and not (isinstance(head, str) and head in HEADS):
        raise UserError(f"There is no head {head!r:.60}; there are {', '.join(HEADS)}.")
    if name is not None and not isinstance(name, str):
        raise UserError(f"A model's name is a text, not {name!r:.60}.")
    if not isinstance(source, str | Path):
        _refuse_base(base, "A model in memory")
        found = in_memory(source, tokenizer, name, lambda folder, own: _from_folder(folder, own, wanted, device, False))
        if not wanted.asked:
            require_same_answers(source, found.model, found.tokenizer, found.source)
        return found
    source = str(source)
    if tokenizer is not None or name is not None:
        raise UserError(f"{source} brings its own tokenizer and name: those are for a model in memory.")
    scheme, colon, rest = source.partition(":")
    if colon and scheme in SCHEMES:
        _refuse_base(base, source)
        return SCHEMES[scheme].load(rest, device)
    folder = Path(source) if _is_folder(source) else hub_folder(source)
    if (folder / "adapter_config.json").exists():
        check_regular(folder)
        check_folder(folder, source)
        return load_adapter(folder, base=base, device=device, source=source)
    _refuse_base(base, source)
    return _from_folder(folder, source, wanted, device, trust_remote_code)


def _is_folder(source: str) -> bool:
    try:
        return Path(source).is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UserError(f"{source[:200]} cannot be looked at: {error.strerror}.") from None


def _names(given: Sequence[str] | None, field: str) -> Sequence[str] | None:
    if given is None or (isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)):
        return given
    raise UserError(f"{field} are a list of names, not {given!r:.60}.")


@dataclass(frozen=True)
class _Head:
    """The head that is wanted; by default the checkpoint's own."""

    head: str | None
    labels: Sequence[str] | None
    slot_labels: Sequence[str] | None
    regression: bool
    multi_label: bool

    @property
    def asked(self) -> bool:
        return self != _Head(None, None, None, False, False)

    def configure(self, config: Any) -> None:
        if self.labels is not None:
            config.id2label = dict(enumerate(self.labels))
            config.label2id = {label: i for i, label in enumerate(self.labels)}
        if self.slot_labels is not None:
            config.slot_id2label = {str(i): label for i, label in enumerate(self.slot_labels)}
        if self.regression:
            config.num_labels = 1
            config.problem_type = "regression"
        if self.multi_label:
            config.problem_type = "multi_label_classification"


def _from_folder(folder: Path, source: str, wanted: _Head, device: str | None, trust_remote_code: bool) -> Encoder:
    check_regular(folder)
    check_loadable(folder)
    inner = encoder_folder(folder)
    check_folder(inner, source if inner == folder else None)
    settings = _settings(inner, source)
    wanted.configure(settings.config)
    config = without_pruned_heads(settings, source)
    model_class = _model_class(config, wanted.head)
    own_head = not wanted.asked and model_class.__name__.endswith(tuple(CLASS_ENDINGS))
    model = load_model(model_class, inner, config, own_head, source, settings.quantised)
    tokenizer = load_tokenizer(inner, source, trust_remote_code)
    sentences = sentences_of(folder)
    encoder = Encoder(
        model,
        tokenizer,
        source,
        packing=settings.packing,
        sentences=sentences,
        ancestry=Ancestry.read(folder),
        stored=True,
    )
    encoder.notes = _notes(encoder)
    return encoder.to(device or best_device())


def _notes(encoder: Encoder) -> tuple[str, ...]:
    """What had to be assumed of an embedding model."""
    if encoder.head != "embedding":
        return ()
    return encoder.sentences.notes if encoder.sentences is not None else (f"{encoder.source} {ASSUMED}",)


def _refuse_base(base: str | Path | None, source: str) -> None:
    if base is not None:
        raise UserError(f"{source} is no adapter, so it has no base: leave {base} (--base) out.")


def load_adapter(
    folder: str | Path, base: str | Path | None = None, device: str | None = None, source: str | None = None
) -> Encoder:
    """A PEFT adapter merged into its base encoder.

    The head and its labels come from `config.json` beside the adapter where there is one, which is how `asc finetune`
    writes it. base: overrides the adapter's `base_model_name_or_path`. source: the adapter's name, by default its
    folder's.
    """
    folder = Path(folder)
    check_regular(folder)
    check_loadable(folder)
    said = json_object(folder / "adapter_config.json")
    adapters.require_mergeable(folder, said)
    check_adapter(folder, said, adapters.shapes(folder))
    named = str(base or said.get("base_model_name_or_path") or "")
    if not named:
        raise UserError(
            f"{folder}/adapter_config.json names no base_model_name_or_path: say which encoder it adapts (--base)."
        )
    found = _base_folder(folder, named, chosen=base is not None)
    check_regular(found)
    check_loadable(found)
    inner = encoder_folder(found)
    check_folder(inner)
    if (folder / "config.json").exists():
        settings, head = _settings(folder, str(folder)), None
    else:
        settings = _settings(inner, named)
        head = adapters.HEADS_OF_TASKS.get(str(said.get("task_type")))
        adapters.size_head_like(settings.config, folder)
    config = without_pruned_heads(settings, named)
    model = load_model(_model_class(config, head), inner, config, False, named, settings.quantised)
    merged = adapters.merged(model, folder, named, said).float()
    require_finite(merged, str(folder))
    tokenizer = load_tokenizer(folder if (folder / "tokenizer_config.json").exists() else inner, str(folder), False)
    sentences = sentences_of(folder) or sentences_of(found)
    past = Ancestry.read(folder)
    encoder = Encoder(merged, tokenizer, source or str(folder), sentences=sentences, ancestry=past, stored=True)
    encoder.notes = _notes(encoder)
    return encoder.to(device or best_device())


def _base_folder(folder: Path, named: str, chosen: bool) -> Path:
    """The folder of an adapter's base. chosen: whether the user named it, and not the adapter."""
    scheme, colon, name = named.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme].folder(name)
    path = Path(named if chosen else adapters.base_of(folder, named))
    if path.is_dir():
        if not chosen and is_confined() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"The adapter in {folder} names a folder outside its own as its base: name another, --base."
            )
        return path
    try:
        return hub_folder(named)
    except UserError:
        if chosen:
            raise
        raise UserError(
            f"The adapter in {folder} names as its base {named!r}, which is neither a folder here nor a model that can "
            "be fetched now: name another with --base."
        ) from None


def _settings(folder: Path, source: str) -> Settings:
    return settings_of(source, json_object(folder / "config.json"))


def _model_class(config: Any, head: str | None) -> type[PreTrainedModel]:
    name = modeling.architecture_name(config)
    compact = config.model_type.startswith(modeling.COMPACT)
    if head is None:
        written = config.architectures or [""]
        if not isinstance(written, list) or not isinstance(written[0], str):
            raise UserError(f"The configuration's architectures are no list of class names: {written!r:.80}.")
        head = next((h for ending, h in CLASS_ENDINGS.items() if written[0].endswith(ending)), "embedding")
    auto = HEADS[head]
    try:
        return (modeling.compact_class if compact else modeling.uncut_class)(name, auto)
    except ValueError as error:
        raise UserError(f"No model can be made of this encoder with the head {head!r}: {error}.") from None
