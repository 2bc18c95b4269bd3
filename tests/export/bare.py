"""An environment that holds some packages and what they declare to need, as `pip install` would make it, and no others.

It is a folder of links into the packages that are installed here. What runs there runs isolated (`python -I -S`): of
this environment, this project and the user's settings it sees nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

NOT_PACKAGES = ("__pycache__", "..", "bin")


def closure(packages: Iterable[str]) -> dict[str, metadata.Distribution]:
    """All that pip would install for these packages, as far as it is installed here. Raises: PackageNotFoundError."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [(name, True) for name in packages]
    while wanted:
        name, asked = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if asked:
                raise
            continue  # what a package can do without here, such as a telemetry
        for line in found[key].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append((requirement.name, False))
    return found


def environment(folder: Path, packages: Iterable[str], extra: Sequence[Path] = ()) -> Path:
    """extra: packages of ours, by their folders."""
    folder.mkdir()
    for distribution in closure(packages).values():
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {*NOT_PACKAGES}:
            place = Path(str(distribution.locate_file(top)))
            if place.exists() and not (folder / top).exists():
                (folder / top).symlink_to(place)
    for package in extra:
        (folder / package.name).symlink_to(package)
    return folder


def run_in(place: Path, code: str, scratch: Path, *arguments: str) -> Any:
    """What the code leaves in `answer`, as JSON. Raises: AssertionError with its errors where it fails."""
    lines = (
        "import json, sys",
        f"sys.path.append({str(place)!r})",
        f"sys.argv[1:] = {list(arguments)!r}",
        code,
        "print('\\n' + json.dumps(answer))",
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "\n".join(lines)],
        cwd=scratch,
        env={"HOME": str(scratch), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
