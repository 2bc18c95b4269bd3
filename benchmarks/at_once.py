"""How soon a repaired cut's number is there: in the browser, from the hand to the screen.

    python -m benchmarks.at_once                       everything, medians of five (an hour; nothing else may run)
    python -m benchmarks.at_once --rounds 1 --only qa_first_s --only memory_gb
    python -m benchmarks.at_once --only engine         the repairs alone, against the least that they could take
    python -m benchmarks.at_once --only quick_lost_more    what the quick repair costs (`benchmarks.quick_repair`)

A fresh study with the demo's applications, each scored in the page with its usual methods on 512 examples; cuts by the
first of them, with the sequential repair that is usual. Times are of the page's own frames (`benchmarks.browser`).
The last line is one JSON object; null = never measured:
nli_first_s       the slider is let go at a budget that was never measured, with everything prepared and nothing worked
                  ahead: to the first number of the repaired cut with its interval
qa_first_s        the same for qa, whose texts are long
qa_complete_s     the same move, to the number of the final repair on all examples
qa_first_visit_s  a fresh process; Tune is clicked on as soon as qa's scoring is said to be done: to the first number
ahead_s           the slider is let go at a budget that was worked ahead: to its complete number
burst_last_s      20 quick moves of nli's slider: from the last one to the first number of its cut
memory_gb         what the server holds once five applications were scored and tuned, one repaired cut each
first_map_s       Score is clicked for qa, its encoder being loaded, and the Map page opened: to the first map drawn
quick_lost_more   points of the test metric that the quick repair loses more than the full one, mean at half the FLOPs
Figures that were not asked for are as they were kept in benchmarks/results/at_once.json. Each group is kept there as
soon as it is measured, but only if the machine was otherwise idle before it, or with --keep.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from asc_core.demo import applications
from asc_core.study import Study
from benchmarks import quick_repair, repair_times
from benchmarks.browser import Drawn, Ready, Watched, chromium, memory_of, watched
from benchmarks.machine import RESULTS, busy_share, committed, keep, machine
from benchmarks.served import served

NAME = "at_once"
BROWSER = (
    "nli_first_s",
    "qa_first_s",
    "qa_complete_s",
    "qa_first_visit_s",
    "ahead_s",
    "burst_last_s",
    "memory_gb",
    "first_map_s",
)
REST = ("engine", "quick_lost_more")
BUSY = 0.1  # of all cores; more is somebody else's work
MOVES, BURST_FROM = 20, 70
ROUNDS = 5
Found = dict[str, list[float]]


# What stands on the page


def has_number(drawn: Drawn) -> bool:
    """A number with the interval of the paired difference."""
    return "[" in drawn.metric and " pp " in drawn.result


def is_complete(drawn: Drawn) -> bool:
    return has_number(drawn) and "· complete" in drawn.result


def is_timed(drawn: Drawn) -> bool:
    """Nothing is left to be measured of the cut in view."""
    return is_complete(drawn) and "×" in drawn.result


def of_cut(kept: int, ready: Ready) -> Ready:
    """The same, about the cut that keeps so many percent of the FLOPs."""
    return lambda drawn: drawn.kept == kept and ready(drawn)


def has_map(drawn: Drawn) -> bool:
    return drawn.map


# What is done on it


@dataclass
class Window:
    """A browser window on the dashboard."""

    watched: Watched

    @property
    def page(self) -> Any:
        return self.watched.page

    def score(self, title: str) -> None:
        """On Overview; returns when scoring is said to be done."""
        self.page.locator(f".st-key-score-{title} button:enabled").click()
        self.until_scored(title)

    def until_scored(self, title: str) -> None:
        again = self.page.locator(f".st-key-score-{title} button:enabled", has_text="Score again")
        again.wait_for(state="visible")

    def go_to(self, view: str) -> None:
        self.page.get_by_test_id("stTopNav").get_by_role("link", name=view).click()

    def tune(self, title: str) -> None:
        """From Overview."""
        self.page.locator(f".st-key-tune-{title} button").click()

    def work_ahead(self, wanted: bool) -> None:
        toggle = self.page.locator(".st-key-tune-ahead")
        toggle.wait_for(state="visible")
        if toggle.locator("input").is_checked() != wanted:
            toggle.locator("label").first.click()

    @property
    def slider(self) -> Any:
        return self.page.locator(".st-key-tune-keep input[type=range]").first

    def kept(self) -> int:
        return int(self.slider.input_value())

    def settle(self) -> None:
        """Until the cut where the slider stands is measured, and its latency."""
        self.watched.wait_until(lambda drawn: of_cut(self.kept(), is_timed)(drawn))
        self.page.wait_for_timeout(500)

    def move(self, key: str, times: int = 1) -> int:
        """Presses a key on the slider. Returns the percent where it stands then."""
        for _ in range(times):
            self.slider.press(key)
            if times > 1:
                self.page.wait_for_timeout(60)
        return self.kept()

    def move_to(self, kept: int) -> None:
        way = kept - self.kept()
        if way:
            self.move("ArrowRight" if way > 0 else "ArrowLeft", abs(way))


@dataclass
class Studio:
    """A dashboard of our own. server: its process id. study: its folder."""

    browser: Any
    address: str
    server: int
    study: Path

    def window(self, study: str = "") -> Window:
        """study: another one that lies beside its own."""
        found = Window(watched(self.browser, f"{self.address}/?study={study}" if study else self.address))
        found.page.locator(".st-key-score-qa button:enabled").wait_for(state="visible")
        return found


@contextmanager
def studio(others: int = 0) -> Iterator[Studio]:
    """In a fresh process. others: further empty studies beside its own, study-0, study-1, ..."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        for number in range(others):
            Study.open(Path(folder) / f"study-{number}")
        with served(study) as (address, server), chromium() as browser:
            yield Studio(browser, address, server, study)


