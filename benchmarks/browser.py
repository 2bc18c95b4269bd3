"""A page in headless Chromium, and when it drew what: a script in the page notes every drawing that says anything new.

Times are the page's own, from an event (a click, a key that is let go) to the frame in which something first stood
there; what drives the browser may be as slow as it likes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1280, "height": 800}
SECONDS_BETWEEN_LOOKS = 0.2  # of what drives the browser; the page notes times itself
WATCH = """(() => {
  const text = (selector) => (document.querySelector(selector) || {textContent: ''}).textContent;
  const seen = () => ({
    metric: text('[data-testid=asc-metric]'),
    result: text('.st-key-tune-result'),
    kept: text('.st-key-tune-result td.asc-ratio'),
    scoring: text('.st-key-follow-scoring'),
    map: !!document.querySelector("[class*='st-key-map-chart'] .heatmaplayer image"),
  });
  window.drawings = [];
  let last = '', asked = false;
  const note = () => {
    asked = false;
    const now = JSON.stringify(seen());
    if (now !== last) { last = now; window.drawings.push([performance.now(), JSON.parse(now)]); }
  };
  new MutationObserver(() => { if (!asked) { asked = true; requestAnimationFrame(note); } })
    .observe(document, {subtree: true, childList: true, characterData: true});
  for (const kind of ['click', 'keyup'])
    document.addEventListener(kind, () => window.drawings.push([performance.now(), null]), true);
  window.forgetDrawings = () => { window.drawings = [[performance.now(), seen()]]; };
})()"""


@dataclass(frozen=True)
class Drawn:
    """metric, result: the text of Tune's number and of the card around it. kept: FLOPs of the model that the card is
    about, in percent. scoring: what is said of a scoring under way. map: whether the Map page shows one."""

    metric: str
    result: str
    kept: int | None
    scoring: str
    map: bool

    @staticmethod
    def of(seen: dict[str, Any]) -> Drawn:
        found = re.match(r"\d+", seen["kept"])
        return Drawn(seen["metric"], seen["result"], int(found[0]) if found else None, seen["scoring"], seen["map"])


Ready = Callable[[Drawn], bool]


class Watched:
    """A page that notes what it draws."""

    def __init__(self, page: Any):
        self.page = page

    def begin(self) -> None:
        """Forget what was drawn and pressed before."""
        self.page.evaluate("window.forgetDrawings()")

    def seconds_to(
        self, *ready: Ready, since: Literal["first", "last"] = "last", patience: float = 600.0
    ) -> list[float]:
        """From the first or last event since `begin` to the first drawing after it that is ready, for each of `ready`.

        Raises: TimeoutError, with what stands there instead.
        """
        end = time.monotonic() + patience
        noted: list[Any] = []
        while True:
            noted += self.page.evaluate("number => window.drawings.slice(number)", len(noted))  # what is new of it
            events = [number for number, (_, seen) in enumerate(noted) if seen is None]
            if events:
                start = events[0 if since == "first" else -1]
                after = [(at, Drawn.of(seen)) for at, seen in noted[start:] if seen is not None]
                found = [next((at for at, drawn in after if one(drawn)), None) for one in ready]
                if None not in found:
                    return [(at - noted[start][0]) / 1000 for at in found if at is not None]
            if time.monotonic() > end:
                raise TimeoutError(f"not drawn within {patience:.0f} s; last: {noted[-1:]}")
            self.page.wait_for_timeout(1000 * SECONDS_BETWEEN_LOOKS)

    def wait_until(self, ready: Ready, patience: float = 600.0) -> None:
        """Raises: TimeoutError."""
        end = time.monotonic() + patience
        while True:
            self.begin()
            seen = self.page.evaluate("window.drawings[0][1]")
            if ready(Drawn.of(seen)):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not drawn within {patience:.0f} s: {seen}")
            self.page.wait_for_timeout(1000 * SECONDS_BETWEEN_LOOKS)


def chromium_path() -> str | None:
    """Where a Chromium or Chrome is; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser. Raises: RuntimeError where there is none, or nothing to drive it with."""
    path = chromium_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        raise RuntimeError("no Chromium or no Playwright here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def watched(browser: Any, address: str) -> Watched:
    """A new window at an address."""
    page = browser.new_page(viewport=VIEWPORT, color_scheme="light")
    page.set_default_timeout(600_000)
    page.add_init_script(WATCH)
    page.goto(address)
    return Watched(page)


def memory_of(pid: int, field: str = "VmRSS") -> int:
    """Bytes of a process and its children. field: of /proc/PID/status; VmHWM = the most that it has held."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    total = 0
    for process in [str(pid), *children]:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith(field)), 0) * 1024
    return total
