"""Options under the names of the version before: they still work, hidden, and say what they are called now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

OPTIONS = {
    "--how": "--reduce",
    "--lose": "--max-drop",
    "--multiple": "--round-to",
    "--stop-when-settled": "--stop-when-stable",
    "--within": "--half-width",
}
VALUES = {("--reduce", "most"): "max", ("--reduce", "weighted"): "sum"}


class Command(TyperCommand):
    """A verb that takes the old names too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for parameter in self.params for name in parameter.opts}
        return super().parse_args(ctx, list(_renamed(args, known)))


def _renamed(arguments: list[str], known: set[str]) -> Iterator[str]:
    """The arguments, under the names of today where a verb has such an option. known: the verb's options."""
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        today = OPTIONS.get(option)
        if today is not None and today in known and option not in known:
            typer.echo(f"asc: {option} is called {today} now.", err=True)
            option = today
        elif not equals:
            option = VALUES.get((before, argument), argument)
        value = VALUES.get((option, value), value)
        yield f"{option}{equals}{value}"
        before = option
