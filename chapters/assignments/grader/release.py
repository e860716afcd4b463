"""What students get and what the instructor keeps, made from the masters.

Nothing is written unless every master is fit: its solution earns all points, its stub
at most half, and no line of a solution or a hidden check is left in the release.
"""

import ast
import contextlib
import io
import re
import shutil
import zipfile
from pathlib import Path

import nbformat

from .. import checks
from .course import derived
from .files import replacing
from .masters import (
    HIDDEN,
    IMPORT,
    PUBLIC_SEED,
    SOLUTION,
    Master,
    Unfit,
    for_nbgrader,
    inlined,
    last_statement,
    mark,
    released,
)
from .sandbox import REQUIREMENTS

NBGRADER = Path(__file__).parent / "nbgrader_config.py"
SHORT = 12  # a shorter line, such as `else:`, may stand in a question too


def points(master: Master, notebook, seed: str) -> float:
    """What the code of a notebook earns. It is run here: for our own code only."""
    namespace, cells, earned = {"__name__": "__main__"}, [], 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in notebook.cells:
            if cell.cell_type == "code" and not mark(cell).get("grade"):
                cells.append(inlined(cell.source))
                exec(cells[-1], namespace)
    call = checks.call_here(namespace)
    for question in master.questions:
        for each in question.public:
            earned += each.points * (each.failure(PUBLIC_SEED, call, cells) is None)
        for each in question.hidden:
            earned += each.points * (each.failure(seed, call, cells) is None)
    return earned


def problems(master: Master, seed: str) -> list[str]:
    """Why a master must not be released; none if it may."""
    found = []
    imports = [cell for cell in master.cells if IMPORT.search(cell.source)]
    if len(imports) != 1 or not IMPORT.fullmatch(imports[0].source.strip()):
        found.append("one cell must import the checks, and do nothing else")
    for cell in master.cells:
        rest = HIDDEN.sub("", SOLUTION.sub("", cell.source))
        if marker := re.search(r"###\s*(BEGIN|END)\b.*", rest):
            found.append(f"{marker.group()!r} has no partner")
    by_code = [question for question in master.questions if not question.by_hand]
    cells = {mark(cell).get("grade_id"): cell for cell in master.cells}
    for question in by_code:
        every = question.public + question.hidden
        total = sum(each.points for each in every)
        if total != question.points:
            found.append(f"{question.name}: checks for {total} of {question.points}")
        if 2 * sum(each.points for each in question.hidden) < question.points:
            found.append(f"{question.name}: hidden checks earn less than half")
        hidden = HIDDEN.search(cells[question.name].source)["inside"]
        last = ast.unparse(ast.parse(last_statement(hidden)[1]))
        if last != f"score({', '.join(each.holds.__name__ for each in every)})":
            found.append(
                f"{question.name}: the last line must be the score of all checks"
            )
    out_of = sum(question.points for question in by_code)
    student = released(master)
    if (earned := points(master, master.notebook, seed)) != out_of:
        found.append(f"the solution earns {earned:g} of {out_of:g} points")
    if (earned := points(master, student, seed)) > out_of / 2:
        found.append(f"the stub earns {earned:g} of {out_of:g} points, more than half")
    return found + leaks(master, student)


def leaks(master: Master, student) -> list[str]:
    """Lines of a solution or a hidden check that a release still holds, anywhere."""
    shown = "\n".join(
        HIDDEN.sub("", SOLUTION.sub("", inlined(cell.source))) for cell in master.cells
    )
    secret = {
        line.strip()
        for cell in master.cells
        for pattern in (SOLUTION, HIDDEN)
        for found in pattern.finditer(cell.source)
        for line in found["inside"].splitlines()
        if len(line.strip()) >= SHORT or line.strip() not in shown
    }
    texts = list(strings(student))
    return [
        f"the release holds a line that is not for students: {line!r}"
        for line in sorted(secret)
        if any(line in text for text in texts)
    ]


def strings(value):
    """Every string in a notebook: cells, outputs, attachments, metadata and keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        yield "".join(each for each in value if isinstance(each, str))
        for each in value:
            yield from strings(each)


def release(masters: list[Master], seed: str, place: Path) -> None:
    """Write both sets into `place`, all or nothing."""
    unfit = [f"{each.name}: {why}" for each in masters for why in problems(each, seed)]
    if unfit:
        raise Unfit("\n".join(unfit))
    with replacing(place) as new:
        write(masters, seed, new)


def write(masters: list[Master], seed: str, built: Path) -> None:
    student, instructor = built / "student", built / "instructor"
    (instructor / "solved").mkdir(parents=True)
    student.mkdir()
    shutil.copy(REQUIREMENTS, student)
    (instructor / "seed.sha256").write_text(derived(seed, "") + "\n", "utf-8")
    for master in masters:
        nbformat.write(released(master), student / f"{master.name}.ipynb")
        nbformat.write(master.notebook, instructor / "solved" / f"{master.name}.ipynb")
        source = instructor / "nbgrader" / "source" / master.name
        source.mkdir(parents=True)
        own = for_nbgrader(master, derived(seed, master.name))
        nbformat.write(own, source / f"{master.name}.ipynb")
    shutil.copy(NBGRADER, instructor / "nbgrader")
    with zipfile.ZipFile(built / "student.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(student.iterdir()):
            # Without a date, so that the same masters give the same file.
            archive.writestr(
                zipfile.ZipInfo(f"assignments/{path.name}"), path.read_bytes()
            )
