"""Figures: engine values in, plotly figures out. Nothing here imports streamlit."""
