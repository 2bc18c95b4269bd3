"""What `asc dashboard` starts: the pages, beside them the streamed downloads, and before both who is let in."""

import os

import streamlit as st
from starlette.middleware import Middleware

from dashboard.doors import Doors, doors_of
from dashboard.measuring.downloads import routes

app = st.App("app.py", routes=routes(), middleware=[Middleware(Doors, **doors_of(os.environ))])
