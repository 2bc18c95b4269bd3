"""What a runtime is: the one page to read before adding one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.runtimes.session import Session


class Runtime(Protocol):
    """A program that runs models. `RUNTIMES` is the one list: latency tables, budgets, command line and page read it.

    name: as `--runtime` takes it. title: what the page says. form: the name of the export format whose folders it
    loads, by which an encoder comes to it, too; "" where it takes encoders as they are.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def form(self) -> str: ...

    def missing(self) -> str | None:
        """What is not installed, with the way out; None where it can run."""

    def takes(self, folder: Path) -> bool:
        """Whether a folder is one that it loads."""

    def of_folder(self, folder: Path, threads: int) -> Session:
        """Raises: UserError where the folder cannot be loaded. The folder may be deleted afterwards."""

    def of_encoder(self, encoder: Encoder, threads: int) -> Session:
        """Raises: UserError where the encoder cannot come to this runtime."""
