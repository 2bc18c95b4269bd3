"""ASC Studio: navigation and theme, nothing else. `asc dashboard`, or `streamlit run dashboard/app.py`."""

from pathlib import Path

import streamlit as st

from dashboard.frame import style

MARK = str(Path(__file__).with_name("mark.svg"))

st.set_page_config(page_title="ASC Studio", page_icon=MARK, layout="wide")
st.logo(MARK, size="large")
page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", icon=":material/dashboard:", url_path="overview", default=True),
        st.Page("views/map.py", title="Map", icon=":material/grid_on:", url_path="map"),
        st.Page("views/tune.py", title="Tune", icon=":material/tune:", url_path="tune"),
        st.Page("views/export.py", title="Export", icon=":material/ios_share:", url_path="export"),
    ],
    position="top",
)
style()
page.run()
