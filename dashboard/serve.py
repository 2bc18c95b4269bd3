"""What `asc dashboard` starts: the pages, and beside them the streamed downloads."""

import streamlit as st

from dashboard.measuring.downloads import routes

app = st.App("app.py", routes=routes())
