"""How good an encoder is on a task, how sure that is, and how fast it runs."""
