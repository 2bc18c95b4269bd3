"""The compact form: a directory with the widths that the cut left, and the code that builds them.

It loads with `trust_remote_code=True` wherever torch and transformers are, and without where `asc_core` has been
imported. Without both, its `model_type` is unknown to transformers, which says so; the weights of a cut model read by
the class of an uncut one would be wrong without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_core import modeling
from asc_core.encoder import HEADS
from asc_core.export.answer import script
from asc_core.export.checkpoint import Payload, auto_class_of, loading, plain_config
from asc_core.export.formats.format import Written
from asc_core.export.packings import PACKINGS, Packing
from asc_core.export.weights import ties_of

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

MODELING_FILE = "modeling_asc.py"


class Compact:
    name = "compact"
    title = "Compact"
    about = "as small as the cut, loads with transformers and one file of code"
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
            needs="It needs one file of code, which lies beside the weights.",
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

    An encoder from which nothing is cut becomes an ordinary checkpoint that needs no code of ours, unless its class is
    ours (intents and slots), or it shares tensors that the ordinary class would not share again.
    """
    state = encoder.model.state_dict()
    ties = ties_of(dict(encoder.model.named_parameters(remove_duplicate=False)))
    known = getattr(encoder.model, "all_tied_weights_keys", {})
    if not is_cut(encoder) and encoder.head != "intent-slots" and ties.keys() <= known.keys():
        return Payload(plain_config(encoder), state, ties)
    classes = modeling.compact_classes(encoder.architecture)
    model_class = classes[HEADS[encoder.head]]
    auto = "AutoModel" if encoder.head == "intent-slots" else HEADS[encoder.head]
    data = encoder.model.config.to_dict() | {"model_type": modeling.COMPACT + encoder.architecture, "asc_ties": ties}
    if data.get("asc_cut") is None:
        data["asc_cut"] = modeling.whole(encoder.model)
    config_class: Any = classes["AutoConfig"]
    config = config_class.from_dict(data)
    config.architectures = [model_class.__name__]
    module = MODELING_FILE.removesuffix(".py")
    config.auto_map = {
        name: f"{module}.{made.__name__}"
        for name, made in (
            ("AutoConfig", classes["AutoConfig"]),
            ("AutoModel", classes["AutoModel"]),
            (auto, model_class),
        )
    }
    source = Path(modeling.__file__).read_text(encoding="utf-8")
    return Payload(config, state, ties, {MODELING_FILE: source})


def is_cut(encoder: Encoder) -> bool:
    return getattr(encoder.model.config, "asc_cut", None) is not None
