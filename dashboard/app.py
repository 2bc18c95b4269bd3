"""ASC Studio: navigation and theme, nothing else. `asc dashboard` starts it, by `serve.py`."""

import gc
import sys

import streamlit as st

from dashboard.widgets.theme import MARK, style


@st.cache_resource(show_spinner=False)
def engine() -> None:
    """Imported by the first window; others wait: a second thread would run into modules that are half imported."""
    import asc_core.loading  # noqa: F401

    gc.freeze()  # what was imported stays: no collection need walk through it again


st.set_page_config(page_title="ASC Studio", page_icon=MARK, layout="wide")
st.logo(MARK, size="large")
page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", icon=":material/dashboard:", default=True),
        st.Page("views/map.py", title="Map", icon=":material/grid_on:", url_path="map"),
        st.Page("views/tune.py", title="Tune", icon=":material/tune:", url_path="tune"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
        st.Page("views/export.py", title="Export", icon=":material/ios_share:", url_path="export"),
    ],
    position="top",
)
style()
starting = st.empty()
if "asc_core.loading" not in sys.modules:
    starting.caption("Starting the engine: a few seconds, once.")
engine()
starting.empty()
page.run()
