"""Classes that rebuild a model with structures: the entry into the files that ship inside every compact export.

This folder needs torch and transformers alone, because its files lie beside the weights of every compact export: so the
model loads on a machine that has never heard of ASC Studio. A compact model is built at full size (on the meta device,
by `from_pretrained`), each structure of its record changes it in order, and then its weights arrive.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

# Every sibling is named here: versions of transformers before 5 copy only the files that this one imports by itself.
from .architectures import ARCHITECTURES, COMPACT
from .bilstm import BILSTM_CLASSES, MODEL_TYPE, BiLstmConfig
from .codes import Codes  # noqa: F401
from .counting import count  # noqa: F401
from .cut import cut  # noqa: F401
from .differences import Differences  # noqa: F401
from .embedding_factors import EmbeddingFactors  # noqa: F401
from .embeddings import tokens_of  # noqa: F401
from .exits import Exits  # noqa: F401
from .factor import Factor  # noqa: F401
from .hashed import Hashed  # noqa: F401
from .headless import leave_without_heads  # noqa: F401
from .intent_slots import intent_slots_class
from .layer_calls import arguments  # noqa: F401
from .linears import FactoredLinear  # noqa: F401
from .packed import PackedLinear  # noqa: F401
from .packings import PACKINGS  # noqa: F401
from .positions import Positions  # noqa: F401
from .quantize import Quantize  # noqa: F401
from .record import STRUCTURES, build, checked
from .rows_in_use import RowsInUse  # noqa: F401
from .share import Share
from .sparse import Sparse  # noqa: F401
from .structure import Structure  # noqa: F401
from .tokens import Tokens  # noqa: F401
from .turns import Turn  # noqa: F401
from .vocabulary import Vocabulary  # noqa: F401

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

ENTRY_MODULE = "compact"  # what `auto_map` names
INTENT_SLOTS = "IntentSlots"
AUTO_CLASSES = {
    "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
    "AutoModelForSequenceClassification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForTokenClassification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForQuestionAnswering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
}


OWN_CONFIGS = {MODEL_TYPE: BiLstmConfig}  # of architectures that transformers lacks
OWN_CLASSES = {MODEL_TYPE: BILSTM_CLASSES}


def heads_of(model_type: str) -> tuple[str, ...]:
    """The Auto classes that have one for an architecture, and "IntentSlots" (ours)."""
    if model_type in OWN_CLASSES:
        return tuple(OWN_CLASSES[model_type])
    return (*(auto for auto, names in AUTO_CLASSES.items() if model_type in names), INTENT_SLOTS)


def uncut_class(model_type: str, auto: str) -> type[PreTrainedModel]:
    """The class of an architecture's ordinary model. auto: one of `heads_of`. Raises: ValueError where it has none."""
    if model_type in OWN_CLASSES:
        if auto not in OWN_CLASSES[model_type]:
            raise ValueError(f"there is no {auto.removeprefix('Auto')} for {model_type}")
        return OWN_CLASSES[model_type][auto]
    if auto == INTENT_SLOTS:
        return intent_slots_class(model_type)
    if model_type not in AUTO_CLASSES[auto]:
        raise ValueError(f"transformers has no {auto.removeprefix('Auto')} for {model_type}")
    return getattr(transformers, AUTO_CLASSES[auto][model_type])


@cache
def _config_class(model_type: str) -> type[PreTrainedConfig]:
    own = OWN_CONFIGS.get(model_type)
    base = own or type(AutoConfig.for_model(model_type))
    made: dict[str, Any] = {"model_type": COMPACT + model_type, "__module__": __name__}
    if own is not None:
        made["__init__"] = own.__init__  # transformers 5 gives one of its own to every class without
    return type(f"Asc{base.__name__}", (base,), made)


