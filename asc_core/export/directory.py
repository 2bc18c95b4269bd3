"""From a model in memory to a directory on disk that was reloaded and compared: what every format has in common."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedConfig

from asc_core.atomic_folder import new_folder
from asc_core.errors import UserError
from asc_core.export.card import Card, model_card
from asc_core.export.check import check_folder
from asc_core.progress import Progress
from asc_core.values import Plan

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

STORED = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Contents:
    """What a format puts into a directory, besides what all formats do.

    format: "compact" or "dense". auto: the Auto class that loads the model. config: as it goes into config.json.
    state: parameter name -> tensor, as they go into model.safetensors. code: file name -> Python source of the
    model's class, where transformers does not have it.
    """

    format: str
    auto: str
    config: PreTrainedConfig
    state: Mapping[str, torch.Tensor]
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def trust_remote_code(self) -> bool:
        return bool(self.code)


@dataclass(frozen=True)
class ExportReport:
    """An export that was reloaded and compared.

    format: "compact" or "dense". bytes: of all files. files: their names. max_difference: the largest between outputs
    of the model in memory and the reloaded one, on `checked_texts` texts and some random token sequences.
    """

    path: Path
    format: str
    dtype: str
    bytes: int
    files: tuple[str, ...]
    max_difference: float
    checked_texts: int
    checked_in: str = "fresh process"

    def to_json(self) -> dict[str, Any]:
        return self.__dict__ | {"path": str(self.path), "files": list(self.files)}


def write_directory(
    contents: Contents,
    encoder: Encoder,
    out: str | Path,
    *,
    plan: Plan | None = None,
    card: Card | None = None,
    original: Encoder | None = None,
    texts: Sequence[str | Sequence[str]] | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write, reload, compare, and only then give the directory its name. See `asc_core.export.export`."""
    progress = progress or Progress()
    if dtype not in STORED:
        raise UserError(f"Weights are stored as {' or '.join(STORED)}, not as {dtype!r}.")
    if plan is not None:
        check_plan_is_the_cut(plan, encoder)
    with new_folder(out, overwrite=overwrite) as folder:
        progress.step(0, 3, "exporting: writing the weights")
        contents.config.dtype = STORED[dtype]
        (folder / "config.json").write_text(contents.config.to_json_string(), encoding="utf-8")
        write_weights(contents.state, folder / "model.safetensors", STORED[dtype])
        for name, source in contents.code.items():
            (folder / name).write_text(source, encoding="utf-8")
        write_tokenizer(encoder.tokenizer, folder)
        if plan is not None:
            _without_paths(plan).save(folder / "plan.json")
        progress.step(1, 3, "exporting: checking in a fresh process")
        checked = check_folder(
            folder,
            encoder,
            auto=contents.auto,
            trust_remote_code=contents.trust_remote_code,
            texts=texts,
            rounded=None if dtype == "float32" else STORED[dtype],
            progress=progress,
        )
        progress.step(2, 3, "exporting: writing the model card")
        text = model_card(
            card or Card(),
            encoder,
            name=Path(out).name,
            format=contents.format,
            auto=contents.auto,
            own_code=contents.trust_remote_code,
            dtype=dtype,
            weights_bytes=(folder / "model.safetensors").stat().st_size,
            plan=plan,
            original=original,
            checked=checked,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        sizes = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    progress.step(3, 3, "exporting")
    return ExportReport(
        path=Path(out),
        format=contents.format,
        dtype=dtype,
        bytes=sum(sizes.values()),
        files=tuple(sizes),
        max_difference=checked.max_difference,
        checked_texts=checked.texts,
    )


def _without_paths(plan: Plan) -> Plan:
    """What leaves this machine names a model or task that is a file here by its last name alone."""
    known = plan.provenance
    model, task = (Path(n).name if n and Path(n).expanduser().is_absolute() else n for n in (known.model, known.task))
    return replace(plan, provenance=replace(known, model=model, task=task))


def write_weights(state: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype) -> None:
    """Each tensor on its own (one that two modules share is written twice) and in one type.

    Raises: UserError where a weight is not a finite number in that type.
    """
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        stored = tensor.detach().cpu()
        stored = (stored.to(dtype) if stored.is_floating_point() else stored).contiguous()
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            raise UserError(
                f"The weight {name} holds numbers that are not finite in {str(dtype).removeprefix('torch.')}."
            )
        storage = stored.untyped_storage().data_ptr()
        shares = storage in seen or stored.untyped_storage().nbytes() != stored.numel() * stored.element_size()
        tensors[name] = stored.clone() if shares else stored
        seen.add(storage)
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o666 & ~_umask(path.parent))


def _umask(folder: Path) -> int:
    """The process's umask, read off a directory made under it: asking for it would change it for other threads."""
    return ~folder.stat().st_mode & 0o777


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The tokenizer without what single calls left in it (fast ones keep truncation and padding), nor its old path."""
    clean = copy.deepcopy(tokenizer)
    backend = getattr(clean, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    clean.init_kwargs.pop("name_or_path", None)
    clean.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in (
        "name_or_path",
        "tokenizer_file",
        "auto_map",
        "cache_dir",
        "local_files_only",
        "is_local",
        "_commit_hash",
    ):
        settings.pop(name, None)
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_plan_is_the_cut(plan: Plan, encoder: Encoder) -> None:
    """Raises: UserError where cutting by `plan` does not give an encoder of this shape."""
    shape = encoder.shape
    rows = range(len(plan.heads)) if shape.shares_weights else [plan.shape.rows[i] for i in plan.layers]
    expected = (
        plan.shape.architecture,
        tuple(len(plan.heads[r]) for r in rows),
        tuple(len(plan.neurons[r]) for r in rows),
    )
    if expected != (shape.architecture, shape.heads, shape.neurons) or len(plan.layers) != shape.layers:
        raise UserError(f"The plan is not the one that this encoder ({shape}) was cut by.")
