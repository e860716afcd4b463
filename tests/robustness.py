"""The tests on other processors, threads, clocks, paths and versions.

python -m tests.robustness                          # all that this machine can do
python -m tests.robustness "two threads"            # one row
python -m tests.robustness --python python3.13      # a row for another Python

Each row is a run in a fresh clone of the last commit. The outcomes are kept beside
those of the benchmarks, and stand as a table in CONTRIBUTING.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from chapters.assignments.grader.files import replacing
from tests.benchmarks.goals import RESULTS, keep
from tests.notebooks import ROOT

KEPT = RESULTS / "robustness.json"
GUIDE = ROOT / "CONTRIBUTING.md"
ALONE = ["-m", "pytest"]
WHOLE = [*ALONE, "-n", "2", "--dist", "loadfile"]
CHAPTERS = ["chapters", "book/performance.ipynb"]
NOTEBOOKS = [*WHOLE, *CHAPTERS]
LIBRARY = [*WHOLE, "embeddings_lib", "tests", "--ignore=tests/test_browser.py"]
LIBRARY += [
    f"--ignore=tests/test_{name}.py" for name in ("site", "notebooks", "notebook")
]


@dataclass(frozen=True)
class Row:
    """What is other than usual, and which tests run."""

    tests: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "clone"
    read_only: bool = False


ROWS = {
    "kernels without vectors": Row(NOTEBOOKS, {"ATEN_CPU_CAPABILITY": "default"}),
    "kernels for AVX2": Row(NOTEBOOKS, {"ATEN_CPU_CAPABILITY": "avx2"}),
    # In one process, as processes that share two cores would wait for each other.
    "two threads": Row([*ALONE, *CHAPTERS], {"OMP_NUM_THREADS": "2"}),
    "another time zone, no language, a folder with spaces that cannot be written": Row(
        WHOLE,
        {"TZ": "Pacific/Chatham", "LC_ALL": "C"},
        folder="a path with späces",
        read_only=True,
    ),
}
USUAL = {"OMP_NUM_THREADS": "1"}


def run(row: Row, python: Path = Path(sys.executable)) -> str:
    """How many tests passed and failed, in a fresh clone."""
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / row.folder
        git = ["git", "clone", "--quiet", "--local", str(ROOT), str(clone)]
        subprocess.run(git, check=True)
        command = [str(python), *row.tests]
        if row.read_only:
            bwrap = shutil.which("bwrap")
            if bwrap is None:
                return "not run: needs bubblewrap"
            bind = ["--dev-bind", "/", "/", "--ro-bind", str(clone), str(clone)]
            command = [bwrap, *bind, *command]
        environment = os.environ | USUAL | row.environment | {"PYTHONPATH": str(clone)}
        result = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True
        )
        print(
            *re.findall(r"^(?:FAILED|ERROR) .*", result.stdout, re.MULTILINE), sep="\n"
        )
        summary = re.search(
            r"^=+ (.* (?:passed|failed).*) in [\d.]+s", result.stdout, re.MULTILINE
        )
        if summary is None:
            raise RuntimeError(result.stdout[-2000:] + result.stderr[-2000:])
        return summary[1]


def with_python(python: str, torch: str | None = None) -> str:
    """The whole suite in a new environment of another Python, or another PyTorch."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([python, "-m", "venv", place], check=True)
        own = Path(place) / "bin" / "python"
        install = [own, "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
        subprocess.run(install, cwd=ROOT, check=True)
        if torch:
            install = [own, "-m", "pip", "install", "--quiet", f"torch=={torch}"]
            subprocess.run(install, check=True)
        return run(Row(LIBRARY if torch else WHOLE), own)


def table(kept: dict[str, dict[str, str]]) -> str:
    lines = ["| what is other than usual | outcome | date |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['outcome']} | {row['date']} |" for name, row in kept.items()
    ]
    return "\n".join(lines)


def write(kept: dict[str, dict[str, str]]) -> None:
    """Keep the outcomes, and put their table into the guide."""
    keep(KEPT, kept)
    text = GUIDE.read_text("utf-8")
    begin, end = "<!-- robustness -->\n", "<!-- end of robustness -->"
    head, rest = text.split(begin)
    text = head + begin + table(kept) + "\n" + end + rest.split(end)[1]
    with replacing(GUIDE) as new:
        new.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="row", help="; ".join(ROWS))
    parser.add_argument("--python", help="the whole suite with this Python instead")
    parser.add_argument("--torch", help="the library's tests with this PyTorch instead")
    wanted = parser.parse_args()
    if strange := set(wanted.rows) - set(ROWS):
        parser.error(f"rows must be some of {'; '.join(ROWS)}; got {strange}")
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}

    def note(name: str, outcome: str) -> None:
        print(f"{name}: {outcome}", flush=True)
        kept[name] = {"outcome": outcome, "date": date.today().isoformat()}
        write(kept)

    if wanted.python or wanted.torch:
        python = wanted.python or sys.executable
        version = subprocess.check_output([python, "--version"], text=True).strip()
        name = f"{version}, PyTorch {wanted.torch}" if wanted.torch else version
        return note(name, with_python(python, wanted.torch))
    for name in wanted.rows or ROWS:
        note(name, run(ROWS[name]))


if __name__ == "__main__":
    main()
