"""Checkpoint folders of others: what of them counts, what is taken off, and what is refused in a sentence."""
