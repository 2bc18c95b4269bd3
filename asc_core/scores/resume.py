"""How often a pass over texts keeps what it goes on from after it was cancelled or killed."""

SECONDS_BETWEEN_SAVES = 10.0
