"""The compact form: a directory with the widths that the cut left, and the code that builds them.

It loads with `trust_remote_code=True` wherever torch and transformers are, and without where `asc_core` has been
imported. Without both, its `model_type` is unknown to transformers, which says so; the weights of a cut model read by
the class of an uncut one would be wrong without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_core import modeling
from asc_core.checkpoint.own_code import auto_map_of
from asc_core.encoder import HEADS
from asc_core.export.answer import script
from asc_core.export.checkpoint import Payload, auto_class_of, loading, plain_config
from asc_core.export.formats.format import Written
from asc_core.export.weights import ties_of
from asc_core.modeling import PACKINGS, Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


class Compact:
    name = "compact"
    title = "Compact"
    about = "as small as it is, loads with transformers and the code beside it"
    needs = ("torch", "transformers")
    zeros = False
    tolerance = 1e-4
    packings = tuple(PACKINGS)
    answer = script("with_transformers.py")

    def refuses(self, encoder: Encoder) -> str | None:
        return None

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        payload = payload_of(encoder)
        written = payload.write(folder, packing)
        request = {"auto": auto_class_of(folder), "trust_remote_code": bool(payload.code)}
        if not payload.code:
            return Written(written, request)
        return Written(
            written,
            request,
            needs="It needs the few files of code that lie beside the weights.",
            limitations=(
                "The original's class cannot hold these weights: load them with the one that comes with them, as "
                "above.",
            ),
            tags=("custom_code",),
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading(folder, name)


def payload_of(encoder: Encoder) -> Payload:
    """What goes into the directory.

    An encoder without structures becomes an ordinary checkpoint that needs no code of ours, unless its class is ours
    (intents and slots). A tensor of several names is stored once where its class shares it again.
    """
    state = encoder.model.state_dict()
    known = getattr(encoder.model, "all_tied_weights_keys", None) or {}
    ties = ties_of(dict(encoder.model.named_parameters(remove_duplicate=False)))
    ties = {name: other for name, other in ties.items() if name in known}
    if not modeling.needs_compact_class(encoder.model.config) and encoder.head != "intent-slots":
        return Payload(plain_config(encoder), state, ties)
    model_class = modeling.compact_class(encoder.architecture, HEADS[encoder.head])
    config_class: Any = modeling.compact_class(encoder.architecture, "AutoConfig")
    data = encoder.model.config.to_dict() | {"model_type": modeling.COMPACT + encoder.architecture}
    if not data.get("asc"):
        data["asc"] = modeling.NO_STRUCTURES
    config = config_class.from_dict(data)
    config.architectures = [model_class.__name__]
    config.auto_map = auto_map_of(encoder.architecture, encoder.head)
    return Payload(config, state, ties, modeling.sources())
