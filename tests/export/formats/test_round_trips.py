"""Any format, architecture, head and plan: it comes back as it was, or is refused with a reason that stands here.

An export is compared with the model in memory before it gets its name, so that it came to be is what is tested.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core import modeling
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.verify import verify
from tests.export.conftest import checked_in_process
from tests.modeling.structures import structured
from tests.test_surgery import plans
from tests.tiny import ARCHITECTURES, tiny

NO_CLASS = "Transformers has no class for intents and slots"
NO_HEAD = "transformers has no"


def expected_refusal(form: str, encoder: Encoder) -> str | None:
    """Why there is no such export; None where there has to be one."""
    if form == "device" and encoder.architecture != "bert":
        return "models of BERT's architecture"
    if form != "dense":
        return None
    if encoder.head == "intent-slots":
        return NO_CLASS
    reason = modeling.dense_refusal(encoder.model, modeling.origin(encoder.model.config).layers)
    return reason and "There is no dense format of this encoder"


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), architecture=st.sampled_from(ARCHITECTURES), head=st.sampled_from([*HEADS]))
def test_any_plan_of_anything_comes_back_or_is_refused_as_expected(
    form: str, data: st.DataObject, architecture: str, head: str, tmp_path: Path
) -> None:
    if form == "openvino" and find_spec("openvino") is None:
        pytest.skip("openvino is an extra (requirements-openvino.txt) and not installed here")
    if HEADS[head] not in modeling.heads_of(architecture):
        with pytest.raises(ValueError, match=NO_HEAD):
            modeling.uncut_class(architecture, HEADS[head])
        return
    encoder = tiny(architecture, head=head)
    smaller = encoder.cut(data.draw(plans(encoder.shape)))
    refusal = expected_refusal(form, smaller)
    with checked_in_process():
        if refusal is not None:
            with pytest.raises(UserError, match=refusal):
                export(smaller, tmp_path / "refused", form)
            assert not (tmp_path / "refused").exists()
            return
        report = export(smaller, tmp_path / "out", form, packing="float32", overwrite=True)
        assert report.max_difference < FORMATS[form].tolerance
        assert verify(tmp_path / "out", run_its_code=form == "torch-export").files == len(report.files) - 1


@pytest.mark.parametrize("kind", ["factor", "share", "vocabulary"])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_checkpoints_hold_every_structure(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    encoder = structured(data.draw, tiny(), kind)
    with checked_in_process():
        for form in ("compact", "weights-only", "dense"):
            if expected_refusal(form, encoder) is None:
                assert export(encoder, tmp_path / form, form, overwrite=True).max_difference < 1e-4
