"""The Streamlit interface over `asc_core`."""
