"""The sweep: every score from one pass over a calibration set.

All collectors share one forward pass and, when any of them needs it, one backward pass of the summed loss, which
computes gradients of readout inputs and of no weight. Each says something of every example; sums of that are all that
is kept, so memory grows with the model and not with the data, and so is what a killed sweep goes on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.scores.collector import TOKEN_SHARE
from asc_core.scores.first_look import Unsettled
from asc_core.scores.method import Collected, FromWeights, Growing, Method, OwnPass, Request
from asc_core.scores.methods import chosen_methods
from asc_core.scores.restart import check_every_token_passes
from asc_core.scores.shared_pass import SharedPass
from asc_core.study import Study
from asc_core.tasks.base import Targets, Task
from asc_core.values import Scores


def sweep(
    encoder: Encoder,
    task: Task,
    methods: Sequence[str] | str | None = None,
    *,
    split: str = "train",
    samples: int | None = 1024,
    seed: int = 0,
    targets: Targets | None = None,
    batch_tokens: int | None = None,
    token_share: float = TOKEN_SHARE,
    stop_when_settled: float | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
    show: Callable[[Unsettled], None] | None = None,
) -> dict[str, Scores]:
    """Score the parts of an encoder by several methods at once: {method id: Scores}.

    methods: ids in `METHODS`; None = all that share one loss, with any attention kernel; ["all"] = the dearer ones,
    too (each further loss is one more backward pass). samples: examples drawn from the split by seed, None = all of it.
    targets: labels for the loss of the methods that have one; by default gold, or "sampled" (drawn from the model's
    own distribution) where the task has none. batch_tokens: tokens of a batch, padding counted; results do not depend
    on it beyond rounding, but for sampled targets, whose draws belong to a batch.
    token_share: how many of the tokens are looked at for single heads and neurons (at least 2 a text).
    stop_when_settled: end after 64, 128, 256, ... examples, as soon as every method's ranking has this stability (see
    `ranking_stability`; 0.95, say). What it was at each stop is in `Scores.details` ("stability.<kind>"). With a study,
    the same sweep with a higher value goes on from where it ended, with 1 to the end. By default it is not watched.
    study: results are saved there, and a sweep that was cancelled or killed goes on from where it was last saved.
    show: is given scores as they settle, first those of about 64 examples; these are not saved. The results are the
    same with it and without, to the last bit.

    In question answering the unit is the window of a long text: each has its own loss and counts as one; in the
    bootstrap, the windows of an example stand and fall together.

    Safe in several threads on one encoder. Raises: UserError (unknown method, no labels, a single text does not fit
    into memory), Cancelled.
    """
    encoder.require_parts()
    check_every_token_passes(encoder)
    everything = chosen_methods(methods)
    chosen = [method for method in everything if isinstance(method, Collected)]
    targets = targets or ("gold" if task.labelled else "sampled")
    names = ", ".join(m.id for m in chosen if m.labels == "gold or own")
    if names and targets == "gold" and not task.labelled:
        raise UserError(f"The task {task.name} has no labels for {names}: choose targets 'sampled' or 'argmax'.")
    request = Request(split, samples, seed, targets, batch_tokens, progress or Progress(), study)
    free = {
        method.id: request.scores(method.id, encoder, task, method.values(encoder, seed), 0)
        for method in everything
        if isinstance(method, FromWeights)
    }
    shared = SharedPass(encoder, task, chosen, request, token_share, stop_when_settled) if chosen else None
    own = _own_passes(everything, encoder, task, request, show is not None)
    seen, scores = dict(free), dict[str, Scores]()

    def see(found: Mapping[str, Scores]) -> None:
        if show is not None and found:
            seen.update(found)
            show(Unsettled(dict(seen), len(task.examples(split, samples, seed))))

    def keep(found: Mapping[str, Scores]) -> None:
        scores.update(found)
        if study is not None:
            for result in found.values():
                study.save_scores(result)

    with ExitStack() as begun:
        passes = [shared.grow(show is not None), *own] if shared is not None else own
        for one in passes:
            begun.enter_context(closing(one))
        if show is not None:
            for one in passes:
                see(next(one))
        if shared is not None:
            keep(_rest(passes[0], see))
        keep(free)
        if shared is not None:
            shared.keep_nothing()
            see(scores)
        for one in own:
            keep(_rest(one, see))
    return {method.id: scores[method.id] for method in everything}


def _own_passes(
    methods: Sequence[Method], encoder: Encoder, task: Task, request: Request, looking: bool
) -> list[Growing]:
    """Those of the methods that have one, not begun yet."""
    runs = {method.run: method.grow for method in methods if isinstance(method, OwnPass)}
    return [
        grow(encoder, task, request) if looking and grow is not None else _unseen(run, encoder, task, request)
        for run, grow in runs.items()
    ]


def _unseen(
    run: Callable[[Encoder, Task, Request], Mapping[str, Scores]], encoder: Encoder, task: Task, request: Request
) -> Growing:
    yield {}
    return run(encoder, task, request)


def _rest(growing: Growing, see: Callable[[Mapping[str, Scores]], None]) -> Mapping[str, Scores]:
    """What it ends with; what there is to be seen on the way is shown."""
    while True:
        try:
            found = next(growing)
        except StopIteration as end:
            return end.value
        see(found)
