"""A tokenizer whose tokens are whole words, for models with a row for each word (WordLevel of the tokenizers library).

Words are what stands between spaces, without the signs at their ends, each of which is a word of its own: "o'clock" and
"5:30" stay whole, "(now)." is four words. So words that come apart already (tagging) are read as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from asc_core.errors import UserError
from asc_core.tasks.base import Task
from asc_core.tasks.table_task import TableTask

SPECIAL = ("[PAD]", "[UNK]", "[SEP]")
PADDING, UNKNOWN, SEPARATOR = range(len(SPECIAL))
MOST_TOKENS = 512  # of a text, where the task says nothing else
_SIGN = r"[\p{P}\p{S}]"
_AT_THE_ENDS = rf"\G{_SIGN}|{_SIGN}(?={_SIGN}*$)"


def word_tokenizer(words: Sequence[str], lower: bool = True) -> PreTrainedTokenizerFast:
    """words: behind the special tokens, in this order; each once. lower: whether texts are read in lower case."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate((*SPECIAL, *words))}, unk_token="[UNK]"))
    core.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_AT_THE_ENDS), "isolated")]
    )
    core.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", SEPARATOR)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        sep_token="[SEP]",
        padding_side="right",
        model_max_length=MOST_TOKENS,
    )


def words_in(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Counter[str]:
    """How often each word stands in some texts, whether the tokenizer knows it or not."""
    core, found = tokenizer.backend_tokenizer, Counter[str]()
    for text in texts:
        normal = core.normalizer.normalize_str(text)
        found.update(word for word, _ in core.pre_tokenizer.pre_tokenize_str(normal))
    return found


def one_word(tokenizer: PreTrainedTokenizerFast, word: str) -> str | None:
    """As the tokenizer has it; None where it would be read as several words, as none, or as a special token."""
    core = tokenizer.backend_tokenizer
    normal = core.normalizer.normalize_str(word)
    if not normal or normal in SPECIAL or len(core.pre_tokenizer.pre_tokenize_str(normal)) != 1:
        return None
    return str(normal)


def texts_of(task: Task, split: str) -> Iterable[str]:
    """Each text of a split's examples. Raises: UserError as `examples` does, or where a task is none of texts."""
    if not isinstance(task, TableTask):
        raise UserError(f"{task.name} ({task.kind}) has no texts to find words in: name a task file.")
    for row in task.examples(split).rows:
        for column in task.setup.texts:
            text = row[column]
            yield text if isinstance(text, str) else " ".join(text)
