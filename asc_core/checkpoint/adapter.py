"""PEFT adapters: which kinds can be merged into weights, where their base lies, and what of one does not fit it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel

from asc_core import modeling
from asc_core.checkpoint.adapter_bounds import check_patterns
from asc_core.checkpoint.reasons import reason
from asc_core.errors import UserError

WEIGHTS = "adapter_model.safetensors"
_MERGEABLE = (
    "LORA",
    "ADALORA",
    "IA3",
    "LOHA",
    "LOKR",
    "OFT",
    "BOFT",
    "VERA",
    "FOURIERFT",
    "LN_TUNING",
    "HRA",
    "VBLORA",
)
_NAMES = "LoRA (also DoRA and rsLoRA), AdaLoRA, IA3, LoHa, LoKr, OFT, BOFT, VeRA, FourierFT, LN tuning, HRA, VB-LoRA"
_SIZES = re.compile(r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\).*?\[(.*?)\]\)", re.S)
HEADS_OF_TASKS = {
    "SEQ_CLS": "sequence-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "embedding",
}


def require_mergeable(folder: Path, settings: dict[str, Any]) -> None:
    """Raises: UserError where what the adapter adds is no change of weights, or is unknown."""
    kind = str(settings.get("peft_type"))
    if kind in _MERGEABLE:
        return
    name = kind.replace("_", " ").lower()
    what = f"{name} cannot be merged into weights" if _is_known(kind) else f"the kind {kind!r} is unknown"
    raise UserError(f"The adapter in {folder} does not fit the encoder: {what}; adapters that can: {_NAMES}.")


def _is_known(kind: str) -> bool:
    import peft

    return kind in peft.PeftType.__members__


def base_of(folder: Path, named: str) -> str:
    """Where the base that an adapter names lies: as it says from here, else beside the adapter itself."""
    path = Path(named)
    if path.is_absolute() and not path.is_dir() and (folder / path.name / "config.json").is_file():
        return str(folder / path.name)  # written into the adapter's own folder, which was moved
    if not path.is_absolute() and not path.is_dir():
        for near in (folder.parent / path, folder / path):
            if near.is_dir():
                return str(near)
    return named


def merged(model: PreTrainedModel, folder: Path, base: str, said: dict[str, Any]) -> PreTrainedModel:
    """The model with an adapter in its weights. said: its configuration. Raises: UserError where it does not fit."""
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a base that is no hub id, and about the inside of peft
            check_patterns(folder, said, [name for name, _ in model.named_modules()])
            _resize_tokens(model, folder)
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
            _require_every_weight(adapted, folder)
            return adapted.merge_and_unload()
    except UserError:
        raise
    except Exception as error:  # peft raises whatever its tuners, torch and safetensors do
        raise UserError(f"The adapter in {folder} does not fit the encoder {base}: {_why(error)}.") from None


def _why(error: Exception) -> str:
    size = _SIZES.search(str(error))
    if size is None:
        return reason(error)
    name, stored, wanted = size.groups()
    return (
        f"{_plain(name)} is {stored.replace(', ', ' x ')} in the adapter, the encoder's is "
        f"{wanted.replace(', ', ' x ')}; give the encoder that it was trained on (--base)"
    )


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _resize_tokens(model: PreTrainedModel, folder: Path) -> None:
    """Give the model the rows that an adapter brings for tokens which its training added."""
    table = model.get_input_embeddings()
    own = modeling.tokens_of(table)
    path = next((name for name, module in model.named_modules() if module is table), "")
    for name, shape in shapes(folder).items():
        if name.endswith(f"{path}.weight") and shape[0] != own:
            if not modeling.is_plain_table(table) or shape[1:] != list(table.weight.shape[1:]):
                continue
            model.resize_token_embeddings(shape[0], mean_resizing=False)
            return


def shapes(folder: Path) -> dict[str, list[int]]:
    """Name -> shape of an adapter's weights; none where it has none."""
    if not (folder / WEIGHTS).is_file():
        return {}
    with safe_open(str(folder / WEIGHTS), framework="np") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dict)


def _require_every_weight(adapted: Any, folder: Path) -> None:
    """peft only warns where an adapter's weights have other names than the encoder's modules, and leaves them out.

    Raises: ValueError with one of the names.
    """
    import peft

    stored = set(shapes(folder))
    wanted = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    # Tables of tokens may stand in the file once more, under names that differ with what peft knows of the base.
    known = wanted | set(peft.get_peft_model_state_dict(adapted)) | set(adapted.state_dict())
    for names, what in (
        (stored - known, "holds a weight that the encoder has no place for"),
        (wanted - stored, "lacks"),
    ):
        if names:
            raise ValueError(f"it {what}: {min(names)}")


def size_head_like(config: Any, folder: Path) -> None:
    """An adapter of someone else brings its classifier but not the number of labels: read it off the weights."""
    if not (folder / WEIGHTS).exists():
        return
    for name, shape in shapes(folder).items():
        if name.endswith(("classifier.weight", "out_proj.weight", "score.weight")) and "lora" not in name:
            config.num_labels = shape[0]
