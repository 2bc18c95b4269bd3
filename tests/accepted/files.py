"""Data files as spreadsheets, pandas, datasets and shared tasks write them, and files that are broken."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas

from asc_core.tasks.sources import FileOptions
from tests.accepted.case import DataFile

TEXTS = ["a good film; truly", 'he said "no", twice', "naïve – tous les jours", "two\nlines | here", "plain"]
LABELS = ["pos", "neg", "pos", "neg", "pos"]
ROWS = tuple(zip(TEXTS, LABELS, strict=True))
FRAME = pandas.DataFrame({"text": TEXTS, "label": LABELS})
TWO = (("a", "1"), ("b", "0"))


def _csv(separator: str = ",", encoding: str = "utf-8", before: str = "") -> bytes:
    return (before + FRAME.to_csv(sep=separator, index=False)).encode(encoding)


def _json(value: Any) -> str:
    return json.dumps(value)


def whole(what: str, name: str, content: bytes | str | Callable[[Path], Any], said: str = "") -> DataFile:
    """A form in which all the awkward texts come back."""
    return DataFile(what, name, content, said, rows=ROWS)


def small(
    what: str, name: str, content: str, rows: tuple[tuple[Any, Any], ...] = TWO, where: str = "", **options: Any
) -> DataFile:
    return DataFile(what, name, content, options=FileOptions(**options), rows=rows, where=where)


CONLL = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n. . O O\n"
CONLLU = "# text = EU is\n1-2\tEUis\t_\t_\n1\tEU\teu\tPROPN\n2\tis\tbe\tAUX\n\n1\tNo\tno\tINTJ\n"
ENTITIES = ((["EU", "rejects"], ["B-ORG", "O"]), (["Peter", "."], ["B-PER", "O"]))
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Rome",
            "paragraphs": [
                {
                    "context": "Rome is a city.",
                    "qas": [
                        {"id": "q1", "question": "What is Rome?", "answers": [{"text": "a city", "answer_start": 8}]},
                        {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
CLINC = {
    "train": [["book a flight", "book_flight"], ["hello", "greeting"], ["what", "oos"]],
    "val": [["fly me", "book_flight"]],
    "test": [["hi", "greeting"]],
    "oos_train": [["xyz", "oos"]],
    "oos_test": [["abc", "oos"]],
}


def words(what: str, name: str, content: str, rows: tuple[tuple[Any, Any], ...] = ENTITIES) -> DataFile:
    """A word a line, told apart from plain text by its columns, so its notes say which was taken for what."""
    return DataFile(what, name, content, "words in columns", rows=rows, where="line 6", fields=("tokens", "tags"))


def _folder(path: Path) -> None:
    path.mkdir()
    for name, content in {
        "seq.in": "fly to rome \nplay\n",
        "seq.out": "O O B-city \nO\n",
        "label": "Fly\nPlay\n",
    }.items():
        (path / name).write_text(content)


READ = (
    whole("commas", "a.csv", _csv()),
    whole("line ends of Windows", "a.csv", _csv().replace(b"\nn", b"\r\nn").replace(b"pos\n", b"pos\r\n")),
    whole("semicolons", "a.csv", _csv(";"), "semicolons"),
    whole("tabs in .csv", "a.csv", _csv("\t"), "tabs"),
    whole("vertical bars", "a.csv", _csv("|"), "vertical bars"),
    whole("commas in .tsv", "a.tsv", _csv(","), "commas"),
    whole("a line `sep=;`", "a.csv", _csv(";", before="sep=;\n")),
    whole("gzip", "a.csv.gz", gzip.compress(_csv())),
    whole("gzip without the name", "a.csv", gzip.compress(_csv())),
    whole("bzip2", "a.csv.bz2", bz2.compress(_csv())),
    whole("xz", "a.csv.xz", lzma.compress(_csv())),
    whole("UTF-8 with a byte-order mark", "a.csv", _csv(encoding="utf-8-sig")),
    whole("UTF-16", "a.csv", _csv(encoding="utf-16")),
    whole("UTF-16 without a mark", "a.csv", _csv(encoding="utf-16-le"), "UTF-16-LE"),
    whole("UTF-16, big end first, without a mark", "a.csv", _csv(encoding="utf-16-be"), "UTF-16-BE"),
    whole("cp1252", "a.csv", _csv(encoding="cp1252"), "cp1252"),
    whole(
        "JSON lines in cp1252",
        "a.jsonl",
        FRAME.to_json(orient="records", lines=True, force_ascii=False).encode("cp1252"),
        "cp1252",
    ),
    whole("JSON lines", "a.jsonl", FRAME.to_json(orient="records", lines=True)),
    whole("JSON lines in .json", "a.json", FRAME.to_json(orient="records", lines=True)),
    whole("a list of objects", "a.json", FRAME.to_json(orient="records")),
    whole("columns as pandas writes them", "a.json", FRAME.to_json()),
    whole('pandas\' `orient="index"`', "a.json", FRAME.to_json(orient="index")),
    whole('pandas\' `orient="split"`', "a.json", FRAME.to_json(orient="split")),
    whole('pandas\' `orient="table"`', "a.json", FRAME.to_json(orient="table"), "under 'data'"),
    whole("columns of lists", "a.json", _json(FRAME.to_dict("list"))),
    whole(
        "records under a key",
        "a.json",
        _json({"version": "1", "examples": FRAME.to_dict("records")}),
        "under 'examples'",
    ),
    whole("all splits in one file", "a.json", _json({"train": FRAME.to_dict("records"), "dev": []})),
    whole("Excel", "a.xlsx", lambda path: FRAME.to_excel(path, index=False)),
    whole("Parquet, labels as categories", "a.parquet", lambda p: FRAME.astype({"label": "category"}).to_parquet(p)),
    small("lines of text", "a.txt", "a\n\nb\n", (("a", None), ("b", None)), "line 3"),
    small("empty lines between rows", "a.csv", 'text,label\n"a\nb",1\n\nc,0\n', (("a\nb", "1"), ("c", "0")), "line 5"),
    small(
        "no header, `header = false`", "a.tsv", "a\t1\nb\t0\n", where="line 2", header=False, columns=("text", "label")
    ),
    small(
        "columns by other names, `columns = [...]`",
        "a.csv",
        "x1,x2\na,1\nb,0\n",
        where="line 3",
        columns=("text", "label"),
    ),
    small(
        "plain quotation marks, `quoting = false`",
        "a.tsv",
        'text\tlabel\n"a\t1\n',
        (('"a', "1"),),
        "line 2",
        quoting=False,
    ),
    small(
        "a field that some lines lack",
        "a.jsonl",
        '{"text": "a", "label": 1}\n\n{"text": "b"}',
        (("a", 1), ("b", None)),
        "line 3",
    ),
    words("columns of CoNLL 2003", "a.conll", CONLL),
    words("columns of CoNLL 2003 in .txt", "a.txt", CONLL),
    words("columns with tabs", "a.bio", CONLL.replace(" ", "\t")),
    words("CoNLL-U", "a.conllu", CONLLU, ((["EU", "is"], ["PROPN", "AUX"]), (["No"], ["INTJ"]))),
    DataFile(
        "a folder with `seq.in`, `seq.out` and `label`",
        "folder",
        _folder,
        rows=((["fly", "to", "rome"], "Fly"), (["play"], "Play")),
        where="seq.in, line 2",
        fields=("tokens", "intent"),
    ),
    DataFile(
        "SQuAD",
        "a.json",
        _json(SQUAD),
        rows=(("What is Rome?", "Rome is a city."), ("Who?", "Rome is a city.")),
        where="question q2",
        fields=("question", "context"),
    ),
    DataFile(
        "CLINC, without what is out of scope",
        "data_full.json",
        _json(CLINC),
        rows=(("book a flight", "book_flight"), ("hello", "greeting")),
        fields=("text", "intent"),
    ),
)


REFUSED = (
    DataFile("a row with too few fields", "a.csv", "text,y\na,1\nb\n", "line 3 has 1 fields, not 2"),
    DataFile("a quotation mark in the text", "a.tsv", 'text\ty\n"a\t1\nb\t2\n', "set `quoting = false`"),
    DataFile(
        "a quotation mark that is never closed",
        "a.csv",
        'text,y\n"a b,1\nc,0\nd,1\n',
        "line 2: a quotation mark opens … to line 4",
    ),
    DataFile(
        "a quotation mark closed too late",
        "a.csv",
        'text,y\n"a b,1\nc,0\n"d",1\ne,0\n',
        "line 2: a quotation mark opens",
    ),
    DataFile(
        "a quotation mark that swallows rows",
        "a.csv",
        'text,y\n"a b,1\nc,0\nd",1\ne,0\nf,1\n',
        "line 2: a quotation mark",
    ),
    DataFile(
        "no header and no names",
        "a.csv",
        "a,1\n",
        "name its columns with `columns = [...]`",
        options=FileOptions(header=False),
    ),
    DataFile("a line that is not JSON", "a.jsonl", '{"a": 1}\n{"a": }\n', "line 2 is not valid JSON"),
    DataFile("lines of lists", "a.jsonl", "[1]\n", "line 1 is not a JSON object"),
    DataFile("a number of 5,000 digits", "a.jsonl", '{"a": ' + "1" * 5000 + "}", "line 1 … thousands of digits"),
    DataFile("JSON cut off", "a.json", "{", "is not valid JSON"),
    DataFile("JSON nested 100,000 deep", "a.json", "[" * 100_000, "nested too deeply"),
    DataFile("JSON of another form", "a.json", '{"a": 1}', "neither SQuAD nor CLINC"),
    DataFile("rows under two keys", "a.json", '{"a": [{}], "b": [{}]}', "rows under 'a', 'b': name one"),
    DataFile("a key that is not there", "a.json", '{"a": 1}', "nothing under 'b'", options=FileOptions(records="b.c")),
    DataFile(
        "columns and rows that differ", "a.json", '{"columns": ["a"], "data": [[1, 2]]}', "row 1 is not a list of 1"
    ),
    DataFile("SQuAD without a context", "a.json", '{"data": [{"paragraphs": [{"qas": []}]}]}', "has no 'context'"),
    DataFile("SQuAD without lists", "a.json", '{"data": [{"paragraphs": null}]}', "of data[0] is no list"),
    DataFile("CLINC without pairs", "a.json", '{"train": [["a"]]}', "train[0] is not a pair"),
    DataFile("CLINC without the split", "a.json", '{"test": [["a", "b"]]}', "has no 'train' list"),
    DataFile(
        "CLINC with other texts out of scope",
        "a.json",
        '{"train": [["a", "b"]], "oos_train": 3}',
        "'oos_train' is not",
        options=FileOptions(oos=True),
    ),
    DataFile("bytes that are no text", "a.csv", b"text\n\xff\xfe\n", "is not UTF-8 text"),
    DataFile("one byte that is no UTF-8", "a.csv", "text\nü\n".encode() * 9 + b"\xff\n", "line 19), though the rest"),
    DataFile("cp1251", "a.csv", "text\nпривет мир\n".encode("cp1251"), "name its encoding"),
    DataFile(
        "an encoding that there is not",
        "a.csv",
        "text\na\n",
        "there is no encoding",
        options=FileOptions(encoding="utf-99"),
    ),
    DataFile(
        "another encoding than is said",
        "a.csv",
        b"text\n\xfc\n",
        "is not utf-8 text",
        options=FileOptions(encoding="utf-8"),
    ),
    DataFile("a damaged gzip", "a.csv.gz", b"\x1f\x8bno", "is compressed and damaged"),
    DataFile("an archive", "a.csv", b"PK\x03\x04...", "is an archive; unpack it"),
    DataFile("a picture", "a.csv", b"text\n\x89PNG\x00\x01\xff", "another kind of file"),
    DataFile("a damaged Parquet file", "a.parquet", "no", "is not a readable Parquet file"),
    DataFile("a damaged workbook", "a.xlsx", "no", "is not a readable Excel workbook"),
    DataFile("a workbook of OpenOffice", "a.ods", "no", "a workbook of another kind"),
    DataFile("an unknown ending", "a.doc", "no", "'.doc', which is not known"),
    DataFile("a word without a tag", "a.conll", "EU B-ORG\nrejects\n", "line 2 has 1 fields, not 2"),
)
