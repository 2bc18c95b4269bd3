"""What can be chosen of a step, read from the fields of its class: a new kind of step needs no form of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from asc_core.compress.step import Step

Kind = Literal["switch", "choice", "whole", "number", "text"]
KINDS: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
UNIONS = (Union, UnionType)
FINEST = 0.01  # how near to a bound that is excluded a slider may come


@dataclass(frozen=True)
class Parameter:
    """title, about: from the field's title and description. low, high: the ends of a slider, None = no bound.
    optional: whether it can be left open. own: declared by the step's own class, not by one that many steps share."""

    name: str
    title: str
    kind: Kind
    default: Any
    low: float | None = None
    high: float | None = None
    optional: bool = False
    choices: tuple[Any, ...] = ()
    about: str = ""
    own: bool = True


def parameters(step: type[Step]) -> list[Parameter]:
    """In the order of the fields, those of its own class first; fields that no widget can show keep their default."""
    shown = [_parameter(name, field, name in step.__annotations__) for name, field in step.model_fields.items()]
    return sorted((one for one in shown if one is not None), key=lambda one: not one.own)


def can_be_shown(step: type[Step]) -> bool:
    """Whether a form can say everything that must be said of it, beginning with what stands in the widgets."""
    by_name = {one.name: one for one in parameters(step)}
    required = [name for name, field in step.model_fields.items() if field.is_required()]
    return all(name in by_name and by_name[name].default is not None for name in required)


def initial(step: type[Step]) -> dict[str, Any]:
    """Where a form begins: a value for each field that has no default, or whose default is only there for recipes of
    before the field was."""
    found = {one.name: one.default for one in parameters(step) if step.model_fields[one.name].is_required()}
    for name, field in step.model_fields.items():
        if isinstance(field.json_schema_extra, Mapping) and "initial" in field.json_schema_extra:
            found[name] = field.json_schema_extra["initial"]
    return found


def words(name: str) -> str:
    """ "batch_size", "cut-to-budget": "Batch size", "Cut to budget"."""
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def _parameter(name: str, field: FieldInfo, own: bool) -> Parameter | None:
    alternatives = get_args(field.annotation) if get_origin(field.annotation) in UNIONS else (field.annotation,)
    optional = NoneType in alternatives
    of, *others = (one for one in alternatives if one is not NoneType)
    extra = field.json_schema_extra
    listed = extra.get("enum", ()) if isinstance(extra, Mapping) else ()
    choices = get_args(of) if get_origin(of) is Literal else tuple(listed)  # type: ignore[arg-type]
    kind = None if others else "choice" if choices else KINDS.get(of)
    if kind is None:
        return None
    low, high = _bounds(field, kind)
    default = _middle(kind, low, high, choices) if field.is_required() else field.get_default(call_default_factory=True)
    return Parameter(
        name, field.title or words(name), kind, default, low, high, optional, choices, field.description or "", own
    )


def _bounds(field: FieldInfo, kind: Kind) -> tuple[float | None, float | None]:
    step = 1 if kind == "whole" else FINEST
    low = high = None
    for limit in field.metadata:
        if isinstance(limit, Ge):
            low = float(limit.ge)  # type: ignore[arg-type]
        elif isinstance(limit, Gt):
            low = float(limit.gt) + step  # type: ignore[arg-type]
        elif isinstance(limit, Le):
            high = float(limit.le)  # type: ignore[arg-type]
        elif isinstance(limit, Lt):
            high = float(limit.lt) - step  # type: ignore[arg-type]
    return low, high


def _middle(kind: Kind, low: float | None, high: float | None, choices: tuple[Any, ...]) -> Any:
    if kind == "choice":
        return choices[0]
    if kind == "switch":
        return False
    if kind == "text":
        return None
    between = 1.0 if low is None and high is None else (low or 0.0) if high is None else ((low or 0.0) + high) / 2
    return math.floor(between) if kind == "whole" else round(between, 1) or between
