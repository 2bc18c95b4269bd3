"""Vectors come out as they were written, whichever way, and what is none is said with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.vocabulary.word_vectors import read_vectors, read_words


def known(word: str) -> str | None:
    return word.lower() or None


def written(path: Path, words: list[str], values: np.ndarray, header: bool = False, end: str = "\n") -> Path:
    lines = [f"{len(words)} {values.shape[1]}"] if header else []
    lines += [f"{word} {' '.join(str(float(v)) for v in row)}" for word, row in zip(words, values, strict=True)]
    content = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.text("abcé'-", min_size=1, max_size=5), min_size=1, max_size=12, unique=True),
    width=st.integers(2, 5),
    most=st.integers(1, 14),
    header=st.booleans(),
    name=st.sampled_from(["v.txt", "v.vec", "v.txt.gz"]),
    end=st.sampled_from(["\n", " \n", "\r\n"]),
    data=st.data(),
)
def test_the_first_words_and_all_that_are_wanted_come_out_with_their_numbers(
    words: list[str], width: int, most: int, header: bool, name: str, end: str, data: st.DataObject, tmp_path: Path
) -> None:
    wanted = data.draw(st.lists(st.sampled_from(words), max_size=most, unique=True))
    values = np.random.default_rng(0).normal(size=(len(words), width)).astype(np.float32)
    found = read_vectors(written(tmp_path / name, words, values, header, end), most, wanted, known)
    others = [word for word in words if word not in wanted][: most - len(wanted)]
    assert found.words == [word for word in words if word in {*wanted, *others}]
    assert found.values is not None
    assert np.array_equal(found.values, values[[words.index(word) for word in found.words]])
    assert found.width == width


def test_a_word_with_spaces_and_one_that_stands_twice_are_read_as_published(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the 1 2\nThe 3 4\n. . . 5 6\na 7 8\n")
    found = read_vectors(tmp_path / "v.txt", 9, (), known)
    assert found.words == ["the", ". . .", "a"]
    assert found.values is not None
    assert found.values.tolist() == [[1, 2], [5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a 1 2\nb 1\n", "line 2"),
        ("a 1 2\nb 1 x\n", "line 2"),
        ("a 1 2\nb 1 nan\n", "line 2"),
        ("a 1 2\nb 1  2\n", "line 2"),
        ("a\nb\n", "line 1: 0 numbers"),
        ("", "no word vectors"),
        ("2 300\n", "no word vectors"),
        ("\0\0\0\n", "no text"),
    ],
)
def test_a_line_that_is_no_vector_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        read_vectors(tmp_path / "v.txt", 9, (), known)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "v.gz").write_bytes(b"a 1 2\n")
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"a 1 2\n" * 9999)[:50])
    for name, said in (("none.txt", "There is no file"), ("v.gz", "cannot be read"), ("half.gz", "cannot be read")):
        with pytest.raises(UserError, match=said):
            read_vectors(tmp_path / name, 9, (), known)
        with pytest.raises(UserError, match=said):
            read_words(tmp_path / name, 9, known)


def test_a_list_of_words_is_read_up_to_a_number_without_its_counts(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("The\t900\nthe\t5\n\n of \nand\n")
    assert read_words(tmp_path / "words.txt", 9, known) == ["the", "of", "and"]
    assert read_words(tmp_path / "words.txt", 2, known) == ["the", "of"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match="holds no words"):
        read_words(tmp_path / "empty.txt", 9, known)
