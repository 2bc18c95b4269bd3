"""Loading an encoder: checkpoint folders, hub ids, adapters, and whatever else has registered a scheme."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from asc_core import modeling
from asc_core.encoder import CLASS_ENDINGS, HEADS, Encoder
from asc_core.errors import UserError, first_line


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
    source: str | Path,
    *,
    device: str | None = None,
    head: str | None = None,
    labels: Sequence[str] | None = None,
    slot_labels: Sequence[str] | None = None,
    regression: bool = False,
    multi_label: bool = False,
    trust_remote_code: bool = False,
) -> Encoder:
    """Load a checkpoint folder, a PEFT adapter folder, a hub id, or `demo:NAME`.

    head, labels, slot_labels, regression, multi_label: the head that is wanted, for an encoder to be fine-tuned;
    by default the checkpoint's own. Weights are computed in float32 whatever their stored type.
    Raises: UserError where there is no such checkpoint, no tokenizer, only pickled weights, broken weights, or an
    architecture that is not supported.
    """
    source = str(source)
    scheme, colon, name = source.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme].load(name, device)
    folder = Path(source)
    if folder.is_dir():
        _check_folder(folder)
        if (folder / "adapter_config.json").exists():
            return load_adapter(folder, device=device)
    elif folder.exists() or source.startswith((".", "/", "~")):
        raise UserError(f"{source} is not a folder with a checkpoint: give a folder, a hub id or demo:NAME.")
    config = _load_config(source, trust_remote_code)
    packing = "float16" if config.dtype == torch.float16 else "float32"
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    if slot_labels is not None:
        config.slot_id2label = {str(i): label for i, label in enumerate(slot_labels)}
    if regression:
        config.num_labels = 1
        config.problem_type = "regression"
    if multi_label:
        config.problem_type = "multi_label_classification"
    model_class = _model_class(config, head)
    asked = head is not None or labels is not None or slot_labels is not None or regression or multi_label
    own_head = not asked and model_class.__name__.endswith(tuple(CLASS_ENDINGS))
    model = _load_model(model_class, source, config, trust_remote_code, own_head)
    tokenizer = _load_tokenizer(source, trust_remote_code)
    return Encoder(model, tokenizer, source, packing=packing).to(device or best_device())


def load_adapter(folder: str | Path, base: str | Path | None = None, device: str | None = None) -> Encoder:
    """A PEFT adapter merged into its base encoder.

    The head and its labels come from `config.json` beside the adapter where there is one, which is how `asc finetune`
    writes it. base: overrides the adapter's `base_model_name_or_path`.
    """
    import peft

    folder = Path(folder)
    settings = _json(folder / "adapter_config.json")
    base = str(base or settings.get("base_model_name_or_path") or "")
    if not base:
        raise UserError(f"{folder}/adapter_config.json names no base_model_name_or_path: say which encoder it adapts.")
    scheme, colon, name = base.partition(":")
    if colon and scheme in SCHEMES:
        base = str(SCHEMES[scheme].folder(name))
    if Path(base).is_dir():
        _check_folder(Path(base))
    if (folder / "config.json").exists():
        config, head = _load_config(str(folder), False), None
    else:
        config = _load_config(base, False)
        head = {
            "SEQ_CLS": "sequence-classification",
            "TOKEN_CLS": "token-classification",
            "QUESTION_ANS": "question-answering",
            "FEATURE_EXTRACTION": "embedding",
        }.get(str(settings.get("task_type")))
        _size_head_like_adapter(config, folder)
    model = _load_model(_model_class(config, head), base, config, False, own_head=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a base that is no hub id, and about the inside of peft
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
            _require_every_weight(adapted, folder)
            merged = adapted.merge_and_unload()
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError) as error:
        raise UserError(f"The adapter in {folder} does not fit the encoder {base}: {_reason(error)}.") from None
    tokenizer_source = folder if (folder / "tokenizer_config.json").exists() else base
    tokenizer = _load_tokenizer(str(tokenizer_source), False)
    return Encoder(merged.float(), tokenizer, str(folder)).to(device or best_device())


def _require_every_weight(adapted: Any, folder: Path) -> None:
    """peft only warns where an adapter's weights have other names than the encoder's modules, and leaves them out.

    Raises: ValueError with one of the names.
    """
    import peft

    with safe_open(str(folder / "adapter_model.safetensors"), framework="np") as file:
        stored = set(file.keys())
    wanted = set(peft.get_peft_model_state_dict(adapted))
    for names, what in (
        (stored - wanted, "holds a weight that the encoder has no place for"),
        (wanted - stored, "lacks"),
    ):
        if names:
            raise ValueError(f"it {what}: {min(names)}")


def _size_head_like_adapter(config: Any, folder: Path) -> None:
    """An adapter of someone else brings its classifier but not the number of labels: read it off the weights."""
    weights = folder / "adapter_model.safetensors"
    if not weights.exists():
        return
    with safe_open(str(weights), framework="np") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            if name.endswith(("classifier.weight", "out_proj.weight", "score.weight")) and "lora" not in name:
                config.num_labels = file.get_slice(name).get_shape()[0]


def _check_folder(folder: Path) -> None:
    """What can be said about a checkpoint folder before loading it, in one sentence each."""
    adapter = (folder / "adapter_config.json").exists()
    if not adapter and not (folder / "config.json").exists():
        raise UserError(f"{folder} has no config.json: it is not a checkpoint folder of transformers.")
    for name in ("config.json", "adapter_config.json"):
        if (folder / name).exists():
            _json(folder / name)
    safe = sorted(folder.glob("*.safetensors"))
    if not safe:
        if list(folder.glob("*.bin")) or list(folder.glob("*.pt")):
            raise UserError(
                f"{folder} has only pickled weights, which can run code when they are read: "
                f"`asc convert {folder}` makes safetensors of them."
            )
        raise UserError(f"{folder} has no weights (*.safetensors).")
    for path in safe:
        try:
            with safe_open(str(path), framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is broken ({_reason(error)}): copy or download it again.") from None
    if not adapter:
        _require_shards(folder)
        _require_tokenizer(folder)


def _require_shards(folder: Path) -> None:
    """All files that the index of weights in several files names."""
    index = folder / "model.safetensors.index.json"
    if not index.exists() or (folder / "model.safetensors").exists():
        return
    names = _json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{index} does not say which weight is in which file: copy or download it again.")
    for name in sorted({str(value) for value in names.values()}):
        if not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}, which its index names: copy or download it again.")


def _require_tokenizer(folder: Path) -> None:
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model", "spiece.model")
    if not any((folder / name).exists() for name in names):
        raise UserError(
            f"{folder} has no tokenizer (no tokenizer.json or vocabulary file): "
            "copy the tokenizer files of the model that it was fine-tuned from into it."
        )


def _load_config(source: str, trust_remote_code: bool) -> Any:
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    except (ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        supported = ", ".join(sorted(modeling.ARCHITECTURES))
        raise UserError(
            f"{source}: its configuration cannot be read ({_reason(error)}). Supported architectures: {supported}."
        ) from None
    except OSError as error:
        raise UserError(
            f"{source} is neither a folder here nor a model that can be fetched now ({_reason(error)})."
        ) from None
    try:
        modeling.architecture_name(config)
    except KeyError as error:
        raise UserError(f"{source}: {error.args[0]}.") from None
    if not str(config.model_type).startswith(modeling.COMPACT):
        vars(config).pop("asc", None)  # no class of ours has checked it, and this one builds nothing by it
    return config


def _model_class(config: Any, head: str | None) -> type[PreTrainedModel]:
    name = modeling.architecture_name(config)
    compact = config.model_type.startswith(modeling.COMPACT)
    if head is None:
        written = (config.architectures or [""])[0]
        head = next((h for ending, h in CLASS_ENDINGS.items() if written.endswith(ending)), "embedding")
    auto = HEADS[head]
    try:
        return (modeling.compact_class if compact else modeling.uncut_class)(name, auto)
    except ValueError as error:
        raise UserError(f"No model can be made of this encoder with the head {head!r}: {error}.") from None


def _load_model(
    model_class: type[PreTrainedModel], source: str, config: Any, trust: bool, own_head: bool
) -> PreTrainedModel:
    """own_head: whether the checkpoint has to bring the weights of the task head, too."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # a missing task head is what fine-tuning expects
    transformers.logging.disable_progress_bar()
    try:
        model, loading = model_class.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=trust,
            output_loading_info=True,
        )
    except OSError as error:
        raise UserError(f"{source}: its weights cannot be read as safetensors ({_reason(error)}).") from None
    except (
        SafetensorError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        ZeroDivisionError,
        StrictDataclassError,
    ) as error:
        raise UserError(f"{source}: its weights do not fit its configuration ({_reason(error)}).") from None
    finally:
        transformers.logging.set_verbosity(level)
    missing = sorted(name for name in loading["missing_keys"] if own_head or _is_of_layers(model, name))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{source} lacks weights that its configuration asks for: {missing[0]}{more}.")
    return model


def _is_of_layers(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight belongs to the encoder itself, not to a pooler or task head that fine-tuning makes anew."""
    prefix = f"{model.base_model_prefix}." if model.base_model is not model else ""
    return name.startswith(prefix) and "pooler" not in name


def _load_tokenizer(source: str, trust_remote_code: bool) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:  # a broken tokenizer.json raises a bare Exception of the tokenizers library
        raise UserError(
            f"{source}: its tokenizer cannot be loaded ({_reason(error)}): copy the tokenizer files of the model "
            "that it was fine-tuned from into it."
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {_reason(error)}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read: it is not a JSON object.")
    return content


def _reason(error: BaseException) -> str:
    if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
        error = error.__cause__  # it says which value was expected
    return first_line(error)
