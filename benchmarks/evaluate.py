"""How long an answer takes: from a cut model to a first estimate, to a tight one, to the whole; and in the browser.

The demo's encoder on 1,000 validation examples of its nli task, a plan by Fisher that keeps half the FLOPs, nothing
repaired. Everything of one line is timed in turns in one run; medians of the turns with their range. The last line is
one JSON object:
first_estimate_s          from the cut model to the first estimate
first_interval_points     how far its interval of the paired difference goes to either side, in points
seconds_to_3_points       until that is at most 3 points (the share of changed answers, on which it depends, is printed)
complete_over_limit       all examples, over the time that the plan's FLOPs on unpadded tokens would take at the peak of
                          a matrix product here
speedup_complete_padded   transformers' Trainer.evaluate on the original with masks, texts padded to 128, 32 a batch,
                          over ours
speedup_complete_dynamic  the same with dynamic padding
speedup_to_3_points       the padded one over our time to 3 points
return_ms                 in the browser, from a click that goes back to a measured plan to its number on screen
slider_to_first_s         in the browser, from a key on the slider to the first estimate of the new plan on screen
burst_last_answer_s       in the browser, 20 moves of the slider in a row: from the last one to its first estimate
burst_memory_growth       of the server's memory over a second such burst
cancel_ms                 from a newer plan to the end of the older one's evaluation
The result is kept in benchmarks/results/evaluate.json. The browser part needs Chromium and is left out without it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import asc_core
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled
from asc_core.evaluate import PerExampleResult, evaluating, measure
from asc_core.evaluate.features import tokenised
from asc_core.evaluate.throughput import throughput_of
from asc_core.gates import gated
from asc_core.plan import by_budget
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Plan, Scores
from benchmarks.browser import VIEWPORT, chromium, chromium_path, memory_of
from benchmarks.machine import keep
from benchmarks.served import served

APPLICATION = "demo:nli"
TIGHT = 0.03
WATCH = """() => {
  window.marks = [];
  const read = () => (document.querySelector('.st-key-tune-result') || {innerText: ''}).innerText;
  let last = read();
  new MutationObserver(() => {
    const now = read();
    if (now !== last) { last = now; window.marks.push([performance.now(), now]); }
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
  for (const kind of ['click', 'keydown'])
    document.addEventListener(kind, () => window.marks.push([performance.now(), 'EVENT']), true);
}"""


# The engine


def peak(seconds: float = 0.5) -> float:
    """FLOP/s of a matrix product that is large enough, the best of those that fit into the time."""
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    best, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * 1536**3 / (time.perf_counter() - start))
    return best


def anytime(cut: Encoder, task: Task, original: PerExampleResult) -> dict[str, float]:
    start = time.perf_counter()
    found: dict[str, float] = {}
    for estimate in evaluating(cut, task, against=original):
        passed = time.perf_counter() - start
        if not found:
            found = {"first_s": passed, "first_points": 100 * estimate.half_width, "first_examples": estimate.examples}
        if estimate.half_width <= TIGHT and "tight_s" not in found:
            found |= {"tight_s": passed, "tight_examples": estimate.examples}
    return found | {"looked_s": passed}


def trainer_seconds(encoder: Encoder, task: Task, plan: Plan, padded: bool) -> tuple[float, float]:
    """(seconds, accuracy) of Trainer.evaluate with the plan's parts switched off by masks; texts tokenised before."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    features = tokenised(encoder, task, "validation")[1]
    assert features.targets is not None
    texts = [
        {"input_ids": inputs["input_ids"], "token_type_ids": inputs["token_type_ids"], "label": int(target)}
        for inputs, target in zip(_inputs(encoder, task, features), features.targets, strict=True)
    ]
    collator = (
        DataCollatorWithPadding(encoder.tokenizer, padding="max_length", max_length=128)
        if padded
        else DataCollatorWithPadding(encoder.tokenizer)
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_eval_batch_size=32, report_to=[], disable_tqdm=True, use_cpu=True, log_level="error"
        )
        right = lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())}  # noqa: E731
        trainer = Trainer(encoder.model, arguments, data_collator=collator, compute_metrics=right)
        with gated(encoder, plan):
            start = time.perf_counter()
            result = trainer.evaluate(texts)
            return time.perf_counter() - start, result["eval_accuracy"]


