"""Facts about scores as values, before anything is drawn."""
