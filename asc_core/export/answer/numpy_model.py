"""A BERT that answers with numpy and the standard library: python answer.py "A text." ["Its second text."]

All of it is in one file beside this script, `model.asc`: 8 bytes that say what it is, the SHA-256 of all that follows,
4 bytes for the length of a header (JSON, packed by lzma), the header, zeros up to a multiple of 8, and tensors one
behind the other as the header lists them. The header says how the model is built and how texts become tokens; nothing
in the file is run. Matrices are decoded when it is opened, rows of tables when a text asks for them.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import lzma
import math
import mmap
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
Said = dict[str, Array]  # outputs by name
Spans = list[tuple[int, int, int, int, int]]  # of tokens: id, type, which text or -1, start, end
Texts = tuple[str, "str | None"]
MAGIC, START = b"asc-dev1", 44  # bytes before the header
LONGEST_HEADER = 1 << 26
TYPES = ("float32", "float16", "int32", "int16", "int8", "uint8")
FINENESS, NOTHING = 16, 255  # of packed scales: 2^(-s / 16), and the one that stands for 0


class Damaged(ValueError):
    """The file is not one that was exported, said in one sentence."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array], mmap.mmap]:
    """(header, tensors, the mapped file that they lie in). Raises: Damaged; OSError where there is none."""
    with path.open("rb") as file:
        start = file.read(START)
        if len(start) < START or start[:8] != MAGIC:
            raise Damaged(f"{path} is no model of this form: copy or download it again.")
        digest = hashlib.sha256(start[40:])
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        if digest.digest() != start[8:40]:
            raise Damaged(f"{path} is damaged (its SHA-256 differs): copy or download it again.")
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        place = START + int.from_bytes(start[40:], "little")
        header = json.loads(lzma.LZMADecompressor(memlimit=1 << 28).decompress(whole[START:place], LONGEST_HEADER))
        place, tensors = place + -place % 8, {}
        for name, kind, shape in header["tensors"]:
            if kind not in TYPES or min(shape, default=0) < 0:
                raise ValueError(name)
            numbers = np.frombuffer(whole, np.dtype(kind).newbyteorder("<"), math.prod(shape), place)
            tensors[name] = numbers.reshape(shape)
            place += tensors[name].nbytes
    except (lzma.LZMAError, ArithmeticError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Damaged(f"{path} is no model of this form ({error}): ask who made it.") from None
    return header, tensors, whole


class Tokens:
    """Texts as the model's tokens: WordPiece as BERT does it, from what the file says of each character."""

    def __init__(self, said: dict[str, Any]):
        self.pieces: list[str] = said["pieces"]
        self.ids = {piece: number for number, piece in enumerate(self.pieces) if piece is not None}
        self.unknown, self.prefix, self.most = said["unknown"], said["prefix"], said["most_characters"]
        self.longest = max(map(len, self.ids), default=0)
        self.templates, self.special = {1: said["single"], 2: said["pair"]}, said["special"]
        names = sorted(self.special, key=len, reverse=True)
        self.named = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self.characters: dict[str, str] = said["characters"]
        self.starts, self.ends, self.kinds = said["starts"], said["ends"], said["kinds"]

    def seen(self, character: str) -> str:
        """What the tokenizer reads there; a space ends a word."""
        place = bisect.bisect_right(self.starts, ord(character)) - 1
        kind = self.kinds[place] if place >= 0 and ord(character) <= self.ends[place] else "itself"
        found = {"dropped": "", "space": " ", "alone": f" {character} ", "itself": character}[kind]
        return self.characters.setdefault(character, found) if len(self.characters) < 1 << 16 else found

    def words(self, text: str, start: int, end: int) -> Iterator[list[tuple[str, int]]]:
        """Each word as (character, its place in the text)."""
        word: list[tuple[str, int]] = []
        for place in range(start, end):
            for character in self.characters.get(text[place]) or self.seen(text[place]):
                if character != " ":
                    word.append((character, place))
                elif word:
                    yield word
                    word = []
        if word:
            yield word

    def of(self, text: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token."""
        found, last = [], 0
        for match in [*self.named.finditer(text), None]:
            start, end = match.span() if match else (len(text), len(text))
            for word in self.words(text, last, start):
                found += self.spelled(word)
            if match:
                found.append((self.special[match[0]], start, end))
            last = end
        return found

    def spelled(self, word: list[tuple[str, int]]) -> list[tuple[int, int, int]]:
        """The longest piece that there is, and so on; a word that pieces do not spell is unknown as a whole."""
        letters, found, start = "".join(character for character, _ in word), [], 0
        while start < len(letters) <= self.most:
            prefix, end = self.prefix if start else "", min(len(letters), start + self.longest)
            while end > start and prefix + letters[start:end] not in self.ids:
                end -= 1
            if end == start:
                break
            found.append((self.ids[prefix + letters[start:end]], word[start][1], word[end - 1][1] + 1))
            start = end
        return found if start == len(letters) else [(self.unknown, word[0][1], word[-1][1] + 1)]

    def encoded(self, texts: list[str], most: int, only_last: bool = False) -> Spans:
        """Of both texts at most so many tokens.

        only_last: whether a second text alone is shortened, else the longer of both.
        """
        parts, template = [self.of(text) for text in texts], self.templates[len(texts)]
        room = max(0, most - sum(text < 0 for _, text, _ in template))
        for part, keep in zip(parts, _kept([len(part) for part in parts], room, only_last), strict=True):
            del part[keep:]
        found = []
        for number, text, kind in template:
            of_text = [(number, 0, 0)] if text < 0 else parts[text]
            found += [(token, kind, text, start, end) for token, start, end in of_text]
        return found


def _kept(lengths: list[int], room: int, only_last: bool) -> list[int]:
    """How many tokens of each text stay."""
    if sum(lengths) <= room:
        return lengths
    if len(lengths) == 1:
        return [room]
    if only_last:
        return [min(lengths[0], room), max(0, room - lengths[0])]
    short, long = sorted(lengths)
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return [long, short] if lengths[0] > lengths[1] else [short, long]


def unpacked(stored: Array, bits: int, width: int) -> Array:
    """(lines, width) codes of (lines, bytes): a line's codes one behind the other, the first in the lowest bits."""
    of_bits = np.unpackbits(stored, axis=-1, count=bits * width, bitorder="little")
    codes = np.zeros((len(stored), width), np.uint8)
    for bit in range(bits):
        codes |= of_bits[:, bit::bits] << bit
    return codes


def in_groups(codes: Array, scales: Array, levels: Array, said: dict[str, Any]) -> Array:
    """(lines, width) numbers: a code's level times the scale of its group."""
    scale = np.exp2(scales.astype(np.float32) / -FINENESS) * (scales != NOTHING)
    numbers = levels.astype(np.float32)[unpacked(codes, said["bits"], said["width"])]
    numbers *= np.repeat(scale, said["group"], axis=-1)[:, : said["width"]]
    return numbers


def packed_matrix(t: dict[str, Array], said: dict[str, Any]) -> Array:
    lines = in_groups(t["codes"], t["scales"], t["levels"], said)
    return lines.T if said["by_columns"] else lines


# How each kind of matrix is decoded, (rows, columns), and how rows of each kind of table are, (ids, width): of its
# tensors by their last names, and of what the header says of it. Another kind is a line in one of them.
MATRICES: dict[str, Callable[[dict[str, Array], dict[str, Any]], Array]] = {
    "plain": lambda t, said: t["weight"],
    "int8": lambda t, said: t["codes"] * t["scale"].astype(np.float32)[:, None],
    "packed": packed_matrix,
}
TABLES: dict[str, Callable[[dict[str, Array], dict[str, Any], Array], Array]] = {
    "plain": lambda t, said, ids: t["weight"][ids].astype(np.float32),
    "int8": lambda t, said, ids: t["codes"][ids] * t["scale"][ids].astype(np.float32)[:, None],
    "packed": lambda t, said, ids: in_groups(t["codes"][ids], t["scales"][ids], t["levels"], said),
    "factors": lambda t, said, ids: part_rows(t, said, "first", ids) @ said["second"].T,
    "codes": lambda t, said, ids: rows_in_codes(t, said, ids),
    "hashed": lambda t, said, ids: hashed_rows(t, said, ids),
}


def part_rows(t: dict[str, Array], said: dict[str, Any], part: str, ids: Array) -> Array:
    """Rows of one of the smaller tables that a table is made of."""
    return TABLES[said["parts"][part]["kind"]](within(t, part), said["parts"][part], ids)


def rows_in_codes(t: dict[str, Array], said: dict[str, Any], ids: Array) -> Array:
    """The sum of an entry of each codebook, or those side by side."""
    codes = unpacked(t["codes"][ids], said["bits"], said["books"]).astype(np.int64)
    entries = part_rows(t, said, "codebooks", (codes + (np.arange(said["books"]) << said["bits"])).ravel())
    return entries.reshape(len(ids), -1) if said["blocks"] else entries.reshape(*codes.shape, -1).sum(1)


def hashed_rows(t: dict[str, Array], said: dict[str, Any], ids: Array) -> Array:
    """Rows of a pool, each times the token's own weight."""
    numbers = t["numbers"][ids].astype(np.int64) if "numbers" in t else ids
    rows = np.stack([(a * numbers + b) % said["prime"] % said["pool"] for a, b in said["functions"]], -1)
    pool = part_rows(t, said, "pool", rows.ravel()).reshape(*rows.shape, -1)
    return np.einsum("nf,nfd->nd", part_rows(t, said, "weights", ids), pool)


def within(tensors: dict[str, Array], path: str) -> dict[str, Array]:
    return {name[len(path) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{path}.")}


class Linear:
    """x -> x M + b. M is several matrices where it is of low rank; each is (inputs, outputs), as it is multiplied."""

    def __init__(self, matrices: list[Array], bias: Array):
        self.matrices = [np.ascontiguousarray(matrix, np.float32) for matrix in matrices]
        self.bias = bias.astype(np.float32)

    def __call__(self, x: Array) -> Array:
        for matrix in self.matrices:
            x = x @ matrix
        x += self.bias
        return x


def fused(linears: list[Linear]) -> list[Linear]:
    """Linears of one input in one, where each is one matrix: their outputs lie next to each other."""
    if any(len(one.matrices) > 1 for one in linears):
        return linears
    whole = np.concatenate([one.matrices[0] for one in linears], axis=1)
    return [Linear([whole], np.concatenate([one.bias for one in linears]))]


def normed(x: Array, norm: tuple[Array, Array], eps: float) -> Array:
    """LayerNorm, in place."""
    x -= np.add.reduce(x, axis=-1, keepdims=True) / x.shape[-1]
    x *= 1 / np.sqrt(np.einsum("nd,nd->n", x, x)[:, None] / x.shape[-1] + eps)
    x *= norm[0]
    x += norm[1]
    return x


def gelu(x: Array) -> Array:
    """x times the normal distribution's mass below x, within 2e-7 (Abramowitz and Stegun, 7.1.26)."""
    size = np.abs(x)
    t = size * np.float32(0.3275911 / math.sqrt(2))
    t += 1
    np.divide(1, t, out=t)
    above = t * np.float32(1.061405429 / 2)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        above += np.float32(factor / 2)
        above *= t
    np.multiply(size, size, out=t)
    t *= np.float32(-0.5)
    above *= np.exp(t, out=t)
    above *= size
    return np.subtract(np.maximum(x, 0, out=x), above, out=x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"gelu": gelu, "relu": lambda x: np.maximum(x, 0, out=x)}


def softmax(scores: Array) -> Array:
    """Over the last axis, in place."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)
    return scores


# A text's vector of its tokens' (tokens, d), by which of them count, (tokens,) of 0 and 1.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, pools: x[pools.argmax()],
    "lasttoken": lambda x, pools: x[(np.arange(len(x)) * pools).argmax()],
    "max": lambda x, pools: np.where(pools[:, None] > 0, x, -np.inf).max(0),
    "mean": lambda x, pools: pools @ x / max(float(pools.sum()), 1e-9),
    "mean_sqrt_len_tokens": lambda x, pools: pools @ x / max(float(pools.sum()), 1e-9) ** 0.5,
    "weightedmean": lambda x, pools: POOLINGS["mean"](x, pools * np.arange(1, len(x) + 1, dtype=np.float32)),
}


class Model:
    """What lies in one file, ready to answer."""

    def __init__(self, path: str | Path):
        """Raises: Damaged; OSError where there is no such file."""
        self.said, self.tensors, mapped = read(Path(path))
        try:
            self.tokens = Tokens(self.said["tokenizer"])
            self.matrices = {name: self._linear(name) for name in self.said["matrices"]}
            self.tables = {name: within(self.tensors, name) for name in self.said["tables"]}
            for name, said in self.said["tables"].items():
                if said["kind"] == "factors":
                    kind = said["parts"]["second"]
                    said["second"] = MATRICES[kind["kind"]](within(self.tables[name], "second"), kind).astype(
                        np.float32
                    )
            self.norms = {name: self._norm(name) for name in self.said["norms"]}
            self.layers = [self._layer(f"layer.{row}", heads) for row, heads in enumerate(self.said["heads"])]
            self.order = [self.layers[row] for row in self.said["order"]]
            self.answer("")  # whoever made the file may have meant no model
            if hasattr(mapped, "madvise"):
                mapped.madvise(mmap.MADV_DONTNEED)  # what was decoded is not read there again
        except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, MemoryError) as error:
            raise Damaged(f"{path} is no model of this form ({error!r}): ask who made it.") from None

    @property
    def bytes_held(self) -> int:
        """Of what was decoded; the other numbers stay where the system maps the file."""
        linears = [*self.matrices.values(), *(one for layer in self.layers for one in (*layer[1], *layer[2:5]))]
        held = [array for one in linears for array in (*one.matrices, one.bias)]
        return sum(array.nbytes for array in held) + sum(a.nbytes for norm in self.norms.values() for a in norm)

    def _linear(self, name: str) -> Linear:
        said = self.said["matrices"][name]
        parts = [name] if "parts" not in said else [f"{name}.{part}" for part in said["parts"]]
        kinds = [said] if "parts" not in said else list(said["parts"].values())
        tensors = [within(self.tensors, part) for part in parts]
        matrices = [MATRICES[kind["kind"]](t, kind).T for t, kind in zip(tensors, kinds, strict=True)]
        return Linear(matrices, tensors[-1].get("bias", np.zeros(matrices[-1].shape[1], np.float32)))

    def _norm(self, name: str) -> tuple[Array, Array]:
        return self.tensors[f"{name}.weight"].astype(np.float32), self.tensors[f"{name}.bias"].astype(np.float32)

    def _layer(self, name: str, heads: int) -> tuple[Any, ...]:
        matrices = self.matrices
        asks = fused([matrices.pop(f"{name}.{one}") for one in ("query", "key", "value")])
        others = (matrices.pop(f"{name}.{one}") for one in ("attention", "up", "down"))
        return heads, asks, *others, self.norms[f"{name}.attention_norm"], self.norms[f"{name}.ffn_norm"]

    def _rows(self, name: str, ids: Array) -> Array:
        said = self.said["tables"][name]
        return TABLES[said["kind"]](self.tables[name], said, ids)

    def hidden(self, ids: Array, types: Array, places: Array) -> Array:
        """(tokens, d) of one text: what the last layer writes; all three (tokens,), places counted from 0."""
        eps, width, activation = self.said["eps"], self.said["width"], ACTIVATIONS[self.said["activation"]]
        x = self._rows("words", ids)
        x += self._rows("types", types)
        x += self._rows("places", places)
        x = normed(x, self.norms["norm"], eps)
        for heads, asks, attention, up, down, after_attention, after_ffn in self.order:
            if heads:
                asked = asks[0](x) if len(asks) == 1 else np.concatenate([one(x) for one in asks], axis=1)
                query, key, value = asked.reshape(len(x), 3, heads, width).transpose(1, 2, 0, 3)
                scores = query @ key.transpose(0, 2, 1)
                scores *= np.float32(width**-0.5)
                read = (softmax(scores) @ value).transpose(1, 0, 2).reshape(len(x), heads * width)
            else:
                read = x[:, :0]
            written = attention(read)
            written += x
            x = normed(written, after_attention, eps)
            written = down(activation(up(x)))
            written += x
            x = normed(written, after_ffn, eps)
        return x

    def outputs(self, ids: Array, types: Array, places: Array) -> Said:
        """By the names that the model's class has for them, of one text."""
        states, head, matrices = self.hidden(ids, types, places), self.said["head"], self.matrices
        pooled = {"pooler_output": np.tanh(matrices["pooler"](states[:1]))[0]} if "pooler" in matrices else {}
        if head == "sequence-classification":
            return {"logits": matrices["classifier"](pooled["pooler_output"])}
        if head == "token-classification":
            return {"logits": matrices["classifier"](states)}
        if head == "intent-slots":
            return {"intent_logits": matrices["intents"](states[0]), "slot_logits": matrices["slots"](states)}
        if head == "question-answering":
            start, end = matrices["spans"](states).T
            return {"start_logits": start, "end_logits": end}
        return {"last_hidden_state": states, "sentence_embedding": self.vector(states), **pooled}

    def vector(self, states: Array) -> Array:
        """Of a text, from its tokens' (tokens, d)."""
        said = self.said["sentences"]
        pools = (np.arange(len(states)) >= said["skip"]).astype(np.float32)
        vector = np.concatenate([POOLINGS[mode](states, pools) for mode in said["pooling"]])
        return vector / max(float(np.linalg.norm(vector)), 1e-12) if said["unit"] else vector

    def encoded(self, text: str, second: str | None = None) -> Spans:
        said, texts = self.said["sentences"], [text] if second is None else [text, second]
        texts = [said["prompt"] + one for one in texts]
        texts = [one.lower() for one in texts] if said["lowers"] else texts
        return self.tokens.encoded(texts, self.said["most_tokens"], self.said["head"] == "question-answering")

    def answer(self, text: str, second: str | None = None) -> dict[str, Any]:
        """What the model says of a text or a pair, as JSON has it; of texts that are too long, of their beginning."""
        tokens = self.encoded(text, second)
        ids, types = (np.array([token[i] for token in tokens]) for i in (0, 1))
        said = self.outputs(ids, types if self.said["typed"] else types * 0, np.arange(len(ids)))
        return ANSWERS[self.said["head"]](self, said, tokens, (text, second))


def _classes(model: Model, said: Said, tokens: Spans, texts: Texts) -> dict[str, Any]:
    logits, labels, kind = said["logits"], model.said["labels"], model.said["answers"]
    if kind == "number":
        return {"score": float(logits[0])}
    shares = softmax(logits) if kind == "one" else 1 / (1 + np.exp(-logits))
    scores = {label: float(share) for label, share in zip(labels, shares, strict=True)}
    if kind == "one":
        return {"label": labels[int(shares.argmax())], "scores": scores}
    return {"labels": [label for label, share in scores.items() if share > 0.5], "scores": scores}


def _tags(logits: Array, labels: list[str], tokens: Spans, texts: Texts) -> list[dict[str, str]]:
    """Of each piece of a text that is no special token."""
    best = logits.argmax(-1)
    return [
        {"text": str(texts[text])[start:end], "label": labels[best[i]]}
        for i, (_, _, text, start, end) in enumerate(tokens)
        if text >= 0
    ]


def _intent(model: Model, said: Said, tokens: Spans, texts: Texts) -> dict[str, Any]:
    intent = model.said["labels"][int(said["intent_logits"].argmax())]
    return {"intent": intent, "slots": _tags(said["slot_logits"], model.said["slot_labels"], tokens, texts)}


def _span(model: Model, said: Said, tokens: Spans, texts: Texts) -> dict[str, Any]:
    """The best of at most 30 tokens in the second text."""
    inside = [i for i, token in enumerate(tokens) if token[2] == 1]
    scores = said["start_logits"][inside, None] + said["end_logits"][None, inside]
    allowed = np.tril(np.triu(np.ones(scores.shape, bool)), 29)
    if not allowed.any():
        return {"answer": "", "start": 0, "end": 0}
    first, last = divmod(int(np.where(allowed, scores, -np.inf).argmax()), len(inside))
    start, end = tokens[inside[first]][3], tokens[inside[last]][4]
    return {"answer": str(texts[1])[start:end], "start": start, "end": end}


ANSWERS: dict[str, Callable[[Model, Said, Spans, Texts], dict[str, Any]]] = {
    "sequence-classification": _classes,
    "token-classification": lambda model, said, tokens, texts: {
        "tags": _tags(said["logits"], model.said["labels"], tokens, texts)
    },
    "intent-slots": _intent,
    "question-answering": _span,
    "embedding": lambda model, said, tokens, texts: {"embedding": said["sentence_embedding"].tolist()},
}


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit('python answer.py "A text." ["Its second text."]')
    try:
        print(json.dumps(Model(Path(__file__).with_name("model.asc")).answer(*sys.argv[1:])))
    except (Damaged, OSError) as error:
        sys.exit(str(error))
