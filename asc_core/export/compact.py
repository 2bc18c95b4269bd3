"""The compact form: a directory with the widths that the cut left, and the one file of code that builds them.

It loads with `trust_remote_code=True` wherever torch and transformers are, and without where `asc_core` has been
imported. Without both, its `model_type` is unknown to transformers, which says so; the weights of a cut model read by
the class of an uncut one would be wrong without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_core import modeling
from asc_core.encoder import HEADS
from asc_core.export.directory import Contents, ExportReport, write_directory

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


def export_compact(encoder: Encoder, out: str | Path, **options: Any) -> ExportReport:
    """See `asc_core.export.export` for options and errors.

    An encoder from which nothing is cut becomes an ordinary checkpoint that needs no code of ours, unless its class is
    ours (intents and slots).
    """
    return write_directory(contents(encoder), encoder, out, **options)


def contents(encoder: Encoder) -> Contents:
    """What goes into the directory of the compact form."""
    own_class = modeling.needs_compact_class(encoder.model.config)
    if not own_class and encoder.head != "intent-slots":
        return Contents("compact", HEADS[encoder.head], uncut_config(encoder), encoder.model.state_dict())
    auto = "AutoModel" if encoder.head == "intent-slots" else HEADS[encoder.head]
    model_class = modeling.compact_class(encoder.architecture, HEADS[encoder.head])
    config_class: Any = modeling.compact_class(encoder.architecture, "AutoConfig")
    data = encoder.model.config.to_dict() | {"model_type": modeling.COMPACT + encoder.architecture}
    if not data.get("asc"):
        data["asc"] = {"format": 2, "dense": {}, "structures": []}
    config = config_class.from_dict(data)
    config.architectures = [model_class.__name__]
    named = {"AutoConfig": config_class, "AutoModel": modeling.compact_class(encoder.architecture, "AutoModel")}
    named[auto] = model_class
    config.auto_map = {name: f"{modeling.ENTRY_MODULE}.{made.__name__}" for name, made in named.items()}
    return Contents("compact", auto, config, encoder.model.state_dict(), modeling.sources())


def uncut_config(encoder: Encoder, **values: Any) -> Any:
    """The configuration of an ordinary checkpoint of this encoder's architecture. values: what is different in it."""
    config_class = type(modeling.AutoConfig.for_model(encoder.architecture))
    data = encoder.model.config.to_dict() | {"model_type": encoder.architecture} | values
    for name in ("asc", "auto_map"):
        data.pop(name, None)
    config = config_class.from_dict(data)
    config.architectures = [modeling.uncut_class(encoder.architecture, HEADS[encoder.head]).__name__]
    return config
