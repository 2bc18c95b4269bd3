"""Arguments of the public functions: one of the wrong type is refused in a sentence that says how to get the right one.

Otherwise a name in place of what it names ends in an attribute that a `str` does not have, deep inside.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.per_example import PerExampleResult
from asc_core.plan.cost import CostModel
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Plan, Scores

Function = TypeVar("Function", bound=Callable[..., Any])

_HAD_BY: dict[str, tuple[type, str]] = {
    "Encoder": (Encoder, "an encoder (asc_core.load_encoder)"),
    "Task": (Task, "a task (asc_core.load_task)"),
    "Scores": (Scores, "the scores of one method (asc_core.score(...)[method])"),
    "Plan": (Plan, "a plan (asc_core.by_budget, Plan.load)"),
    "Recipe": (Recipe, "a recipe (Recipe.load)"),
    "CostModel": (CostModel, "a forecast of costs (asc_core.task_cost_model)"),
    "Study": (Study, "a study (Study.open)"),
    "PerExampleResult": (PerExampleResult, "a stored result"),
    "Progress": (Progress, "a Progress"),
}
_READER = "Reader"  # whatever reads tokens and answers: an encoder, or somebody's own


def checked(function: Function, called: str = "") -> Function:
    """The same function, which looks at its arguments first, by its annotations. called: its public name.

    What is annotated with other types besides is not looked at. Raises: UserError.
    """
    signature = inspect.signature(function)
    wanted = {name: names for name, p in signature.parameters.items() if (names := _known(str(p.annotation)))}

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        for name, names in wanted.items():
            if name in given and not _is_one(given[name], names):
                said = " or ".join(_HAD_BY["Encoder" if n == _READER else n][1] for n in names if n != "None")
                raise UserError(
                    f"{called or function.__name__}: {name} must be {said}, not {type(given[name]).__name__}."
                )
        return function(*args, **kwargs)

    return run  # type: ignore[return-value]


def _known(annotation: str) -> tuple[str, ...]:
    """The names of an annotation, () where one of them is of no type that is known here."""
    names = tuple(re.findall(r"[A-Za-z_]\w*", annotation))
    return names if names and all(n in _HAD_BY or n in (_READER, "None") for n in names) else ()


def _is_one(value: Any, names: tuple[str, ...]) -> bool:
    return any(
        value is None if name == "None" else _reads(value) if name == _READER else isinstance(value, _HAD_BY[name][0])
        for name in names
    )


def _reads(value: Any) -> bool:
    return hasattr(value, "tokenizer") and hasattr(value, "forward") and hasattr(value, "head")
