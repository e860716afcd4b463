"""An autograder for Gradescope: the zip to upload, and what runs there.

Gradescope unpacks the zip as `source/`, runs `setup.sh` once, and for each submission
`run_autograder`, which finds the files in `submission/` and has to write
`results/results.json`. So its guide says, in "Autograder Specifications":
https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

import copy
import io
import json
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat

from .files import replacing
from .grade import handed_in
from .judge import Unreadable, judged, nothing
from .masters import FOLDER, Master, unsolved
from .sandbox import LACKS, REQUIREMENTS, Limits, Refused, Sandbox

GRADER = Path(__file__).parent
SCRIPTS = GRADER / "autograder"
# What the modules imported above need.
PACKAGES = ["torch", "numpy", "nbformat", "ipython", "packaging", "psutil", "tqdm"]
SEED = "seed.txt"


def autograder(master: Master, seed: str) -> bytes:
    """The zip for one assignment: without solutions, with hidden checks and a seed."""
    notebook = copy.deepcopy(master.notebook)
    for cell in notebook.cells:
        unsolved(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    files = {script.name: script.read_text("utf-8") for script in SCRIPTS.iterdir()}
    versions = (
        f"{name}=={metadata.version(name).partition('+')[0]}\n" for name in PACKAGES
    )
    files |= {"requirements.txt": "".join(versions), SEED: seed}
    here = FOLDER.parent.parent
    code = [*FOLDER.parent.glob("*.py"), *FOLDER.glob("*.py"), REQUIREMENTS]
    for path in [*code, *GRADER.glob("*.py")]:
        files[path.relative_to(here).as_posix()] = path.read_text("utf-8")
    path = (FOLDER / f"{master.name}.ipynb").relative_to(here)
    files[path.as_posix()] = nbformat.writes(notebook)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # without a date, as in a release
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
    return out.getvalue()


def test(question: dict, check: dict, number: str) -> dict:
    """One check. Of a hidden one students see no more than its title."""
    right = check["failure"] is None
    return {
        "name": f"{question['title']}: {check['title']}",
        "number": number,
        "score": check["points"] if right else 0,
        "max_score": check["points"],
        "output": "" if right or check["hidden"] else check["failure"],
        "visibility": "after_published" if check["hidden"] else "visible",
    }


def results(result: dict) -> dict:
    """As Gradescope reads them. Until grades are published, students see neither a
    hidden check nor the total.
    """
    notes, tests, total = [*result["notes"]], [], 0
    for number, question in enumerate(result["questions"].values(), start=1):
        own = [
            test(question, check, f"{number}.{place}")
            for place, check in enumerate(question["checks"], start=1)
        ]
        tests += own
        if question["words"] is not None:
            notes.append(f"a person reads the answer to {question['title']!r}")
        if not question["stretch"]:
            total += sum(each["score"] for each in own)
    return {"score": total, "output": "\n".join(notes), "tests": tests}


def best(limits: Limits) -> Sandbox:
    """A closed sandbox, or a limited one; the instructor is told what it lacks."""
    try:
        return Sandbox.tried(limits, "closed")
    except Refused as why:
        print(f"There is no sandbox here: {why}. {LACKS}")
        return Sandbox.tried(limits, "limited")


def main(place: Path) -> None:
    """Grade what lies in `place` as Gradescope laid it there.

    Where the grader itself comes to grief, there are no results, and Gradescope says
    so: a 0 would look like the student's.
    """
    master = Master(next(FOLDER.glob("*.ipynb")))
    seed = (place / "source" / SEED).read_text("utf-8")
    try:
        texts = handed_in(place / "submission", master.name)
        result = judged(master, texts, seed, best(Limits()))
    except Unreadable as why:
        result = nothing(master, str(why))
    with replacing(place / "results" / "results.json") as new:
        new.write_text(json.dumps(results(result)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
