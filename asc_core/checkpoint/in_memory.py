"""A model that is in memory, by the way of a checkpoint folder: so it is checked as any other, and stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from asc_core import modeling
from asc_core.errors import UserError, first_line

Loaded = TypeVar("Loaded")

ROUNDING = 1e-2  # of the largest answer: graphics cards multiply with ten bits
ACCEPTED = (
    "a checkpoint or adapter folder, a hub id, demo:NAME, or a transformers model with its tokenizer, "
    "load_encoder(model, tokenizer=tokenizer)"
)


def in_memory(model: Any, tokenizer: Any, name: str | None, load: Callable[[Path, str], Loaded]) -> Loaded:
    """load(folder, name) of a folder that holds the model, merged where it is an adapter on a base.

    Raises: UserError where it is no model of transformers, has no tokenizer, or cannot be written.
    """
    if not isinstance(model, PreTrainedModel) and not _has_adapters(model):
        raise UserError(
            f"An encoder is {ACCEPTED}; not {type(model).__name__}. What saves itself as a folder (an embedding model, "
            "say) can be given as that folder."
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        found = "it has none" if tokenizer is None else f"not {type(tokenizer).__name__}"
        raise UserError(f"A model in memory needs its tokenizer, load_encoder(model, tokenizer=tokenizer): {found}.")
    if isinstance(model, PreTrainedModel) and _is_adapted(model):
        raise UserError(
            f"{type(model).__name__} has adapters put into it: give the PEFT model around it (get_peft_model), or "
            "merge them first (merge_and_unload)."
        )
    if not isinstance(model, PreTrainedModel):
        model = copy.deepcopy(model).merge_and_unload()
    named = name or Path(str(getattr(model.config, "name_or_path", "") or type(model).__name__)).name
    with TemporaryDirectory(prefix="asc-model-") as folder:
        transformers.logging.disable_progress_bar()
        try:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except Exception as error:  # weights that are not there (on the meta device), a full disk
            raise UserError(f"{named} cannot be copied: {first_line(error)}.") from error
        return load(Path(folder), named)


@torch.no_grad()
def require_same_answers(model: Any, copied: PreTrainedModel, tokenizer: Any, name: str) -> None:
    """A configuration and weights are not all that a model in memory may be: somebody may have changed a module, hung a
    hook into it, or switched its adapter off. Raises: UserError where the copy computes something else.

    In half precision nothing is said: there the two differ by rounding alone.
    """
    if next(iter(model.parameters())).dtype not in (torch.float32, torch.float64):
        return
    ids = tokenizer("This is a text, of which both should say the same.", truncation=True)["input_ids"]
    if max(ids) >= modeling.tokens_of(copied.get_input_embeddings()):
        return  # whoever uses it is told
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        said, copy_said = (_first(one(input_ids=torch.tensor([ids], device=one.device))) for one in (model, copied))
    except Exception:  # it wants other inputs than these
        return
    finally:
        for module, training in modes.items():
            module.training = training
    apart = float((said - copy_said).abs().max()) if said.shape == copy_said.shape else float("inf")
    if apart > ROUNDING * max(1.0, float(copy_said.abs().max())):
        raise UserError(
            f"{name} answers otherwise than a copy of its configuration and weights (by {apart:.2g}): something was "
            "changed that is in neither, such as a module, a hook, or an adapter that is switched off. Undo it, or "
            "save the model in the form that is meant and load that."
        )


def _first(output: Any) -> torch.Tensor:
    tensor: torch.Tensor = output[0]
    return tensor.detach().float().cpu()


def _has_adapters(model: Any) -> bool:
    """A model of PEFT, which brings a base and what is to be merged into it."""
    return type(model).__module__.split(".")[0] == "peft" and hasattr(model, "merge_and_unload")


def _is_adapted(model: PreTrainedModel) -> bool:
    """Whether there are adapters inside, whose weights a copy of the model alone would lack."""
    return any(type(module).__module__.split(".")[0] == "peft" for module in model.modules())