# The figures


def tuned(at: Studio, title: str) -> Window:
    """A window on Tune, the application scored and its first cut measured, nothing worked ahead."""
    window = at.window()
    window.score(title)
    window.tune(title)
    window.work_ahead(False)
    window.settle()
    return window


def steps(window: Window, rounds: int) -> tuple[list[float], list[float]]:
    """(to the first number, to the complete one) of single moves, each to a budget never measured."""
    first, complete = [], []
    for _ in range(rounds):
        window.watched.begin()
        kept = window.move("ArrowLeft")
        one, whole = window.watched.seconds_to(of_cut(kept, has_number), of_cut(kept, is_complete))
        first.append(one)
        complete.append(whole)
        window.settle()
    return first, complete


def bursts(window: Window, rounds: int) -> list[float]:
    """Each ends one step further than all before it, where nobody was."""
    found = []
    for number in range(rounds):
        window.move_to(BURST_FROM - number)
        window.settle()
        window.watched.begin()
        kept = window.move("ArrowLeft", MOVES)
        found += window.watched.seconds_to(of_cut(kept, has_number))
        window.settle()
    return found


def ahead(at: Studio, window: Window, rounds: int) -> list[float]:
    """Moves away from where work ahead has begun, once it has been to where they lead."""
    window.move_to(window.kept() - 2 * rounds)  # beside it, nothing was measured yet
    window.work_ahead(True)
    window.settle()
    here = window.kept()
    wait_for_cuts(at.study, window, {here - number for number in range(1, rounds + 1)})
    found = []
    for _ in range(rounds):
        window.watched.begin()
        kept = window.move("ArrowLeft")
        found += window.watched.seconds_to(of_cut(kept, is_complete))
        window.settle()
    window.work_ahead(False)
    return found