def _inputs(encoder: Encoder, task: Task, features: Any) -> Iterator[dict[str, list[int]]]:
    for row in range(len(features)):
        batch = task.batch(features, [row], encoder)
        yield {name: tensor[0].tolist() for name, tensor in batch.inputs.items()}


def cancel_seconds(cut: Encoder, task: Task, original: PerExampleResult) -> float:
    """From `cancel` being set, in the middle of an evaluation, to its end."""
    progress, ended = Progress(), threading.Event()
    moment = 0.0

    def run() -> None:
        nonlocal moment
        try:
            list(evaluating(cut, task, against=original, progress=progress))
        except Cancelled:
            moment = time.perf_counter()
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.35)
    asked = time.perf_counter()
    progress.cancel.set()
    ended.wait()
    thread.join()
    return max(moment - asked, 0.0)


def engine(encoder: Encoder, task: Task, plan: Plan, turns: int) -> dict[str, Any]:
    original = measure(encoder, task)
    throughput = throughput_of(encoder)
    cut = encoder.cut(plan)
    measure(cut, task)
    model = task_cost_model(encoder, task)
    flops = model.cost(plan).flops * len(original) * _tokens(encoder, task) / (original.mean_length * len(original))
    changed = _changed(encoder, cut, task)
    print(
        f"{len(original)} examples, {original.mean_length:.1f} tokens each, {100 * changed:.1f} % of answers changed; "
        f"batches of {throughput.batch_tokens if throughput else '?'} tokens by measuring"
    )
    rows: list[dict[str, float]] = []
    for turn in range(turns):
        row = anytime(cut, task, original)
        limits, whole = [], []
        for _ in range(5):  # by turns, so that the clock rate of the moment is in both
            limits.append(flops / peak())
            start = time.perf_counter()
            ours = measure(cut, task)
            whole.append(time.perf_counter() - start)
        row["complete_s"], row["limit_s"] = median(whole), median(limits)
        row["dynamic_s"], accuracy = trainer_seconds(encoder, task, plan, padded=False)
        row["padded_s"], _ = trainer_seconds(encoder, task, plan, padded=True)
        row["cancel_s"] = cancel_seconds(cut, task, original)
        rows.append(row)
        print(f"turn {turn + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
        assert abs(accuracy - task.metric.value(ours.statistics)) < 0.005, "masks and surgery must agree"
    ratios = {
        "first_estimate_s": [r["first_s"] for r in rows],
        "first_interval_points": [r["first_points"] for r in rows],
        "seconds_to_3_points": [r["tight_s"] for r in rows],
        "complete_over_limit": [r["complete_s"] / r["limit_s"] for r in rows],
        "speedup_complete_padded": [r["padded_s"] / r["complete_s"] for r in rows],
        "speedup_complete_dynamic": [r["dynamic_s"] / r["complete_s"] for r in rows],
        "speedup_to_3_points": [r["padded_s"] / r["tight_s"] for r in rows],
        "cancel_ms": [1000 * r["cancel_s"] for r in rows],
    }
    spread = {name: [round(min(v), 3), round(max(v), 3)] for name, v in ratios.items()}
    print("\n".join(f"{name} {median(v):.3g}, from {min(v):.3g} to {max(v):.3g}" for name, v in ratios.items()))
    return {
        **{name: round(median(values), 3) for name, values in ratios.items()},
        "spread": spread,
        "changed_answers": round(changed, 4),
        "peak_gflops": round(median(flops / r["limit_s"] for r in rows) / 1e9, 1),
    }


def _tokens(encoder: Encoder, task: Task) -> float:
    """Of the whole split, padding not counted."""
    return float(tokenised(encoder, task, "validation")[1].lengths.sum())


def _changed(encoder: Encoder, cut: Encoder, task: Task) -> float:
    answers = [measure(model, task).statistics[:, 0] for model in (encoder, cut)]
    return float(np.mean(answers[0] != answers[1]))


# The browser


def in_the_browser(scores: Scores, turns: int) -> dict[str, Any]:
    """Empty where there is no Chromium."""
    if chromium_path() is None:
        print("no Chromium: the browser's part is left out")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        Study.open(study).save_scores(scores)
        Study.open(study).set(f"weights:{APPLICATION}", scores.weights)
        with served(study) as (address, server), chromium() as browser:
            page = browser.new_page(viewport=VIEWPORT)
            page.set_default_timeout(300_000)
            page.goto(f"{address}/tune?task={APPLICATION}&method={scores.method}")
            return drive(page, server, turns)


def drive(page: Any, server: int, turns: int) -> dict[str, Any]:
    def wait_until(ready: Callable[[str], bool]) -> str:
        while not ready(text := page.locator(".st-key-tune-result").inner_text()):
            page.wait_for_timeout(100)
        return text

    def settle() -> None:
        wait_until(lambda text: "complete" in text)
        wait_until(lambda text: "×" in text)
        page.wait_for_timeout(1500)

    page.locator(".st-key-tune-repair").get_by_text("none", exact=True).click()
    page.wait_for_timeout(1500)
    settle()
    page.evaluate(WATCH)
    slider = page.locator(".st-key-tune-keep input[type=range]").first
    first, back, bursts = [], [], []
    for _ in range(turns):
        slider.press("ArrowLeft")
        page.wait_for_timeout(1000)
        settle()
        first.append(_answer(page, lambda text: "n =" in text))
        page.get_by_role("button", name="Undo").click()
        page.wait_for_timeout(2000)
        back.append(_answer(page, lambda text: "complete" in text))
        page.get_by_role("button", name="Redo").click()
        page.wait_for_timeout(2000)
        back.append(_answer(page, lambda text: "complete" in text))
    memory = []
    for key, moves in [("ArrowLeft", 20), ("ArrowRight", 15), ("ArrowLeft", 20)]:  # always to where nobody was
        for _ in range(moves):
            slider.press(key)
            page.wait_for_timeout(60)
        page.wait_for_timeout(1000)
        settle()
        bursts.append(_answer(page, lambda text: "n =" in text))
        memory.append(memory_of(server))
    print(f"slider to first estimate {_ms(first)}; back to a measured plan {_ms(back)}; bursts {_ms(bursts)}")
    print(f"the server holds {', '.join(f'{m / 2**20:.0f} MiB' for m in memory)} after the bursts")
    return {
        "return_ms": round(1000 * median(back)),
        "slider_to_first_s": round(median(first), 3),
        "burst_last_answer_s": round(median(bursts), 3),
        "burst_memory_growth": round(memory[2] / memory[1], 3),
        "browser_spread": {
            "return_ms": [round(1000 * min(back)), round(1000 * max(back))],
            "slider_to_first_s": [round(min(first), 3), round(max(first), 3)],
        },
    }


def _answer(page: Any, ready: Callable[[str], bool]) -> float:
    """Seconds from the last event to the first text after it that differs from the one before and is ready."""
    marks = page.evaluate("() => { const found = window.marks; window.marks = []; return found; }")
    last = max(index for index, (_, text) in enumerate(marks) if text == "EVENT")
    return float(next(at for at, text in marks[last + 1 :] if ready(text)) - marks[last][0]) / 1000


def _ms(values: list[float]) -> str:
    return f"{1000 * median(values):.0f} ms, from {1000 * min(values):.0f} to {1000 * max(values):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    encoder, task = asc_core.load_encoder(APPLICATION), asc_core.load_task(APPLICATION)
    scores = asc_core.score(encoder, task, ["fisher"], samples=512)["fisher"]
    plan = by_budget(scores, task_cost_model(encoder, task), 0.5)
    result = engine(encoder, task, plan, options.turns)
    if not options.no_browser:
        result |= in_the_browser(scores, options.turns)
    keep("evaluate", result)
    print(json.dumps({name: value for name, value in result.items() if "spread" not in name}))


if __name__ == "__main__":
    main()
