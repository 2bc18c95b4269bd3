"""Scores that are still being made, by whichever window: to be looked at, never to be kept or cut by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asc_core.scores.first_look import Unsettled
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import Job, Jobs
from dashboard.background.scoring_jobs import scores_prefix
from dashboard.state.application import Application
from dashboard.text.method_names import in_order

Scored = list[tuple[Application, Scores]]


@dataclass(frozen=True)
class Scoring:
    """A scoring under way, as it was when it was looked at. shown: None before the first look."""

    application: Application
    job: Job
    shown: Unsettled | None

    @property
    def is_current(self) -> bool:
        """Whether there is nothing newer: neither further scores nor the end of it."""
        return self.job.active and self.job.latest is self.shown


def scoring_now(jobs: Jobs, study: Study, applications: Sequence[Application]) -> list[Scoring]:
    """To be called before the study is read: what ends in between is then in the study."""
    return [
        Scoring(application, job, job.latest)
        for application in applications
        for job in jobs.about("score", scores_prefix(study, application))
    ]


def unsettled(scoring: Sequence[Scoring], application: str) -> dict[str, tuple[Scores, str]]:
    """method -> (its scores so far, how far that is in words)."""
    found: dict[str, tuple[Scores, str]] = {}
    for one in scoring:
        if one.application.name == application and one.shown is not None:
            for method, scores in one.shown.scores.items():
                found.setdefault(method, (scores, so_far(scores, one.shown.of)))
    return found


def so_far(scores: Scores, of: int) -> str:
    if not scores.examples:
        return "not saved yet"
    return f"{scores.examples:,} of {of:,} examples, {'refining' if scores.examples < of else 'finishing'}"


def with_unsettled(
    settled: Mapping[str, Scored], scoring: Sequence[Scoring], applications: Sequence[Application]
) -> tuple[dict[str, Scored], dict[tuple[str, str], str]]:
    """(settled scores, and unsettled ones where there are none; (application, method) -> how far the unsettled are).

    Whoever scores again keeps what there is until the new scores are settled, so that no number moves meanwhile.
    """
    merged = {method: list(found) for method, found in settled.items()}
    words: dict[tuple[str, str], str] = {}
    places = [application.name for application in applications]
    for application in applications:
        for method, (scores, said) in unsettled(scoring, application.name).items():
            known = merged.setdefault(method, [])
            if all(other.name != application.name for other, _ in known):
                known.append((application, scores))
                known.sort(key=lambda each: places.index(each[0].name))
                words[application.name, method] = said
    return {method: merged[method] for method in in_order(merged)}, words
