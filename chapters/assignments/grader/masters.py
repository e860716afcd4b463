"""A master notebook: its questions, and the notebooks that are made from it."""

import ast
import contextlib
import copy
import dataclasses
import io
import re
from functools import cached_property
from pathlib import Path

import nbformat

from .. import checks

FOLDER = Path(checks.__file__).parent
MACHINERY = Path(checks.__file__).read_text("utf-8")
IMPORT = re.compile(r"^from checks import .*$", re.MULTILINE)
PUBLIC_SEED = checks.Draw.public


class Unfit(Exception):
    """A master must not be released; the message says why."""


def region(kind: str) -> re.Pattern:
    """The lines from a BEGIN to its END, and how far the first is indented."""
    begin, end = f"### BEGIN {kind}\n", f"### END {kind}$\n?"
    return re.compile(
        rf"^(?P<indent>[ \t]*){begin}(?P<inside>.*?)^[ \t]*{end}",
        re.MULTILINE | re.DOTALL,
    )


SOLUTION, HIDDEN = region("SOLUTION"), region("HIDDEN TESTS")


@dataclasses.dataclass
class Question:
    """What a graded cell asks, and the checks that decide, if code decides."""

    name: str
    title: str
    text: str  # in Markdown
    points: float
    public: list[checks.Check]
    hidden: list[checks.Check]

    @property
    def by_hand(self) -> bool:
        return not self.public and not self.hidden

    @property
    def stretch(self) -> bool:
        return self.name.startswith("stretch")


def mark(cell) -> dict:
    """nbgrader's metadata of a cell."""
    return cell.metadata.get("nbgrader", {})


def is_given(cell) -> bool:
    """Code that every student has unchanged: imports, data, drivers."""
    return cell.cell_type == "code" and bool(
        mark(cell).get("locked") and not mark(cell).get("grade")
    )


class Master:
    """One assignment. Its questions hold its own code, never a student's."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.stem
        self.source = path.read_text("utf-8")
        self.notebook = nbformat.reads(self.source, as_version=4)

    def __reduce__(self):
        return Master, (self.path,)  # its checks are functions that no pickle holds

    @property
    def title(self) -> str:
        return self.cells[0].source.splitlines()[0].lstrip("# ")

    @property
    def cells(self) -> list:
        return self.notebook.cells

    @cached_property
    def given(self) -> list[str]:
        return [inlined(cell.source) for cell in self.cells if is_given(cell)]

    @cached_property
    def questions(self) -> list[Question]:
        """Runs what is given, and the checks, which find no function to call."""
        namespace, found = {"__name__": self.name}, []
        with contextlib.redirect_stdout(io.StringIO()):
            for cell in filter(is_given, self.cells):
                source = cell.source.replace("from checks ", f"from {checks.__name__} ")
                exec(compile(source, self.name, "exec"), namespace)
            text = ""
            for cell in self.cells:
                if cell.source.startswith("## "):
                    text = cell.source
                if mark(cell).get("grade"):
                    found.append(self.question(cell, text, namespace))
        return found

    def question(self, cell, text: str, namespace: dict) -> Question:
        name, parts = mark(cell)["grade_id"], []
        if cell.cell_type == "code":
            hidden = HIDDEN.search(cell.source)
            if not hidden:
                raise Unfit(f"{self.name}: the graded cell {name} hides no checks")
            for source in (HIDDEN.sub("", cell.source), hidden["inside"]):
                before = dict(namespace)
                exec(compile(source, f"{self.name}, {name}", "exec"), namespace)
                every = [
                    each
                    for key, each in namespace.items()
                    if isinstance(each, checks.Check) and before.get(key) is not each
                ]
                parts.append(every)
        public, hidden = parts or ([], [])
        title = text.partition("\n")[0].lstrip("# ")
        return Question(name, title, text, mark(cell)["points"], public, hidden)


def inlined(source: str) -> str:
    """With the machinery of the checks in the place of its import."""
    return IMPORT.sub(lambda _: MACHINERY.rstrip(), source)


def unsolved(cell) -> None:
    """Take the solution out of a cell."""
    instead = "..." if cell.cell_type == "code" else "*Your answer*"
    cell.source = SOLUTION.sub(
        lambda found: f"{found['indent']}{instead}\n", cell.source
    )


def stub(cell) -> None:
    """Take the solution out of a cell, and what only the instructor may see."""
    unsolved(cell)
    cell.source = HIDDEN.sub("", cell.source).rstrip()


def released(master: Master) -> nbformat.NotebookNode:
    """What a student gets: stubs, public checks, nothing that ran."""
    notebook = copy.deepcopy(master.notebook)
    for cell in notebook.cells:
        stub(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        kept = {"nbgrader": mark(cell)} if mark(cell) else {}
        if IMPORT.search(cell.source):
            cell.source = inlined(cell.source)
            kept["jupyter"] = {"source_hidden": True}
        cell.metadata = nbformat.from_dict(kept)
    return notebook


def for_nbgrader(master: Master, seed: str) -> nbformat.NotebookNode:
    """A master that stands alone; its hidden checks draw from the instructor's seed."""
    notebook = copy.deepcopy(master.notebook)
    before, after = (
        f"Draw.seed_of_course = {name!r}\n" for name in (seed, PUBLIC_SEED)
    )
    for cell in notebook.cells:
        cell.source = inlined(cell.source)
        if found := HIDDEN.search(cell.source):
            inside, last = last_statement(found["inside"])
            start, end = found.span("inside")
            cell.source = (
                cell.source[: found.start()]
                + score_of_seen(cell)
                + cell.source[found.start() : start]
                + before
                + inside
                + after
                + last
                + cell.source[end:]
            )
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def score_of_seen(cell) -> str:
    """The last line of a student's cell, by which nbgrader's `validate` says whether
    all is right there. In the grader's own notebook the hidden checks come after it.
    """
    every = ast.parse(HIDDEN.sub("", cell.source)).body
    names = [each.name for each in every if getattr(each, "decorator_list", [])]
    return f"score({', '.join(names)}, of={mark(cell)['points']})\n\n\n"


def last_statement(source: str) -> tuple[str, str]:
    """The source before its last statement, and that statement."""
    lines = source.splitlines(keepends=True)
    start = ast.parse(source).body[-1].lineno - 1
    return "".join(lines[:start]), "".join(lines[start:])
