"""What a format of export is: the one page to read before adding one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asc_core.modeling import Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


@dataclass(frozen=True)
class Written:
    """What a format says of the directory that it wrote.

    tensor_bytes: of all weights in it. parameters: how many numbers these are; None = as many as the model has.
    request: what the answering script needs to know beside the folder and the
    texts. needs: one sentence on what loading takes, for the card's first lines. limitations: lines of the card.
    library, tags: of the card's front matter. made_with: packages beside torch and transformers whose versions count.
    pooled: whether it also answers with a text's vector, the output "sentence_embedding". rounds: whether
    the runtime rounds what matrices multiply. speed: of what promises to be fast, measures the folder beside the same
    in float32 on this machine, and says it in a sentence; only an export asks for it.
    """

    tensor_bytes: int
    request: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    limitations: tuple[str, ...] = ()
    library: str = "transformers"
    tags: tuple[str, ...] = ()
    made_with: tuple[str, ...] = ()
    parameters: int | None = None
    pooled: bool = False
    rounds: bool = False
    speed: Callable[[], str] | None = None


class Format(Protocol):
    """A way for an encoder to leave. `FORMATS` is the one list: command line, page and card read it.

    name: as `--format` takes it. title, about: what the page and the help say of it. needs: the packages that whoever
    loads it needs. tolerance: how far any number of an output may be from the model's in memory. packings: the names of
    those that it can store. zeros: whether cut heads and neurons lie in it as zeros, for a class that knows no others.
    answer: the script, one of `asc_core.export.answer` or like them, that loads the directory by this format's own
    route.
    A runtime that multiplies integers has `int8_activations` "dynamic", too: `asc export --int8` then rounds inputs. A
    format that holds no integers has None there; without it, weights alone are int8. One that has `packing` stores
    weights so where nobody says otherwise; one with `tokenizer_inside` gets no files of the tokenizer beside it.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def about(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def zeros(self) -> bool: ...

    @property
    def tolerance(self) -> float: ...

    @property
    def packings(self) -> tuple[str, ...]: ...

    @property
    def answer(self) -> Path: ...

    def refuses(self, encoder: Encoder) -> str | None:
        """Why this encoder cannot leave in this format, and in which it can; None where it can. Before any work."""

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        """Put everything but tokenizer, plan, recipe and card into the folder, a config.json among it: by that a
        directory is known as a model's. Raises: UserError where it turns out impossible."""

    def loading(self, folder: Path, name: str) -> str:
        """Markdown that shows how to load what lies in `folder`, which the snippet calls `name`."""
