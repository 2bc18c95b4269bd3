"""The registry of scoring methods: each file of scores says at its end which methods it has.

A method of your own: `register(FromStatistics(...))`, or its file in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asc_core.errors import UserError
from asc_core.plan.budgets import ONE_SCALE
from asc_core.scores import (
    ablation,
    activation,
    alignment,
    attention,
    magnitude,
    obs,
    representation,
    sensitivity,
)
from asc_core.scores.method import Method

MODULES = (representation, alignment, sensitivity, activation, attention, obs, magnitude, ablation)
METHODS: dict[str, Method] = {}


def register(*methods: Method) -> None:
    """From here on sweep, planning, command line and pages know them. Raises: UserError for an id that is taken."""
    for method in methods:
        if method.id in METHODS:
            raise UserError(f"There is a scoring method {method.id!r} already: give the new one another id.")
        METHODS[method.id] = method
        if method.one_scale:
            ONE_SCALE.add(method.id)


for _module in MODULES:
    register(*_module.METHODS)


def chosen_methods(ids: Sequence[str] | str | None) -> list[Method]:
    """Those named, each once; None: those asked for by default; "all" among the names: also what is dearer.

    A single id may stand for itself. Raises: UserError for an unknown id.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable | None):
        ids = [ids]
    for name in ids or ():
        if name not in METHODS and name != "all":
            raise UserError(f"There is no scoring method {name!r}; there are: {', '.join(METHODS)}.")
    named = ids or ()
    whole = {"by default"} if ids is None else {"by default", "in all"} if "all" in named else set()
    grouped = [m.id for m in METHODS.values() if m.asked in whole]
    return [METHODS[name] for name in dict.fromkeys([*grouped, *named]) if name != "all"]


def offered(among: Iterable[str] | None = None, parts: Iterable[str] = ()) -> list[str]:
    """Ids of the methods to offer first, the best first. among: only these; parts: only what scores all of these."""
    known = [m for m in METHODS.values() if m.offered is not None and set(parts) <= set(m.parts)]
    allowed = METHODS.keys() if among is None else set(among)
    return [m.id for m in sorted(known, key=lambda m: m.offered or 0) if m.id in allowed]


def is_reference(method: str) -> bool:
    """Whether a method stands in a table to judge others by. One that is unknown here does not."""
    return method in METHODS and METHODS[method].reference
