"""Real files and checkpoints, where they lie beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from asc_core.loading import load_encoder
from asc_core.tasks import Features, Task, load_task
from tests.tasks.running import predictions

FILES = Path(__file__).parent / "files"


@pytest.fixture
def load(shared: Path, tmp_path: Path):
    """A task from a file in `files/`, with the data folder's place filled in."""

    def make(name: str) -> Task:
        if not (shared / "data").is_dir():
            pytest.skip("no real data sets beside the repository")
        path = tmp_path / f"{name}.toml"
        path.write_text((FILES / f"{name}.toml").read_text().replace("DATA", str(shared / "data")))
        return load_task(path)

    return make


@pytest.mark.parametrize(
    ("name", "train", "validation", "test", "labels"),
    [
        ("sick", 7584, 843, 1500, 3),
        ("relatedness", 7584, 843, 1500, 0),
        ("mrpc", 3301, 367, 408, 2),
        ("clinc150", 15000, 3000, 4500, 150),
        ("squad", 3640, 403, 918, 0),
        ("snips", 13084, 700, 700, 7),
        ("atis", 4478, 500, 893, 26),
    ],
)
def test_real_files_are_read_whole(load, name: str, train: int, validation: int, test: int, labels: int) -> None:
    task = load(name)
    sizes = [len(task.examples(split)) for split in ("train", "validation", "test")]
    assert sizes[2] == test
    assert sum(sizes) == train + validation + test
    assert abs(sizes[1] - validation) <= 10  # rows on the same text stay together, so a cut need not be exact
    assert len(task.labels) == labels


def test_mrpc_without_its_byte_order_mark_and_quotation_marks(load) -> None:
    first = load("mrpc").examples("test").rows[0]
    assert first["Quality"] == "1"
    assert first["#2 String"].startswith('"The foodservice pie business')


def _first_windows(features: Features) -> Features:
    """The checkpoint for SQuAD was measured on the first window of each context."""
    keep = np.flatnonzero(np.diff(features.example, prepend=-1))
    return Features(
        [features.input_ids[i] for i in keep],
        None if features.token_types is None else [features.token_types[i] for i in keep],
        features.example[keep],
        None,
        features.truncated,
        {name: [values[i] for i in keep] for name, values in features.extra.items()},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "examples", "dense", "mean_tokens"),
    [
        ("sick", 1500, 0.8440, 23.2),
        ("mrpc", 408, 0.7868, 53.2),
        ("clinc150", 4500, 0.9256, 10.9),
        ("squad", 918, 0.661, 173.5),
    ],
)
def test_checkpoints_have_about_their_recorded_metric(
    shared: Path, load, name: str, examples: int, dense: float, mean_tokens: float
) -> None:
    checkpoint = shared / "models" / f"minilm-{name}"
    if not checkpoint.is_dir():
        pytest.skip("no real checkpoints beside the repository")
    task = load(name)
    encoder = load_encoder(checkpoint, device="cpu")
    features = task.features(task.examples("test"), encoder)
    if name == "squad":
        features = _first_windows(features)
    assert len(features) == examples
    assert features.lengths.mean() == pytest.approx(mean_tokens, abs=0.05)
    sample = np.random.default_rng(0).permutation(examples)[: 60 if name == "squad" else 200]
    part = features.of_examples(sample)
    chosen = task.examples("test").subset(sample)
    value = task.metric.value(task.statistics(predictions(task, part, encoder), part, chosen))
    assert value == pytest.approx(dense, abs=4 * 0.45 / len(sample) ** 0.5)  # four standard errors of a slice


@pytest.mark.slow
def test_the_squad_checkpoint_has_its_recorded_scores(shared: Path, load) -> None:
    if not (shared / "models" / "minilm-squad").is_dir():
        pytest.skip("no real checkpoints beside the repository")
    task = load("squad")
    encoder = load_encoder(shared / "models" / "minilm-squad", device="cpu")
    examples = task.examples("test")
    features = _first_windows(task.features(examples, encoder))
    statistics = task.statistics(predictions(task, features, encoder, 16), features, examples)
    f1, em, _ = statistics.mean(0)
    assert (round(em, 3), round(f1, 3)) == (0.532, 0.661)
