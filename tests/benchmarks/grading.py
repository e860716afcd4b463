"""Thirty submissions of the first assignment, graded twice: how long, and the same?

python -m tests.benchmarks.grading
"""

import filecmp
import json
import os
import tempfile
import time
from pathlib import Path

import nbformat

from chapters.assignments.grader.grade import Batch
from chapters.assignments.grader.masters import FOLDER, HIDDEN, Master, released
from tests.benchmarks.measure import processor

RESULT = Path(__file__).parent / "results" / "grading.json"
HOSTILE = {
    "loop": "while True: pass",
    "exit": "import os\nos._exit(0)",
    "fork bomb": "import os\nwhile True: os.fork()",
    "memory": "held = bytearray(8 << 30)",
    "error": "1 / 0",
}


def submissions(master: Master):
    """Student -> notebook: 15 solved, 10 as released, 5 hostile ones."""
    for number in range(15):
        solved = nbformat.from_dict(master.notebook)
        for cell in solved.cells:
            cell.source = HIDDEN.sub("", cell.source)
        yield f"solved {number}", solved
    for number in range(10):
        yield f"released {number}", released(master)
    for name, source in HOSTILE.items():
        notebook = released(master)
        notebook.cells.append(nbformat.v4.new_code_cell(source))
        yield name, notebook


def main() -> None:
    master = Master(min(FOLDER.glob("*.ipynb")))
    with tempfile.TemporaryDirectory() as folder:
        batch = Batch(Path(folder, "in"), Path(folder, "first"), "a seed of sixteen")
        for student, notebook in submissions(master):
            (batch.submissions / student).mkdir(parents=True)
            nbformat.write(
                notebook, batch.submissions / student / f"{master.name}.ipynb"
            )
        seconds = []
        for place in ("first", "second"):
            again = Batch(batch.submissions, Path(folder, place), batch.seed)
            start = time.perf_counter()
            again.grade_all([master], batch.students(), os.cpu_count())
            seconds.append(round(time.perf_counter() - start, 1))
        kept = [f"{student}.json" for student in batch.students()]
        results = [
            Path(folder, each, master.name, "results") for each in ("first", "second")
        ]
        same, differ, _ = filecmp.cmpfiles(*results, kept, shallow=False)
    found = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "submissions": len(kept),
        "seconds": seconds,
        "identical": len(same),
        "different": differ,
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
