"""What a model is: the table of architectures, the kinds of structure, what they weigh, and classes that rebuild them.

The files of this folder ship inside compact exports and need torch and transformers alone.
"""

from asc_core.modeling.architectures import (
    ARCHITECTURES,
    COMPACT,
    Architecture,
    architecture_name,
    architecture_of,
    depth_is_grouped,
    executed_rows,
    feeding,
    ffn_width,
    head_count,
    head_width,
    layers_of,
    matrices,
    most_tokens,
    norm_behind,
    plain_query,
    rows_of,
    submodule,
    value_rows,
)
from asc_core.modeling.compact import (
    AUTO_CLASSES,
    ENTRY_MODULE,
    compact_class,
    heads_of,
    register,
    sources,
    tie,
    uncut_class,
)
from asc_core.modeling.counting import Count, PartCounts, count, count_parts, layer_flops
from asc_core.modeling.cut import blocks, cut, dense_refusal, pad_to_class
from asc_core.modeling.embeddings import tokens_of
from asc_core.modeling.factor import factorable, saving_rank
from asc_core.modeling.intent_slots import intent_slots_class
from asc_core.modeling.linears import (
    FactoredLinear,
    bias,
    columns_of,
    matrix,
    plain,
    put,
    rows_of_matrix,
    select,
    takes_any_values,
)
from asc_core.modeling.packings import PACKINGS, Packing
from asc_core.modeling.record import (
    STRUCTURES,
    Origin,
    added,
    check_order,
    checked,
    needs_compact_class,
    origin,
    structures_of,
)
from asc_core.modeling.share import shapes
from asc_core.modeling.structure import Structure
from asc_core.modeling.vocabulary import SPECIAL, word_embedding_name

__all__ = [name for name in dir() if not name.startswith("_")]