def wait_for_cuts(folder: Path, window: Window, wanted: set[int], patience: float = 1800) -> None:
    """Until the study holds complete measurements at these percents. Raises: TimeoutError."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        rows = [row for row in Study.open(folder).evaluations() if row["estimate"].complete and row["name"]]
        if wanted <= {round(100 * float(found)) for row in rows if _is_number(found := row["name"].split()[0])}:
            return
        window.page.wait_for_timeout(1000)
    raise TimeoutError(f"not all of {sorted(wanted)} were worked ahead within {patience:.0f} s")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def of_nli(rounds: int, wanted: set[str]) -> Found:
    with studio() as at:
        window = tuned(at, "nli")
        found: Found = {}
        if "nli_first_s" in wanted:
            found["nli_first_s"], found["nli_complete_s"] = steps(window, rounds)
        if "burst_last_s" in wanted:
            found["burst_last_s"] = bursts(window, rounds)
        if "ahead_s" in wanted:
            found["ahead_s"] = ahead(at, window, rounds)
        return found


def of_qa(rounds: int, wanted: set[str]) -> Found:
    with studio() as at:
        first, complete = steps(tuned(at, "qa"), rounds)
        return {"qa_first_s": first, "qa_complete_s": complete}


def of_first_visits(rounds: int, wanted: set[str]) -> Found:
    found: Found = defaultdict(list)
    for _ in range(rounds):
        with studio() as at:
            window = at.window()
            window.score("qa")
            window.watched.begin()
            window.tune("qa")
            first, complete = window.watched.seconds_to(has_number, is_complete)
            found["qa_first_visit_s"].append(first)
            found["qa_first_visit_complete_s"].append(complete)
    return dict(found)


def of_first_maps(rounds: int, wanted: set[str]) -> Found:
    """Studies that share nothing but the process, which has the encoder and the texts from scoring in the first one."""
    found: Found = defaultdict(list)
    with studio(others=rounds) as at:
        first = at.window()  # stays open: with no window left, the process lets go of its encoders
        first.score("qa")
        for number in range(rounds):
            window = at.window(f"study-{number}")
            window.page.wait_for_timeout(1000)
            window.watched.begin()
            window.page.locator(".st-key-score-qa button:enabled").click()
            window.go_to("Map")
            found["first_map_s"] += window.watched.seconds_to(has_map, since="first")
            found["settled_map_s"] += window.watched.seconds_to(_is_settled, since="first")
            window.page.close()
    return dict(found)


def _is_settled(drawn: Drawn) -> bool:
    return drawn.map and "examples" not in drawn.scoring


def of_memory(rounds: int, wanted: set[str]) -> Found:
    """Once, however many rounds: it takes as long as all others and hardly differs."""
    titles = [application.name for application in applications() if application.report is not None]
    with studio() as at:
        window = at.window()
        window.page.locator(".st-key-score-all button:enabled").click()
        for title in titles:
            window.until_scored(title)
        for title in titles:
            window.tune(title)
            window.work_ahead(False)
            window.settle()
            window.go_to("Overview")
            window.page.locator(f".st-key-tune-{titles[0]} button").wait_for(state="visible")
        window.page.wait_for_timeout(5000)
        return {
            "memory_gb": [memory_of(at.server) / 1e9],
            "most_memory_gb": [memory_of(at.server, "VmHWM") / 1e9],
        }


GROUPS: dict[tuple[str, ...], Callable[[int, set[str]], Found]] = {
    ("nli_first_s", "burst_last_s", "ahead_s"): of_nli,
    ("qa_first_s", "qa_complete_s"): of_qa,
    ("qa_first_visit_s",): of_first_visits,
    ("memory_gb",): of_memory,
    ("first_map_s",): of_first_maps,
}


# What is kept


def summary(found: Found, busy: float) -> dict[str, Any]:
    """busy: the share of the machine that others used before."""
    about = {"busy": round(busy, 2), "date": datetime.now(UTC).date().isoformat()}
    return {
        name: {
            "median": round(median(values), 3),
            "range": [round(min(values), 3), round(max(values), 3)],
            "rounds": len(values),
            **about,
        }
        for name, values in found.items()
    }


def committed_before() -> dict[str, Any]:
    return committed(NAME) if (RESULTS / f"{NAME}.json").exists() else {}


def merged(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What was kept before, with what was found now in its place."""
    return before | found | {"figures": before.get("figures", {}) | found.get("figures", {})}


def last_line(result: dict[str, Any]) -> dict[str, float | None]:
    figures = result.get("figures", {})
    found = {name: figures[name]["median"] if name in figures else None for name in BROWSER}
    return found | {"quick_lost_more": result.get("quick_lost_more")}


def measuring(rounds: int, wanted: set[str]) -> Iterator[tuple[str, dict[str, Any], float]]:
    """(names, what was found, the share of the machine that others used before) of each group of figures."""
    for names, measure in GROUPS.items():
        if wanted & set(names):
            busy = busy_share()
            try:
                yield ", ".join(names), {"figures": summary(measure(rounds, wanted), busy)}, busy
            except TimeoutError as error:
                print(f"{', '.join(names)}: {error}", flush=True)
    if "engine" in wanted:
        busy = busy_share()
        applications_of_engine = repair_times.table(rounds)
        yield "engine", {"engine": {"rounds": rounds, "busy": busy, "applications": applications_of_engine}}, busy
    if "quick_lost_more" in wanted:
        quick_repair.measured()  # takes no times: others may work meanwhile
        yield "quick_lost_more", {"quick_lost_more": quick_repair.lost_more()}, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*BROWSER, *REST], help="default: all; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keep", action="store_true", help="keep the figures though the machine was not idle")
    options = parser.parse_args()
    result = committed_before()
    for names, found, busy in measuring(options.rounds, set(options.only or [*BROWSER, *REST])):
        print(json.dumps(found), flush=True)
        if busy <= BUSY or options.keep:
            keep(NAME, merged(committed_before(), found) | {"machine": machine()})
        else:
            print(f"{names}: not kept, since others used {100 * busy:.0f} % of this machine (--keep does)", flush=True)
        result = merged(result, found)
    print(json.dumps(last_line(result)))


if __name__ == "__main__":
    main()
