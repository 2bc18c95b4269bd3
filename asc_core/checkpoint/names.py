"""Names of stored weights: those that a wrapper of the model (a trainer, a compiler, a class of one's own) put before.

A model that is trained inside another module is saved with the names of that module: `_orig_mod.` of torch.compile,
`module.` of DataParallel, `model.` of a trainer's class. The weights are all there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from asc_core.errors import UserError

_WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})


def unwrapped(names: Iterable[str], wanted: Iterable[str], base: str, source: str) -> dict[str, str]:
    """Stored name -> its name in the model, for those that belong to it under the prefix that most of them share.

    wanted: the model's own names. base: what those of its encoder begin with, which a file may leave out.
    Raises: UserError where there are several whole models in the file.
    """
    own = {*wanted}
    own |= {name.removeprefix(f"{base}.") for name in own}
    own |= {f"{base}.{name}" for name in own}
    found: dict[str, tuple[str, str]] = {}
    whole: dict[str, str] = {}
    for name in names:
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        for start in range(len(parts)):
            rest = _renamed(".".join(parts[start:]))
            if rest in own:
                found[name] = (".".join(parts[:start]), rest)
                break
        if _renamed(".".join(parts)) in own:
            whole[name] = _renamed(".".join(parts))
    counted = Counter(prefix for prefix, _ in found.values()).most_common()
    if not counted:
        return {}
    (best, most), others = counted[0], counted[1:]
    if others and others[0][1] > 0.9 * most and most > 3:
        raise UserError(
            f"{source} holds weights of several models, under {best or 'no prefix'!r} and {others[0][0]!r}: leave "
            "those of one in it."
        )
    chosen = {name: rest for name, (prefix, rest) in found.items() if prefix == best}
    return chosen | {name: rest for name, rest in whole.items() if rest not in chosen.values()}


def _renamed(name: str) -> str:
    """As transformers reads names of TensorFlow's norms."""
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        name = name.replace(old, new)
    return name
