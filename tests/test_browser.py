"""One run of the whole dashboard in a real browser, as a new user goes through it.

Opens the demo, scores an application, moves the budget, sees the repaired cut's metric change, cuts a head with a
click, exports, and loads the exported model in a fresh process; then exports it as ONNX, downloads that, and lets its
example answer without us. Needs a Chromium or Chrome on this machine: on Debian,
`apt-get install chromium`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.browser import FLAGS, VIEWPORT, chromium_path
from benchmarks.served import served

if TYPE_CHECKING:
    from playwright.sync_api import Page

REPOSITORY = Path(__file__).parents[1]
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
PATIENCE = 300_000  # milliseconds; a busy machine is no failure
LOAD_AND_ANSWER = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer("Lima is the capital of Peru.", "The capital of Peru is Lima.", return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits
assert "asc_core" not in sys.modules
print(model.num_parameters(), tuple(logits.shape), bool(logits.isfinite().all()))
"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser_path() -> str:
    found = chromium_path()
    if found is None:
        pytest.skip("no Chromium or Chrome here; on Debian: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, study folder) of a dashboard of our own."""
    study = tmp_path_factory.mktemp("studio") / "study"
    with served(study) as (address, _):
        yield address, study


def click_cell(page: Page, row: str, column: str) -> None:
    """A real click on a cell of Tune's map, found by its axes' labels: only a browser says what a chart hears."""
    chart = page.locator("[class*='st-key-tune-map-']")
    beside, above = (chart.get_by_text(label, exact=True).bounding_box() for label in (row, column))
    assert beside is not None
    assert above is not None
    page.mouse.click(above["x"] + above["width"] / 2, beside["y"] + beside["height"] / 2)


def downloaded_onnx(page: Page, into: Path) -> Path:
    """The folder that a browser gets, unpacked."""
    from playwright.sync_api import expect

    page.locator(".st-key-export-format").get_by_text("ONNX: one graph").click()
    expect(page.locator("[class*='st-key-export-name-'][class*='-onnx'] input")).to_have_value(re.compile("-onnx$"))
    expect(page.locator(".st-key-export-start button")).to_be_enabled()
    page.locator(".st-key-export-start button").click()
    report = page.locator(".st-key-export-report")
    expect(report).to_contain_text("ONNX, weights float32")
    expect(report).to_contain_text("times as fast as the original")
    with page.expect_download() as download:
        report.get_by_role("link", name="Download as zip").click()
    assert download.value.suggested_filename.endswith("-onnx.zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(into)
    (folder,) = into.iterdir()
    return folder


def fresh_process(arguments: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """cwd: not the repository, so that asc_core is not found by accident."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"},
    )


def test_from_the_demo_to_an_exported_model(browser_path: str, studio: tuple[str, Path], tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    address, study = studio
    expect.set_options(timeout=PATIENCE)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport=VIEWPORT, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))

        def shot(name: str) -> None:
            page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))

        def metric() -> str:
            return page.get_by_test_id("asc-metric").inner_text()

        page.goto(address)
        expect(page.locator(".st-key-card-nli")).to_be_visible()
        shot("overview")
        page.locator(".st-key-score-nli button:enabled").click()
        look_at_map = page.locator(".st-key-map-nli button")
        expect(look_at_map).to_be_enabled()
        shot("overview-scored")

        look_at_map.click()
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        page.wait_for_timeout(1500)
        shot("map")

        page.get_by_test_id("stTopNav").get_by_role("link", name="Tune").click()
        result = page.locator(".st-key-tune-result")
        expect(result).to_contain_text("complete")
        before = metric()
        handle = page.locator(".st-key-tune-keep input[type=range]")
        at = int(handle.input_value())
        handle.focus()
        for _ in range(12):
            page.keyboard.press("ArrowLeft", delay=20)
        expect(handle).not_to_have_value(str(at))
        expect(page.get_by_test_id("asc-metric")).not_to_have_text(before)
        expect(result).to_contain_text("complete")
        expect(result).to_contain_text(re.compile(r"latency\s*[\d.,]+\s*ms"))
        after = metric()
        assert before != after
        click_cell(page, "L3", "5")
        expect(page.locator(".st-key-tune-release")).to_contain_text("Clear 1 manual edit")
        expect(page.locator(".st-key-tune-result")).to_contain_text("complete")
        expect(page.locator("[class*='st-key-tune-move-'] button[kind=primary]")).to_contain_text("*")
        assert "repair=sequential" in page.url
        shot("tune")
        fits = page.evaluate("document.scrollingElement.scrollHeight <= window.innerHeight")
        main = page.evaluate(
            "(() => { const m = document.querySelector('[data-testid=stMain]');"
            " return m.scrollHeight - m.clientHeight; })()"
        )
        assert fits, "Tune fits into one screen of 1280 x 800"
        assert main <= 8, f"Tune overflows its screen by {main} pixels"

        page.locator(".st-key-tune-repair").get_by_text("none", exact=True).click()
        expect(page).to_have_url(re.compile("repair=none"))
        expect(result).to_contain_text("complete")
        unrepaired, began = metric(), time.perf_counter()
        handle.press("ArrowLeft")
        expect(page.get_by_test_id("asc-metric")).not_to_have_text(unrepaired)
        print(f"from the slider to a number of the new cut: {time.perf_counter() - began:.2f} s")
        expect(result).to_contain_text("complete")
        expect(page.get_by_test_id("asc-predicted")).to_contain_text("Predicted")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_test_id("asc-metric")).to_have_text(unrepaired)
        page.get_by_role("button", name="Undo").click()
        expect(page).to_have_url(re.compile("repair=sequential"))
        expect(result).to_contain_text("complete")

        page.get_by_test_id("stTopNav").get_by_role("link", name="Export").click()
        page.locator(".st-key-export-start button").click()
        expect(page.locator(".st-key-export-report")).to_contain_text("Exported and checked")
        shot("export")
        began = time.perf_counter()
        as_onnx = downloaded_onnx(page, tmp_path)
        print(f"from the format to an unpacked ONNX folder: {time.perf_counter() - began:.0f} s")
        shot("export-onnx")
        browser.close()
    assert not problems, problems
    folders = [path.parent for path in study.rglob("compact.py")]
    assert len(folders) == 1
    check = fresh_process(["-c", LOAD_AND_ANSWER, folders[0]], study)
    assert check.returncode == 0, check.stderr
    assert "(1, 3) True" in check.stdout
    assert int(check.stdout.split()[0]) < 22_700_000
    texts = ("Lima is the capital of Peru.", "The capital of Peru is Lima.")
    answer = fresh_process([as_onnx / "example.py", *texts], tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "logits ['entailment']" in answer.stdout
