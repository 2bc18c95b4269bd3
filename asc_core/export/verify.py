"""For who receives a folder: is each file what was exported, does it still answer so, and what was it made from?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asc_core import modeling
from asc_core.ancestry import Ancestry
from asc_core.checkpoint.digests import check_digests, digest_of_all
from asc_core.errors import UserError
from asc_core.export import comparison
from asc_core.export.formats import FORMATS
from asc_core.export.proof import Proof, read_proof
from asc_core.json_files import read_json
from asc_core.progress import Progress

NOT_HANDED_OVER = "so this folder is not what was exported"


@dataclass(frozen=True)
class Verified:
    """files: how many. digest: one value for the folder, to compare with the sender's. max_difference: of today's
    answers to those of the model that was exported. texts: that were split into tokens. ancestry: what it was made
    from, as the folder says.
    """

    files: int
    digest: str
    format: str
    max_difference: float
    texts: int
    ancestry: Ancestry


def verify(folder: str | Path, *, run_its_code: bool = False, progress: Progress | None = None) -> Verified:
    """Hashes first, then the proof in a fresh process by the format's own route.

    run_its_code: whether the folder may run code that it brings along, where that is not this version's own.
    Raises: UserError in one sentence for the first thing that is wrong; Cancelled.
    """
    folder, progress = Path(folder), progress or Progress()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    progress.step(0, 2, "verifying: hashes")
    files = check_digests(folder)
    proof, expected = read_proof(folder)
    if proof.form not in FORMATS:
        raise UserError(f"{folder} is of the format {proof.form!r}; known are {', '.join(FORMATS)}.")
    ancestry = Ancestry.read(folder)
    if not run_its_code:
        _check_brings_no_code(folder, proof)
    progress.step(1, 2, "verifying: answers in a fresh process")
    form = FORMATS[proof.form]
    found = comparison.answers_of_fresh_process(
        form.answer, proof.asked(folder.resolve()), progress.cancel, NOT_HANDED_OVER
    )
    difference = comparison.difference_of(expected, found, proof.batches, NOT_HANDED_OVER)
    tolerance = comparison.allowed(expected, form.tolerance, proof.alike) if proof.rounds else form.tolerance
    if not difference < tolerance:  # also where it is not a number
        raise UserError(
            f"{folder} does not answer like the model that was exported (largest difference of the outputs "
            f"{difference:.2g}, allowed {tolerance:.0e}), {NOT_HANDED_OVER}."
        )
    if proof.alike:
        comparison.check_short_texts(expected, found, proof.batches, form.tolerance, str(folder), NOT_HANDED_OVER)
    questions = comparison.Questions(proof.texts, proof.max_length, proof.batches)
    equal = comparison.equal_answers(expected, found, questions) if proof.alike else None
    if equal is not None and equal < comparison.least_equal(alike=True):
        raise UserError(
            f"{folder} answers only {equal:.1%} of {len(proof.texts)} texts like the model that was exported, "
            f"{NOT_HANDED_OVER}."
        )
    progress.step(2, 2, "verifying")
    return Verified(len(files), digest_of_all(folder), form.name, difference, len(proof.texts), ancestry)


def _check_brings_no_code(folder: Path, proof: Proof) -> None:
    """Raises: UserError where to load the folder would run what this version did not write."""
    if proof.form == "torch-export":
        raise UserError(
            f"All files of {folder} are those that were exported, but torch may run code that stands in a .pt2 file: "
            "where you trust its sender, say --run-its-code to have its answers checked, too."
        )
    if not proof.request.get("trust_remote_code"):
        return
    own = modeling.sources()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if own.get(name) != path.read_text(encoding="utf-8", errors="replace"):
            raise _other_code(f"{folder / name} is not the code that this version of ASC Studio writes")
    for name in ("config.json", "tokenizer_config.json"):
        content = read_json(folder / name) if (folder / name).exists() else {}
        named = content.get("auto_map") if isinstance(content, dict) else None
        for place in named.values() if isinstance(named, dict) else [named] * (named is not None):
            if not str(place).startswith(f"{modeling.ENTRY_MODULE}."):
                raise _other_code(f"{folder / name} names code of somewhere else ({place})")


def _other_code(what: str) -> UserError:
    return UserError(f"{what}: where you trust its sender, say --run-its-code.")
