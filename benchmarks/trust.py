"""Which score to believe: every method against exact ablation and by the loss curve of its order.

    python -m benchmarks.trust                                  every demo application and checkpoint in ../shared
    python -m benchmarks.trust demo:qa minilm-squad --samples 128 --held-out 128    fewer where texts are long
    python -m benchmarks.trust --collect                        the report of both, nothing finished is run again

For each application: scores from `--calibration` training examples, exact ablation of heads, sublayers and layers on
`--samples` training examples, and the loss while heads and layers go in each method's order on `--held-out` validation
examples, 3 random orders beside them. Nothing is chosen or measured on a test split. Each application is kept in a file
of its own under `--work`, with the study that it goes on from after a kill: run it again to complete it. At the end all
of them make `results/trust.json` and `results/trust.md`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import asc_core
from asc_core.demo import applications
from asc_core.progress import Progress
from asc_core.scores.faithfulness import faithfulness_in_study
from asc_core.scores.faithfulness_report import faithfulness_table
from asc_core.scores.methods import is_reference
from asc_core.scores.ranking_stability import stability_curve
from asc_core.values import Scores
from benchmarks.machine import RESULTS, keep, machine

SHARED = Path(__file__).resolve().parents[2] / "shared"
CHECKPOINTS = {  # folder of the checkpoint -> its task; DATA is the data folder
    "minilm-sick": """
kind = "pair-classification"
texts = ["sentence_A", "sentence_B"]
label = "entailment_judgment"
[data]
train = "DATA/sick/train.tsv"
test = "DATA/sick/test.tsv"
quoting = false
""",
    "minilm-mrpc": """
kind = "pair-classification"
texts = ["#1 String", "#2 String"]
label = "Quality"
labels = { "0" = "not_equivalent", "1" = "equivalent" }
[data]
train = "DATA/mrpc/train.tsv"
test = "DATA/mrpc/dev.tsv"
quoting = false
""",
    "minilm-clinc150": """
kind = "text-classification"
texts = ["text"]
label = "intent"
[data]
train = "DATA/clinc150/data_full.json"
""",
    "minilm-squad": """
kind = "question-answering"
max_length = 256
answer_tokens = 20
[data]
train = "DATA/squad/train.json"
test = "DATA/squad/test.json"
""",
}


def available() -> list[str]:
    demo = [f"demo:{a.name}" for a in applications() if a.report is not None]
    return demo + [name for name in CHECKPOINTS if (SHARED / "models" / name).is_dir() and (SHARED / "data").is_dir()]


def sources(name: str, work: Path) -> tuple[str, str]:
    """(encoder, task) as `load_encoder` and `load_task` take them; a checkpoint's task file is written to `work`."""
    if name not in CHECKPOINTS:
        return name, name
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{name}.toml"
    path.write_text(CHECKPOINTS[name].lstrip().replace("DATA", (SHARED / "data").as_posix()), encoding="utf-8")
    return str(SHARED / "models" / name), str(path)


