"""The tables of docs/recipes.md from the registry: `python -m asc_core.recipes.describe docs/recipes.md`."""

from __future__ import annotations

import inspect
import json

from asc_core import marked_page
from asc_core.compress.step import Step
from asc_core.modeling import STRUCTURES, can_follow
from asc_core.recipes.presets import PRESETS
from asc_core.recipes.registry import FORMER, STEPS

BEGIN = "<!-- from the registry, by `python -m asc_core.recipes.describe docs/recipes.md` -->"


def described() -> str:
    """Markdown: presets, kinds of steps, which structures may follow which, kinds of earlier versions."""
    presets = [
        f"| `{name}` | {one.description} | {one.base_checkpoint} | {one.source} |" for name, one in PRESETS.items()
    ]
    steps = [
        f"| `{kind}` | {_about(step)} | {step.structure or ''} | {_fields(step)} |" for kind, step in STEPS.items()
    ]
    orders = [
        f"| {kind} | {', '.join(sorted(one for one in STRUCTURES if can_follow(kind, one))) or 'nothing'} |"
        for kind in STRUCTURES
    ]
    former = [f"| `{old}` | {_current(new, fields)} |" for old, (new, fields) in FORMER.items()]
    return "\n".join(
        [
            *("| recipe | what it does | starts from | source |", "|---|---|---|---|", *presets, ""),
            *("| step | what it does | structure | fields and defaults |", "|---|---|---|---|", *steps, ""),
            *("| structure | may come after |", "|---|---|", *orders, ""),
            *("| kind in files of earlier versions | is read as |", "|---|---|", *former),
        ]
    )


def rewritten(page: str) -> str:
    """The page with what stands between the marks made anew. Raises: UserError where a mark is missing."""
    return marked_page.rewritten(page, BEGIN, described())


def _about(step: type[Step]) -> str:
    return (inspect.getdoc(step) or "").split("\n\n")[0].replace("\n", " ")


def _fields(step: type[Step]) -> str:
    said = [
        f"`{name}`" if field.is_required() else f"`{name}` {json.dumps(field.default)}"
        for name, field in step.model_fields.items()
    ]
    return ", ".join(said)


def _current(kind: str, fields: dict[str, object]) -> str:
    said = "".join(f", `{name}` {json.dumps(value)}" for name, value in fields.items())
    return f"`{kind}`{said}"


if __name__ == "__main__":
    marked_page.rewrite(rewritten, __doc__)
