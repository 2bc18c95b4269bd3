"""`python -m asc_core` is the `asc` command."""

from asc_core.cli import main

main()
