"""Write docs/results.md and the README's table anew, or check them."""

from __future__ import annotations

import argparse

import benchmarks.report
from benchmarks.report.pages import ROOT, pages


def main() -> None:
    parser = argparse.ArgumentParser(
        description=benchmarks.report.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a page is not current")
    check = parser.parse_args().check
    stale = []
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"{'not current' if check else 'written'}: {', '.join(stale)}" if stale else "all pages are current")
    raise SystemExit(int(check and bool(stale)))


if __name__ == "__main__":
    main()