def judge(name: str, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The report of one application, with the stability of its scores and what it took; read where it is done."""
    settings = {k: getattr(options, k) for k in ("calibration", "samples", "held_out", "neurons", "methods", "seed")}
    folder = name.replace(":", "-")
    file = work / f"{folder}.json"
    if file.exists():
        done = json.loads(file.read_text(encoding="utf-8"))
        if options.collect or done["settings"] == settings:
            return dict(done)
    encoder_source, task_source = sources(name, work)
    encoder = asc_core.load_encoder(encoder_source, device=options.device)
    task = asc_core.load_task(task_source, split_seed=options.seed)
    study = asc_core.Study.open(work / f"{folder}-study")
    start, progress = time.monotonic(), Progress(_reporter(name))
    common = {"seed": options.seed, "progress": progress}
    scores = asc_core.score(
        encoder, task, options.methods, samples=options.calibration, stop_when_settled=1, study=study, **common
    )
    report = faithfulness_in_study(
        encoder,
        task,
        study,
        samples=options.samples,
        held_out=options.held_out,
        curves=("heads", "layers", *(["neurons"] if options.neurons else [])),
        neuron_groups=options.neurons,
        **common,
    )
    found = {
        "application": name,
        "settings": settings,
        "seconds": round(time.monotonic() - start, 1),
        "machine": machine(),
        "stability": {m: _stability(s) for m, s in scores.items() if _stability(s)},
        **report.to_json(),
    }
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)
    return found


def _reporter(name: str) -> Any:
    said = ""

    def report(done: int, total: int, what: str) -> None:
        nonlocal said
        line = f"{name}: {what} {10 * done // max(total, 1)}0 %"
        if line != said:
            said = line
            print(line, file=sys.stderr, flush=True)

    return report


def _stability(scores: Scores) -> dict[str, list[list[float]]]:
    """kind -> [[examples, stability], ...]"""
    found = {}
    for kind in ("heads", "neurons", "attention", "ffn", "layers"):
        curve = stability_curve(scores.details, kind)
        if curve is not None:
            found[kind] = [[int(n), round(float(value), 4)] for n, value in zip(*curve, strict=True)]
    return found


def summary(reports: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """kind -> method -> means over applications: area, rho with ablation, how often it was the best or as good."""
    found: dict[str, dict[str, Any]] = {}
    for kind in sorted({kind for report in reports for kind in report["removed"]}):
        methods = dict.fromkeys(m["method"] for report in reports for m in report["methods"])
        rows = {}
        for method in methods:
            own = [m for report in reports for m in report["methods"] if m["method"] == method]
            areas = [m["areas"][kind] for m in own if m["areas"].get(kind) is not None]
            rho = [m["agreement"][kind]["spearman"] for m in own if kind in m["agreement"]]
            rho = [value for value in rho if value is not None]
            believed = [r["believe"].get(kind, {"method": None, "as_good": []}) for r in reports]
            if areas:
                rows[method] = {
                    "area": round(float(np.mean(areas)), 4),
                    "worst_area": round(float(np.max(areas)), 4),
                    "rho": round(float(np.mean(rho)), 4) if rho else None,
                    "best": sum(method == b["method"] for b in believed),
                    "best_or_as_good": sum(method == b["method"] or method in b["as_good"] for b in believed),
                    "applications": len(areas),
                }
        found[kind] = dict(sorted(rows.items(), key=lambda item: item[1]["area"]))
    return found


def defaults(means: Mapping[str, Mapping[str, Any]], reports: list[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """kind -> the method with the smallest mean area, of all methods and of those that need no labels.

    Only methods that every application has count: a mean over the easy ones would flatter.
    """
    labels = {m["method"]: m["labels"] for report in reports for m in report["methods"]}
    found: dict[str, dict[str, str]] = {}
    for kind, rows in means.items():
        most = max((row["applications"] for row in rows.values()), default=0)
        fair = [m for m, row in rows.items() if not is_reference(m) and row["applications"] == most]
        without = [m for m in fair if labels[m] != "gold"]
        chosen = {"best": fair[:1], "best_without_labels": without[:1]}
        found[kind] = {name: best[0] for name, best in chosen.items() if best}
    return found


def as_markdown(
    reports: list[Mapping[str, Any]], means: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]
) -> str:
    lines = [
        "# Which score to believe",
        "",
        "Area: the loss above the original's while parts go in a method's order, on held-out validation examples, "
        "relative to random orders (1 = no better than chance, 0 = free). rho, tau, top: Spearman and Kendall "
        "correlation and overlap of the most important quarter with exact ablation on training examples; (ceiling) is "
        "what the ablation's own reliability allows. Intervals at 95 %: areas over examples, correlations over parts.",
        "",
    ]
    for kind, rows in means.items():
        said = ", ".join(f"{m} ({name.replace('_', ' ')})" for name, m in chosen.get(kind, {}).items())
        lines += [f"## {kind.capitalize()}: {said or 'no default'}", ""]
        lines += ["| method | mean area | worst area | mean rho | best | best or as good | applications |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for method, row in rows.items():
            rho = "" if row["rho"] is None else f"{row['rho']:.2f}"
            counts = f"{row['best']} | {row['best_or_as_good']} | {row['applications']}"
            lines.append(f"| {method} | {row['area']:.2f} | {row['worst_area']:.2f} | {rho} | {counts} |")
        lines.append("")
    for report in reports:
        truth, held_out = report["truth"], report["held_out"]
        lines += [f"## {report['application']}", ""]
        lines += [
            f"Ablation on {truth['examples']} {truth['split']} examples, curves on {held_out['examples']} "
            f"{held_out['split']} examples, scores on {report['settings']['calibration']} training examples at most."
        ]
        lines += ["", faithfulness_table(report), "", _settled(report["stability"]), ""]
    return "\n".join(lines)


def _settled(stability: Mapping[str, Any], at: float = 0.95) -> str:
    """From how many examples on the ranking of heads is stable."""
    said = []
    for method, curves in stability.items():
        if "heads" in curves:
            enough = next((n for n, value in curves["heads"] if value >= at), None)
            most = curves["heads"][-1][0]
            said.append(f"{method} {enough or f'> {most}'}")
    return f"Calibration examples until the ranking of heads is stable ({at}): {', '.join(said)}." if said else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("applications", nargs="*", help="demo:NAME or a checkpoint's folder name; default: all")
    parser.add_argument("--calibration", type=int, default=1024, help="training examples that are scored")
    parser.add_argument("--samples", type=int, default=256, help="training examples for exact ablation")
    parser.add_argument("--held-out", type=int, default=256, help="validation examples for the curves")
    parser.add_argument("--neurons", action="store_true", help="also curves of neurons and ablation of their groups")
    parser.add_argument("--method", action="append", dest="methods", help="may be repeated; default: those of a sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--work", type=Path, default=Path("build/trust"), help="finished applications and studies")
    parser.add_argument("--collect", action="store_true", help="take what is finished, with whatever settings")
    parser.add_argument("--list", action="store_true", help="say which applications there are, and end")
    options = parser.parse_args()
    names = options.applications or available()
    if unknown := set(names) - set(available()):
        parser.error(f"not here: {', '.join(sorted(unknown))}; there are: {', '.join(available())}")
    if options.list:
        print("\n".join(names))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    reports: list[Mapping[str, Any]] = []
    for name in names:
        reports.append(judge(name, options.work, options))
        print(f"\n{name} ({reports[-1]['seconds']:.0f} s)\n{faithfulness_table(reports[-1])}", flush=True)
    means = summary(reports)
    chosen = defaults(means, reports)
    keep("trust", {"summary": means, "defaults": chosen, "applications": reports})
    (RESULTS / "trust.md").write_text(as_markdown(reports, means, chosen), encoding="utf-8")
    print(
        json.dumps({"defaults": chosen, "areas": {k: {m: r["area"] for m, r in v.items()} for k, v in means.items()}})
    )


if __name__ == "__main__":
    main()
