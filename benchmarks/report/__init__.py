"""docs/results.md and the README's table of figures, written from `benchmarks/results/*.json`.

    python -m benchmarks.report            write both anew
    python -m benchmarks.report --check    only say whether they are current

A section of the page is a function of the results, in a file of its own; the text that explains a table stands beside
the code that makes the table, and figures inside the text are read from the results like those of the table.
"""
