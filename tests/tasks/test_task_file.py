"""Task files and presets: what they may say, and what is said about those that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from asc_core.errors import UserError
from asc_core.tasks import PRESETS, load_task
from asc_core.tasks.task_file import TaskFile
from asc_core.tasks.texts import Texts
from tests.tiny import tiny

HEAD = 'kind = "text-classification"\ntexts = ["text"]\nlabel = "y"\n'
DATA = '[data]\ntrain = "train.csv"\ntest = "test.csv"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("text,y\n" + "".join(f"good cat {i},{'ab'[i % 2]}\n" for i in range(40)))
    (tmp_path / "test.csv").write_text("text,y\ngood cat,a\nbad dog,b\n")
    return tmp_path


def test_a_task_file_is_a_task(folder: Path) -> None:
    task = load_task(_path(folder, HEAD + DATA))
    assert (task.name, task.kind, task.head) == ("my", "text-classification", "sequence-classification")
    assert task.splits == ("train", "validation", "test")
    assert task.labels == ("a", "b")
    assert task.metric.name == "accuracy"
    assert [len(task.examples(split)) for split in task.splits] == [36, 4, 2]


def _path(folder: Path, text: str) -> Path:
    (folder / "my.toml").write_text(text)
    return folder / "my.toml"


def test_the_validation_split_depends_on_the_seed(folder: Path) -> None:
    path = _path(folder, HEAD + DATA)
    first, again, other = (
        [row["text"] for row in load_task(path, split_seed=seed).examples("validation").rows] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("kind = ", "is not valid TOML", id="not TOML"),
        pytest.param(DATA, "kind: is missing", id="no kind"),
        pytest.param(HEAD, "data: is missing", id="no data"),
        pytest.param(
            HEAD.replace("text-", "txt-") + DATA, "kind: input should be 'text-classification'", id="unknown kind"
        ),
        pytest.param(
            "metrik = 'mcc'\n" + HEAD + DATA, "metrik: is not known; did you mean 'metric'", id="a typing error"
        ),
        pytest.param(HEAD + DATA + "tset = 'x'\n", "data.tset: is not known; did you mean 'test'", id="one in [data]"),
        pytest.param("strict = true\n" + HEAD + DATA, "strict: is not known", id="a field that begins like a type"),
        pytest.param('stride = "64"\n' + HEAD + DATA, "stride: input should be a valid integer", id="another one"),
        pytest.param("max_length = 'long'\n" + HEAD + DATA, "max_length: input should be a valid integer", id="type"),
        pytest.param("max_length = 2\n" + HEAD + DATA, "max_length: input should be greater than", id="too short"),
        pytest.param(
            "metric = 'em'\n" + HEAD + DATA, "metric 'em' is none of those for text-classification", id="metric"
        ),
        pytest.param("labels = { a = 1 }\n" + HEAD + DATA, "labels.a: input should be a valid string", id="labels"),
        pytest.param(HEAD.replace('["text"]', '["a", "b"]') + DATA, "texts must name 1 column", id="two texts"),
        pytest.param(HEAD.replace('texts = ["text"]\n', "") + DATA, "texts is missing", id="no texts"),
        pytest.param(HEAD.replace('"y"', '["y", "z"]') + DATA, "label must be one column", id="two labels"),
        pytest.param(HEAD + "[data]\n", "give train, validation or test files", id="empty data"),
        pytest.param(HEAD + "[data]\nconfig = 'mrpc'\n", "belong to a hub dataset", id="config without hub"),
        pytest.param(HEAD + '[data]\ntest = "test.csv"\n', "only one split, 'test'", id="one split"),
        pytest.param("name = 'a/b'\n" + HEAD + DATA, "name: string should match pattern", id="a name with a slash"),
    ],
)
def test_bad_task_files_are_told_in_one_sentence(folder: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_task(_path(folder, text))
    assert said in str(error.value)
    assert "my" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "text", "said"),
    [
        pytest.param(
            "text,y\ncat,a\n ,b\n", HEAD + DATA, "train.csv, line 3: the field 'text' is empty", id="empty text"
        ),
        pytest.param("text,y\ncat,a\ndog,\n", HEAD + DATA, "train.csv, line 3: the field 'y' is empty", id="no label"),
        pytest.param(
            "text,y\ncat,a\ndog,c\n",
            'labels = ["a", "b"]\n' + HEAD + DATA,
            "train.csv, line 3: the field 'y' holds 'c', which is none of the task's labels [a, b]",
            id="unknown label",
        ),
        pytest.param("txt,y\ncat,a\n", HEAD + DATA, "has no column 'text'; its columns are 'txt', 'y'", id="no column"),
        pytest.param("text,z\ncat,a\n", HEAD + DATA, "has no column 'y'", id="no label column"),
        pytest.param("text,y\n", HEAD + DATA, "the train split of my is empty", id="empty split"),
        pytest.param(
            "text,y\ncat,1\ndog,x\n",
            HEAD.replace("text-classification", "regression") + DATA,
            "line 3: the field 'y' holds 'x', not a number",
            id="not a number",
        ),
        pytest.param(
            "text,y\ncat,1\ndog,2\n",
            HEAD.replace("text-classification", "multi-label").replace('"y"', '["y"]') + DATA,
            "line 3: the field 'y' holds '2', not 0 or 1",
            id="not a truth value",
        ),
    ],
)
def test_bad_rows_are_told_with_file_line_and_field(folder: Path, train: str, text: str, said: str) -> None:
    (folder / "train.csv").write_text(train)
    text += 'validation = "test.csv"\n'
    with pytest.raises(UserError) as error:
        load_task(_path(folder, text)).examples("train")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_length_beyond_the_encoder_is_told(folder: Path) -> None:
    task = load_task(_path(folder, "max_length = 100\n" + HEAD + DATA))
    with pytest.raises(UserError, match=r"max_length = 100 .* more than the 64 tokens .* set max_length = 64 or less"):
        task.features(task.examples("test"), tiny(labels=["a", "b"]))


def test_a_head_with_another_number_of_labels_is_told(folder: Path) -> None:
    task = load_task(_path(folder, HEAD + DATA))
    with pytest.raises(UserError, match=r"task has 2, the model's head 3.*\[a, b\].*\[x, y, z\]"):
        task.features(task.examples("test"), tiny(labels=["x", "y", "z"]))


def test_a_model_without_tokenizer_is_told(folder: Path) -> None:
    encoder = tiny(labels=["a", "b"])
    encoder.tokenizer = None
    for task in (load_task(_path(folder, text + HEAD + DATA)) for text in ("", "max_length = 16\n")):
        with pytest.raises(UserError, match="has no tokenizer"):
            task.features(task.examples("test"), encoder)


@pytest.mark.parametrize("source", ["nonsense", "absent.toml", "glue/nonsense"])
def test_unknown_tasks_are_told(source: str) -> None:
    with pytest.raises(UserError, match="There is no task"):
        load_task(source)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_load_nothing(name: str) -> None:
    TaskFile.model_validate(PRESETS[name])
    task = load_task(name)
    assert {"train", "validation", "test"} <= set(task.splits)
    assert "/" not in task.name


FEATURES = {
    "glue/mrpc": ({"sentence1": "a cat", "sentence2": "the cat"}, ["not_equivalent", "equivalent"]),
    "snli": ({"premise": "a cat", "hypothesis": "the cat"}, ["entailment", "neutral", "contradiction"]),
    "glue/sst2": ({"sentence": "a good film"}, ["negative", "positive"]),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_preset_reads_data_of_its_schema(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, names = FEATURES[name]
    features = datasets.Features(
        {c: datasets.Value("string") for c in texts} | {"label": datasets.ClassLabel(names=names)}
    )

    def load(hub: str, config: str | None, split: str, revision: str | None) -> datasets.Dataset:
        assert hub == PRESETS[name]["data"]["hub"]
        labels = (
            [-1, *(i % len(names) for i in range(1, 30))] if name == "snli" else [i % len(names) for i in range(30)]
        )
        rows = [{c: f"{text} {split} {i}" for c, text in texts.items()} | {"label": y} for i, y in enumerate(labels)]
        return datasets.Dataset.from_list(rows, features)

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = load_task(name)
    assert task.labels == tuple(names)
    examples = task.examples("test")
    assert len(examples) == (29 if name == "snli" else 30)
    encoded = task.features(examples, tiny(labels=names[::-1]))
    gold = [len(names) - 1 - row["label"] for row in examples.rows]
    assert encoded.targets == gold


def test_a_preset_for_tags_reads_data_of_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["O", "B-PER", "I-PER"]
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    rows = [{"tokens": ["the", "cat", str(i)], "ner_tags": [0, 1, 2]} for i in range(5)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.Dataset.from_list(rows, features))
    task = load_task("conll2003")
    assert task.labels == tuple(names)
    encoder = tiny(head="token-classification", labels=names)
    assert list(task.features(task.examples("test"), encoder).targets[0]) == [-100, 0, 1, 2, -100]


def test_only_the_hub_splits_that_are_asked_for_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(hub: str, config: str, split: str, revision: str | None) -> datasets.Dataset:
        asked.append(split)
        return datasets.Dataset.from_dict({"sentence": ["a cat"], "label": [0]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = load_task("glue/sst2")
    task._splits.table("test")
    assert asked == ["validation"]


def test_a_folder_beside_the_task_file_can_stand_for_a_hub_dataset(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    for split in ("train", "test"):
        rows = "".join(json.dumps({"text": f"{split} {i}", "y": "ab"[i % 2]}) + "\n" for i in range(20))
        (tmp_path / "local" / f"{split}.jsonl").write_text(rows)
    task = load_task(_path(tmp_path, HEAD + '[data]\nhub = "./local"\n'))
    assert task.splits == ("train", "validation", "test")
    assert len(task.examples("test")) == 20


def test_rows_are_dropped_by_value(folder: Path) -> None:
    task = load_task(_path(folder, HEAD + DATA + "drop = { y = ['b'] }\n"))
    assert {row["y"] for split in task.splits for row in task.examples(split).rows} == {"a"}


def test_a_task_file_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    path = folder / "my.toml"
    path.write_text("\ufeff" + HEAD + DATA, encoding="utf-8")
    assert load_task(path).labels == ("a", "b")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace('["text"]', '["other"]'), id="texts"),
        pytest.param(lambda text: 'metric = "macro-f1"\n' + text, id="metric"),
        pytest.param(lambda text: "max_length = 9\n" + text, id="length"),
        pytest.param(lambda text: text.replace('"y"', '"z"'), id="label"),
    ],
)
def test_rows_that_are_read_in_another_way_are_other_data(folder: Path, change: Callable[[str], str]) -> None:
    for name in ("train", "test"):
        lines = (folder / f"{name}.csv").read_text().splitlines()
        more = [f"{line},{line[:4]},{'ab'[i % 2]}" for i, line in enumerate(lines[1:])]
        (folder / f"{name}.csv").write_text("\n".join([f"{lines[0]},other,z", *more]) + "\n")
    first = load_task(_path(folder, HEAD + DATA))
    before = first.digest("test")
    assert load_task(_path(folder, HEAD + DATA)).digest("test") == before
    assert load_task(_path(folder, change(HEAD + DATA))).digest("test") != before
    (folder / "test.csv").write_text((folder / "test.csv").read_text().replace("dog", "cat"))
    assert load_task(_path(folder, HEAD + DATA)).digest("test") != before


def test_the_texts_of_a_task_are_the_same_data_whether_or_not_it_was_measured(folder: Path) -> None:
    task = load_task(_path(folder, HEAD + DATA))
    before = Texts(task).digest("train")
    assert task.metric.name == "accuracy"
    assert Texts(task).digest("train") == before
    assert Texts(load_task(_path(folder, "max_length = 9\n" + HEAD + DATA))).digest("train") != before
