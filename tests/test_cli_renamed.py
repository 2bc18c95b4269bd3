"""Options under their old names: they work for one version, hidden from the help."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.cli.renamed import OPTIONS, Command

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options_of(verb: str) -> set[str]:
    return {name for parameter in VERBS[verb].params for name in parameter.opts}


@pytest.mark.parametrize(("old", "new"), sorted(OPTIONS.items()))
def test_an_old_name_stands_for_an_option_that_there_is_and_is_none_itself(old: str, new: str) -> None:
    assert any(new in options_of(verb) for verb in VERBS)
    assert not any(old in options_of(verb) for verb in VERBS)


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("frontier", ["--lose", "1"], ["--max-drop", "1"]),
        ("frontier", ["--lose=1"], ["--max-drop=1"]),
        ("frontier", ["--multiple", "8"], ["--round-to", "8"]),
        ("plan", ["--multiple", "8"], ["--round-to", "8"]),
        ("evaluate", ["--within", "3"], ["--half-width", "3"]),
        ("score", ["--stop-when-settled", "0.9"], ["--stop-when-stable", "0.9"]),
        ("shared", ["--how", "most"], ["--reduce", "max"]),
        ("shared", ["--how=weighted"], ["--reduce=sum"]),
        ("shared", ["--reduce", "most"], ["--reduce", "max"]),
        ("plan", ["-o", "--lose"], ["-o", "--lose"]),  # no option of this verb under any name
    ],
)
def test_an_old_name_means_the_new_one(verb: str, old: list[str], new: list[str]) -> None:
    def parsed(arguments: list[str]) -> dict[str, object]:
        command = VERBS[verb]
        assert isinstance(command, Command)
        context = command.make_context(verb, ["x", *required(verb, arguments), *arguments])
        return context.params

    assert parsed(old) == parsed(new)


def required(verb: str, arguments: list[str]) -> list[str]:
    """What the verb cannot do without, beside these arguments."""
    needed = []
    for parameter in VERBS[verb].params:
        if parameter.required and parameter.param_type_name == "option" and not set(parameter.opts) & set(arguments):
            needed += [parameter.opts[0], "y"]
    return needed


def test_an_old_name_says_what_it_is_called_now() -> None:
    result = CliRunner().invoke(app, ["frontier", "m", "--task", "t", "--study", "s", "--lose", "1", "--keep", "0.5"])
    assert "--lose is called --max-drop now" in result.stderr
    assert "either --keep" in result.stderr


def test_no_help_shows_an_old_name() -> None:
    for verb in VERBS:
        said = CliRunner().invoke(app, [verb, "--help"]).output
        assert not any(f"{old} " in said for old in OPTIONS), verb
