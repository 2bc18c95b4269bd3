"""docs/scores.md from the registry: `python -m asc_core.scores.describe docs/scores.md` writes its tables anew."""

from __future__ import annotations

import re

from asc_core import marked_page
from asc_core.parts import BLOCKS, KINDS, SUBLAYERS
from asc_core.scores.method import FromWeights, Method, OwnPass
from asc_core.scores.methods import METHODS

BEGIN = "<!-- from the registry, by `python -m asc_core.scores.describe docs/scores.md` -->"
_ARXIV = re.compile(r"(?:arXiv )?\b(\d{4}\.\d{5})\b")


def described() -> str:
    """Markdown: one table of all methods in the order of the registry, then what each of them computes."""
    rows = [
        f"| `{m.id}` | {m.title} | {_parts(m)} | {_labels(m)} | {_computed(m)} | {_linked(m.source)} |"
        for m in METHODS.values()
    ]
    texts = [f"- `{m.id}`: {m.description}" for m in METHODS.values()]
    header = ["| `--method` | name | parts | labels | computed | source |", "|---|---|---|---|---|---|"]
    return "\n".join([*header, *rows, "", *texts])


def rewritten(page: str) -> str:
    """The page with what stands between the two marks made anew. Raises: UserError where a mark is missing."""
    return marked_page.rewritten(page, BEGIN, described())


def _parts(method: Method) -> str:
    if set(method.parts) == set(KINDS):
        return "all"
    named = [kind for kind in KINDS if kind in method.parts]
    if set(SUBLAYERS) <= set(named):
        named = [kind for kind in BLOCKS if kind in named] + ["sublayers"] + ["layers"] * ("layers" in named)
    return ", ".join(named)


def _labels(method: Method) -> str:
    return {"none": "no", "own": "its own outputs", "gold or own": "yes", "gold": "gold only"}[method.labels]


def _computed(method: Method) -> str:
    if isinstance(method, FromWeights):
        return "without texts"
    if isinstance(method, OwnPass):
        return "in a pass of its own"
    return {"by default": "in the shared pass", "in all": "with `all`", "by name": "when named"}[method.asked]


def _linked(source: str) -> str:
    return _ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", source)


if __name__ == "__main__":
    marked_page.rewrite(rewritten, __doc__)