@cache
def compact_class(model_type: str, auto: str) -> type:
    """The class of a compact model of an architecture. auto: "AutoConfig" or one of `heads_of`."""
    if auto == "AutoConfig":
        return _config_class(model_type)
    base = uncut_class(model_type, auto)

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        record = checked(config)
        now = {name: getattr(config, name) for name in record["dense"]}
        config.asc = None
        for name, value in record["dense"].items():
            setattr(config, name, value)
        try:
            base.__init__(self, config, *args, **kwargs)
            build(self, record["structures"])
            tie(self, record["structures"])
            if {name: getattr(config, name) for name in now} != now:
                raise ValueError("its structures do not fit the depth and vocabulary of its configuration")
        finally:
            for name, value in now.items():
                setattr(config, name, value)
            config.asc = record
            vars(config).pop("asc_cut", None)  # the record of format 1, which stands in `asc` now

    made = {"__init__": __init__, "config_class": _config_class(model_type), "__module__": __name__}
    return type(f"Asc{base.__name__}", (base,), made)


def tie(model: PreTrainedModel, entries: Any) -> None:
    """Tell transformers which names of a model's tensors are others once more, so that a file holds each once."""
    if not any(entry["kind"] == Share.kind for entry in entries):
        return
    names: dict[int, str] = {}
    ties = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first != name:
            ties[name] = first
    own = getattr(model, "_tied_weights_keys", None)
    model._tied_weights_keys = {**own, **ties} if isinstance(own, dict) else ties
    model.all_tied_weights_keys = {**(getattr(model, "all_tied_weights_keys", None) or {}), **ties}


def sources() -> dict[str, str]:
    """File name -> text of the files that a compact export carries."""
    folder = Path(__file__).parent
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")) if path.stem != "__init__"
    }


@cache
def _class_names() -> dict[str, tuple[str, str]]:
    """Class name -> (architecture, Auto class), by name alone: nothing is imported for it."""
    names = {}
    for model_type, classes in OWN_CLASSES.items():
        names[f"Asc{OWN_CONFIGS[model_type].__name__}"] = (model_type, "AutoConfig")
        names |= {f"Asc{made.__name__}": (model_type, auto) for auto, made in classes.items()}
    for model_type in ARCHITECTURES:
        if model_type in CONFIG_MAPPING_NAMES:  # an older transformers lacks some
            names[f"Asc{CONFIG_MAPPING_NAMES[model_type]}"] = (model_type, "AutoConfig")
            for auto in heads_of(model_type):
                base = AUTO_CLASSES.get(auto, AUTO_CLASSES["AutoModel"])[model_type]
                name = f"{base.removesuffix('Model')}ForIntentSlots" if auto == INTENT_SLOTS else base
                names[f"Asc{name}"] = (model_type, auto)
    return names


def __getattr__(name: str) -> Any:
    """`AscBertForSequenceClassification` and its like, made when first asked for (PEP 562)."""
    if name not in _class_names():
        if name.startswith("Asc"):
            missing = f"has no {name.removeprefix('Asc')}, which this model is built on: install a newer one"
            raise AttributeError(f"transformers {transformers.__version__} {missing}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return compact_class(*_class_names()[name])


def register() -> None:
    """Make transformers' Auto classes load compact models without `trust_remote_code`."""
    for model_type in ARCHITECTURES:
        if model_type not in CONFIG_MAPPING_NAMES and model_type not in OWN_CONFIGS:
            continue
        config_class = _config_class(model_type)
        AutoConfig.register(COMPACT + model_type, config_class, exist_ok=True)
        for auto in heads_of(model_type):
            if auto == INTENT_SLOTS:
                continue
            made: Any = compact_class(model_type, auto)
            if auto == "AutoModel":
                # Transformers has no Auto class for intents and slots: AutoModel picks theirs by config.architectures.
                made = (made, compact_class(model_type, INTENT_SLOTS))
            getattr(transformers, auto).register(config_class, made, exist_ok=True)


__all__ = ["STRUCTURES", "compact_class", "register", "sources", "uncut_class"]
