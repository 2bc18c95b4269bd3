"""How soon a repaired cut's number is there, how far that is from the least it could take, and what quickness costs."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import RESULTS, committed
from benchmarks.quick_repair import ALL, FIRST, NAME, QUICK, SETTLED
from benchmarks.report.markdown import interval, named, points, table

TITLES = {
    "nli_first_s": ("`nli`: slider let go, to the first number of the repaired cut", "s"),
    "nli_complete_s": ("the same, to the final repair on all examples", "s"),
    "qa_first_s": ("`qa`: slider let go, to the first number of the repaired cut", "s"),
    "qa_complete_s": ("the same, to the final repair on all examples", "s"),
    "qa_first_visit_s": ("`qa`: Tune opened as soon as it is scored, to the first number", "s"),
    "ahead_s": ("`nli`: a budget that was worked ahead, to its complete number", "s"),
    "burst_last_s": ("`nli`: last of 20 quick moves, to the first number of its cut", "s"),
    "first_map_s": ("`qa`: Score clicked (five methods, 512 examples), to the first map", "s"),
    "settled_map_s": ("the same, to the settled maps", "s"),
    "memory_gb": ("memory of the process, five applications scored and tuned", "GB"),
}


def section() -> str:
    """Empty where nothing was measured yet."""
    parts = [_times() if _there("at_once") else "", _costs() if _there(NAME) else ""]
    return "\n\n".join(filter(None, parts))


def row_of_the_readme() -> list[list[str]]:
    """What a move of the slider takes with the repair; none where it was not measured yet."""
    figures = committed("at_once").get("figures", {}) if _there("at_once") else {}
    if not {"nli_first_s", "qa_first_s", "qa_complete_s"} <= figures.keys():
        return []
    short, long, whole = (figures[name]["median"] for name in ("nli_first_s", "qa_first_s", "qa_complete_s"))
    first = f"first after {short:.1f} s for short texts, {long:.1f} s for long ones"
    return [["the same, the cut repaired", first, f"the final repair's on all examples, long texts: {whole:.0f} s"]]


def _there(name: str) -> bool:
    return (RESULTS / f"{name}.json").exists()


def _times() -> str:
    result = committed("at_once")
    figures = result.get("figures", {})
    rows = [
        [title, f"{figures[name]['median']:.2f} {unit}", _range(figures[name]), str(figures[name]["rounds"])]
        for name, (title, unit) in TITLES.items()
        if name in figures
    ]
    said = f"""## How soon the repaired answer is there

In the browser, from the hand to the screen, with the repair that is usual; a fresh study, no budget measured before,
nothing worked ahead but where it says so. The first number is of a quicker repair where the usual one takes longer, and
says so.

{table(["", "median", "range", "rounds"], rows)}"""
    engine = result.get("engine", {}).get("applications", {})
    return (
        said + (f"\n\n{_engine(engine)}" if engine else "") + "\n\n`python -m benchmarks.at_once` makes these tables."
    )


def _engine(applications: dict[str, dict[str, Any]]) -> str:
    header = [
        "half of the FLOPs",
        "plan",
        "quick repair",
        "usual repair",
        "tokens",
        "least possible",
        "times the least",
    ]
    rows = [
        [
            f"`{name}`",
            f"{one['plan_s']:.2f} s",
            f"{one['quick_s']:.2f} s",
            f"{one['full_s']:.2f} s",
            f"{one['settled_tokens']:,}",
            f"{one['least_s']:.2f} s",
            f"{one['full_over_least']:.1f}",
        ]
        for name, one in applications.items()
    ]
    return f"""In the engine, with the calibration at hand. The least possible is the time that the calibration tokens'
way through the cut model and the systems solved would take at the peak of a matrix product, measured in the same run;
the sums over tokens that the systems come from are not in it.

{table(header, rows)}"""


def _range(figure: dict[str, Any]) -> str:
    low, high = figure["range"]
    return f"{low:.2f} to {high:.2f}"


def _costs() -> str:
    result = committed(NAME)
    header = [
        "",
        "FLOPs kept",
        f"{ALL}: lost",
        f"{SETTLED}: more",
        f"{QUICK}: more",
        f"{FIRST}: more",
        "tokens settled",
    ]
    rows = [
        [
            named(cell["checkpoint"]),
            f"{100 * cell['kept']:.0f} %",
            points(cell["lost"][ALL]),
            *(_more(cell["more"][form]) for form in (SETTLED, QUICK, FIRST)),
            f"{cell['settled_tokens']:,}" if cell["settled_tokens"] else "",
        ]
        for cell in result["cells"]
    ]
    rows += [
        ["mean", f"{100 * float(kept):.0f} %", "", *(_more(means[form]) for form in (SETTLED, QUICK, FIRST)), ""]
        for kept, means in result["mean_more"].items()
    ]
    return f"""### What quickness costs

Points of the test metric lost by the repair on all calibration tokens, and how many more by quicker ones, with the
paired 95 % interval. "{SETTLED}": the sequential repair on as many tokens as are found to be enough, which the
dashboard ends with; "{QUICK}": the one-shot repair on as many, its first number; "{FIRST}": the one-shot repair on
2,048 tokens, its first number right after scoring.

{table(header, rows)}

`python -m benchmarks.quick_repair` makes the table."""


def _more(found: list[float]) -> str:
    return f"{points(found[0])} {interval(found[1:])}"
