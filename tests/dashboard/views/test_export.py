"""The Export page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from asc_core.compress.quantize import Quantize
from asc_core.export import FORMATS
from asc_core.export.formats.dense import Dense
from asc_core.export.timing import version_of
from asc_core.loading import load_encoder
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.measuring.downloads import address_of, routes
from dashboard.measuring.export_jobs import exports_of
from dashboard.state import applications
from dashboard.state.cut_settings import recipe_of
from dashboard.widgets import page
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.views.windows import Open, current_plan
from tests.extending.test_a_format import BagOfWords

pytestmark = pytest.mark.slow  # whole pages, minutes in all


@pytest.mark.slow
def test_a_cut_is_exported_checked_and_packed(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    plan = current_plan(app, scored)
    app.switch_page("views/export.py").run()
    name = next(i for i in app.text_input if (i.key or "").startswith("export-name"))
    name.set_value("half")
    app.run()
    app.button(key="export-start").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    for said in ("Exported and checked", "fresh process", "asc compress", "readouts refitted (sequential)"):
        assert said in text
    (folder,) = exports_of(scored)
    recipe = Recipe.load(folder / "recipe.json")
    assert recipe.key == recipe_of(plan, "sequential").key
    models = page.models()
    (application,) = applications.applications_of(scored)
    assert (recipe.original, recipe.task) == (Path(application.encoder).name, Path(application.task).name)
    again = recipe.apply(models.encoder(application), models.task(application)).model.state_dict()
    exported = load_encoder(str(folder)).model.state_dict()
    assert all(torch.allclose(exported[name], again[name], atol=1e-5) for name in again)
    assert folder.name == "half"
    assert Plan.load(folder / "plan.json") == plan
    assert "times as fast as the original in the same turns" in text
    assert len(list(folder.glob("*.svg"))) == 2
    assert "![" not in "".join(part.value for part in app.markdown)  # the page shows pictures itself
    assert "start the dashboard with `asc dashboard`" in "".join(part.value for part in app.caption)
    routes()
    assert {link.proto.url for link in app.run().get("link_button")} == {address_of(folder)}


def test_what_a_format_needs_its_bytes_and_what_it_cannot_hold_are_said_before(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("tune")
    monkeypatch.setattr(Dense, "refuses", lambda form, encoder: "It cannot. Export it in the compact format.")
    app.switch_page("views/export.py").run()
    radio = app.radio(key="export-format")
    captions = dict(zip(FORMATS, radio.proto.captions, strict=True))
    wanted = r"needs torch, transformers · float32 or float16 or int8 · (at most )?about [\d.]+ .B in float32"
    assert re.fullmatch(wanted, captions["compact"]), captions["compact"]
    assert captions["onnx"].startswith("needs onnxruntime, tokenizers, numpy · float32 or float16 or int8 · ")
    assert captions["dense"].startswith("not possible here: ")
    radio.set_value("dense").run()
    assert [warning.value for warning in app.warning] == ["It cannot. Export it in the compact format."]
    assert app.button(key="export-start").disabled


def test_the_page_offers_every_format(
    scored: Study, open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "bag", BagOfWords(tmp_path / "with_numpy.py"))
    app = open_page("tune")
    app.switch_page("views/export.py").run()
    offered = app.radio(key="export-format").options
    assert offered == [f"{form.title}: {form.about}" for form in FORMATS.values()]
    assert "Bag of words: the mean of word vectors, for who needs nothing better" in offered
    app.radio(key="export-format").set_value("torch-export").run()
    packings = next(group for group in app.button_group if group.key == "export-packing-torch-export")
    assert packings.options == ["float32", "int8"]
    app.radio(key="export-format").set_value("dense").run()
    packings = next(group for group in app.button_group if group.key == "export-packing-dense")
    assert packings.options == ["float32", "float16"]  # the original's class holds no integers


def test_int8_is_a_last_step_and_what_it_says_of_answers_and_speed_stands_in_the_report(
    scored: Study, open_page: Open
) -> None:
    app = open_page("tune")
    app.switch_page("views/export.py").run()
    app.radio(key="export-format").set_value("onnx").run()
    app.segmented_control(key="export-packing-onnx").set_value("int8").run()
    assert next(i.value for i in app.text_input if (i.key or "").startswith("export-name")).endswith("-onnx-int8")
    caption = next(one.value for one in app.caption if "int8" in one.value)
    assert re.search(r"bout [\d.]+ .B with every matrix in int8", caption), caption
    assert "changes more than 1 % of the answers on 256 training texts" in caption
    app.button(key="export-start").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    (folder,) = exports_of(scored)
    made = Recipe.load(folder / "recipe.json").steps[-1]
    assert isinstance(made, Quantize)
    assert (made.activations, made.choose) == ("dynamic", True)
    assert "of the answers equal" in text
    assert re.search(r"int8 is (slower|faster) than float32 on this machine", text)
    assert f"{version_of('onnxruntime')}, the original in torch" in text


def test_an_export_needs_a_plain_name(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    app.switch_page("views/export.py").run()
    name = next(i for i in app.text_input if (i.key or "").startswith("export-name"))
    name.set_value("../outside")
    app.run()
    app.button(key="export-start").click()
    app.run()
    assert "A name has letters" in html_of(app)
    assert exports_of(scored) == []


def test_the_usual_name_says_the_format_so_that_exports_of_a_recipe_stand_beside_each_other(
    scored: Study, open_page: Open
) -> None:
    def usual() -> str:
        return next(i.value for i in app.text_input if (i.key or "").startswith("export-name"))

    app = open_page("tune")
    app.switch_page("views/export.py").run()
    compact = usual()
    app.radio(key="export-format").set_value("onnx")
    app = app.run()
    assert usual() == f"{compact}-onnx"
    storage = next(group for group in app.button_group if (group.key or "").startswith("export-packing-onnx"))
    storage.set_value("float16")
    app = app.run()
    assert usual() == f"{compact}-onnx-float16"
    assert not app.exception
