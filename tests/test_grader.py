"""Honest, broken and hostile submissions: each gets what it deserves, and a reason."""

import csv
import dataclasses
import json
import os
import platform
import re
import shutil
import socket
import sys
from pathlib import Path

import nbformat
import pytest
from dask.distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from chapters.assignments.grader import refused, report, sandbox
from chapters.assignments.grader.course import Course
from chapters.assignments.grader.grade import Batch
from chapters.assignments.grader.masters import FOLDER, Master, released
from chapters.assignments.grader.sandbox import Limits, Refused
from tests.notebooks import ROOT

# The number of clone on this machine, for code that asks the kernel itself.
CLONE = dict(zip(refused.MACHINES, refused.CLONE, strict=True)).get(platform.machine())
SEED = "only the instructor knows"
# On the clock there is half a minute, for a machine that is slow or busy.
LONG = {"wall": 30.0, "total": 3600.0}
QUICK = Limits(cell=1.0, check=2.0, sandboxes=3, together=3 << 29, **LONG)
# For what never ends, how fast the machine is matters little.
IMPATIENT = dataclasses.replace(QUICK, wall=2.0)

pytestmark = pytest.mark.skipif(
    not shutil.which("bwrap")
    and not (os.environ.get("CI") and sys.platform == "linux"),
    reason="NO SANDBOX: the grader's own tests did not run. On Linux, install "
    "bubblewrap, in which students' code is run; other systems have none",
)
# What a student's function does -> what the feedback says. Each is asked to double a
# number; one that breaks out of the sandbox in the way it tries does so.
FUNCTIONS = {
    "loops": ("while True: pass", "ran for more than 2 seconds"),
    "forks": ("import os\nwhile True: os.fork()", "raised BlockingIOError"),
    "takes_memory": ("bytearray(8 << 30)", "raised MemoryError"),
    "fills_the_disk": (
        "for name in range(99):\n open(f'/tmp/{name}', 'wb').write(bytes(9 << 20))",
        "raised OSError",
    ),
    "fills_shared_memory": (
        "open('/dev/shm/a', 'wb').write(bytes(9 << 20)); return 2 * n",
        "raised OSError",
    ),
    "takes_memory_of_system_v": (
        "import ctypes\nreturn n + n * (ctypes.CDLL(None).shmget(0, 9, 0o1600) >= 0)",
        "got  1",
    ),
    "makes_a_name_space": (
        "import ctypes\nreturn n + n * (ctypes.CDLL(None).unshare(1 << 28) == 0)",
        "got  1",
    ),
    "clones_into_a_name_space": (
        "import ctypes\nflags = ctypes.c_ulong(1 << 28 | 17)\n"
        f"child = ctypes.CDLL(None).syscall({CLONE}, flags, 0, 0, 0, 0)\n"
        "return n + n * (child >= 0)",
        "got  1",
    ),
    "makes_a_file_without_a_name": (
        "import os; os.memfd_create('a'); return 2 * n",
        "raised PermissionError",
    ),
    "answers_an_empty_shape": (
        "import torch; return torch.empty(30_000_000, 0)",
        "returned what no check reads",
    ),
    "forges_a_length": (
        "import os\nfor fd in range(3, 64):\n"
        '  try: os.write(fd, b\'{"answer": {"bytes": 1000000000}}\\n\' * 2)\n'
        "  except OSError: pass\nreturn 2 * n",
        "returned what no check reads",
    ),
    "answers_many_keys": (
        "return {key * (2**61 - 1): 0 for key in range(2000)}",
        "returned what no check reads",
    ),
    "answers_too_much": ("return 'x' * (3 << 20)", "answered too much"),
    "answers_a_nested_list": (
        "a = []\nfor _ in range(9999): a = [a]\nreturn a",
        "returned what no check reads",
    ),
    "answers_an_object": (
        "class Equal:\n  def __eq__(self, other): return True\nreturn Equal()",
        "returned what no check reads",
    ),
    "writes_on_the_pipe": (
        "import os\nfor fd in range(3, 64):\n"
        "  try: os.write(fd, b'{\"answer\": [[' + b'[' * 99999 + b'\\n')\n"
        "  except OSError: pass\nreturn 2 * n",
        "sent no reply",
    ),
    "forges_a_reply": (
        "import os\nfor fd in range(3, 64):\n"
        '  try: os.write(fd, b\'{"ended": 1, "points": 9, "ready": 1}\\n\')\n'
        "  except OSError: pass\nreturn 2 * n",
        "sent no reply",
    ),
    "leaves": ("import os; os._exit(0)", "ended the program"),
    "leaves_politely": ("import sys; sys.exit()", "raised SystemExit"),
    "kills_the_worker": (
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL); return 2 * n",
        "ended the program",
    ),
    "reads_the_masters": (
        f"import os\nif os.path.exists({str(ROOT)!r}): return 2 * n",
        "is not written",
    ),
    "reads_other_submissions": ("return 2 * n if open(OTHERS) else 0", "FileNotFound"),
    "reads_passwords": ("return 2 * n if open('/etc/passwd') else 0", "FileNotFound"),
    "imports_the_library": ("import embeddings_lib; return 2 * n", "raised ModuleNotF"),
    "imports_a_model": ("import transformers; return 2 * n", "raised ModuleNotF"),
    "writes_outside": ("open('/worker.py', 'a'); return 2 * n", "raised "),
    "calls_home": (
        "import socket; socket.create_connection(HOST, 1); return 2 * n",
        "raised ConnectionRefusedError",
    ),
    "patches_torch": (
        "import torch\ntorch.allclose = lambda *a, **k: True\nreturn n",
        "got  1",
    ),
    "lies_about_an_error": (
        "raise type('\\n<b>right</b>', (Exception,), {})",
        "raised an error",
    ),
}
# The same, and the clock alone ends them.
ENDLESS = {
    "sleeps": ("import time; time.sleep(600)", "ran for more than 2 seconds"),
    "ignores_signals": (
        "import signal; signal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass",
        "ran for more than 2 seconds",
    ),
}
RIGHT = "    print('x' * (50 << 20))\n    return n + n"


def question(name):
    """A graded cell: one point for the public check, one for the hidden one."""
    check = (
        "@check(points=1, sizes=(1, 2))\n"
        f"def {name}_{{kind}}_doubles(draw, size, {name}):\n"
        f"    expect({name}(size), 2 * size)\n"
    )
    hidden = check.format(kind="hidden")
    hidden += f"score({name}_public_doubles, {name}_hidden_doubles)\n"
    source = check.format(kind="public")
    source += f"### BEGIN HIDDEN TESTS\n{hidden}### END HIDDEN TESTS"
    return cell(source, name, grade=True, locked=True, points=2)


def cell(source, name, kind=new_code_cell, **marks):
    marks = {"grade": False, "locked": False, "solution": False} | marks
    return kind(source, metadata={"nbgrader": {"grade_id": name, **marks}})


def function(name, body):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return cell(f"def {name}(n):\n{lines}", f"{name}-code", solution=True)


def master_of(*names):
    cells = [cell("from checks import check, expect, score", "setup", locked=True)]
    for name in names:
        solution = "### BEGIN SOLUTION\nreturn n + n\n### END SOLUTION"
        text = new_markdown_cell("## Double it once more")
        cells += [text, function(name, solution), question(name)]
    cells.append(new_markdown_cell("## In words\n\nWhy does it double?"))
    rubric = "**Rubric.** One point for a reason."
    words = f"### BEGIN SOLUTION\nBecause.\n\n{rubric}\n### END SOLUTION"
    marks = {"grade": True, "solution": True, "points": 3}
    cells.append(cell(words, "words", new_markdown_cell, **marks))
    return new_notebook(cells=[new_markdown_cell("# Trial"), *cells])


def handed_in(master, **functions):
    """The released notebook with these bodies of functions."""
    notebook = released(master)
    for name, body in functions.items():
        (place,) = [
            place
            for place, each in enumerate(notebook.cells)
            if each.metadata.get("nbgrader", {}).get("grade_id") == f"{name}-code"
        ]
        notebook.cells[place] = function(name, body)
    return notebook


def broken_cells(master):
    """Student -> a notebook whose first cell is odd, and whose functions are right."""
    first = {
        "loop and error": "while True: pass",
        "stubborn loop": "from signal import *\nsetitimer(ITIMER_PROF, 0)\nwhile 1: 1",
        "exit": "import os\nos._exit(0)",
        "fork bomb": "import os\nwhile True: os.fork()",
        "memory of many": (
            "import os, time\nfor _ in range(4):\n  if os.fork() == 0:\n"
            "    held = b'x' * (300 << 20)\n    time.sleep(600)\ntime.sleep(600)"
        ),
        "patches": (
            "import json, os, builtins, torch\n"
            "def lies(message, real=json.dumps):\n"
            "  return real({'answer': 2} if 'answer' in message else message)\n"
            "json.dumps = lies\n"
            "builtins.all = lambda *_: True\ntorch.equal = print"
        ),
    }
    for student, source in first.items():
        notebook = handed_in(master, first="return n + n", second="return n + n")
        notebook.cells.insert(1, new_code_cell(source))
        notebook.cells.insert(2, new_code_cell("1\ndef first(n) return n"))
        yield student, notebook
    notebook = handed_in(master, first="return n + n", second="return n + n")
    again = (
        "import os, time\nwhile True:\n  for fd in range(3, 64):\n"
        "    try: os.write(fd, b'{\"cell\": 1}\\n')\n    except OSError: pass\n"
    )
    notebook.cells.insert(1, new_code_cell(again))
    yield "sends its own number", notebook


MAGICS = """%matplotlib inline
one = 1  # is it?
files = !ls
%time two = 2
import asyncio
from IPython.display import Markdown, display
display(Markdown("*so*"), get_ipython().user_ns)
three = await asyncio.sleep(0, 3)
assert (one, two, three, files) == (1, 2, 3, [])"""


def unusual(master):
    """Student -> a right notebook that is not as it was released."""
    right = {"first": "return n + n", "second": "return n + n"}
    notebook = handed_in(master, **right)
    notebook.cells = [each for each in notebook.cells if "check(" not in each.source]
    yield "deleted checks", notebook
    notebook = handed_in(master, **right)
    for each in notebook.cells:
        if "@check" in each.source:
            each.source = "print('right')\ndef first(n): return 'edited'"
        each.metadata.get("nbgrader", {}).pop("points", None)
    yield "edited checks", notebook
    notebook = handed_in(master, **right)
    for each in notebook.cells:
        each.metadata = {}
    notebook.cells.insert(
        1, new_code_cell("%matplotlib inline\n!ls\nhelp?\nimport math")
    )
    notebook.metadata = {"kernelspec": {"name": "ir", "display_name": "R"}}
    yield "renamed cells and another kernel", notebook
    notebook = handed_in(master, first="display(n)\n!ls\nreturn n + n + one * 0")
    notebook.cells.insert(1, new_code_cell(MAGICS))
    notebook.cells.append(new_code_cell("%%capture said\ndef second(n): return n + n"))
    yield "magics", notebook
    notebook = handed_in(
        master, first="return math.trunc(n) * 2", second="return 2 * n"
    )
    notebook.cells[1].source = f"import math\n{notebook.cells[1].source}"
    yield "import in a given cell", notebook
    notebook = handed_in(master, **right)
    notebook.cells.insert(2, function("first", "return 0"))
    yield "copied cell", notebook
    notebook = handed_in(master, **right)
    notebook.cells.insert(1, new_code_cell(f"pasted = '{'x' * (3 << 20)}'"))
    for each in notebook.cells:
        each.metadata.setdefault("nbgrader", {"grade_id": [1]})
    yield "pasted data", notebook
    keeps = "open('/tmp/calls', 'a').write('x')\nreturn n + n"
    counts = "import os\nreturn -os.path.getsize('/tmp/calls')"
    yield "keeps inputs", handed_in(master, first=keeps, second=counts)
    notebook = handed_in(master, first="return n + n", second="return 4")
    notebook.cells[-1].source = "<script>alert(1)</script> my words"
    yield "half right", notebook


def unreadable(master):
    """Student -> a file that is no notebook, or None."""
    whole = nbformat.writes(released(master))
    yield "missing", None
    yield "empty", ""
    yield "cut off", whole[:500]
    yield "nested", "[" * 100_000
    yield "a list", "[1, 2]"
    yield "old format", '{"nbformat": 3, "worksheets": []}'
    yield "cells of numbers", '{"cells": [1, 2]}'
    cells = [new_code_cell("1") for _ in range(1001)]
    yield "many cells", nbformat.writes(new_notebook(cells=cells))


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """All of them graded at once, as an instructor does."""
    folder = tmp_path_factory.mktemp("course")
    half = len(FUNCTIONS) // 2
    hostile = {"mallory": list(FUNCTIONS)[:half], "trudy": list(FUNCTIONS)[half:]}
    for student, names in hostile.items():
        nbformat.write(master_of("honest", *names, "last"), folder / f"{student}.ipynb")
    nbformat.write(master_of("first", "second"), folder / "trial.ipynb")
    masters = {name: Master(folder / f"{name}.ipynb") for name in (*hostile, "trial")}
    nbformat.write(master_of(*ENDLESS), folder / "eve.ipynb")
    endless = Master(folder / "eve.ipynb")
    submissions, trial = folder / "submissions", masters["trial"]

    def hand_in(student, notebook, name="trial"):
        path = submissions / student / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(notebook, dict):
            notebook = nbformat.writes(notebook)
        if notebook is not None:
            path.write_text(notebook, "utf-8")

    for student, notebook in (
        *broken_cells(trial),
        *unusual(trial),
        *unreadable(trial),
        ("twice", handed_in(trial, first="return 1")),
        ("stub beside", released(trial)),
    ):
        hand_in(student, notebook)
    hand_in("twice", handed_in(trial, first="return 2"), name="again/trial")
    right = {"first": "return n + n", "second": "return n + n"}
    hand_in("stub beside", handed_in(trial, **right), name="trial (1)")
    hand_in("stub beside", "[", name="__MACOSX/._trial (1)")
    hand_in("stub beside", "[", name="old trial")
    others = submissions / "half right" / "trial.ipynb"
    (submissions / "thief").mkdir()
    (submissions / "thief" / "trial.ipynb").symlink_to(others)

    bodies = {name: body for name, (body, _) in ENDLESS.items()}
    hand_in("eve", handed_in(endless, **bodies), name="eve")

    with socket.create_server(("127.0.0.1", 0)) as server:
        given = f"OTHERS, HOST = {str(others)!r}, {server.getsockname()!r}"
        for student, names in hostile.items():
            bodies = {name: FUNCTIONS[name][0] for name in names}
            bodies |= {"honest": RIGHT, "last": "return 2 * n"}
            notebook = handed_in(masters[student], **bodies)
            notebook.cells.insert(1, new_code_cell(given))
            hand_in(student, notebook, name=student)
        graded = Batch(submissions, folder / "grades", SEED, QUICK)
        graded.grade_all(list(masters.values()), graded.students(), jobs=2)
    dataclasses.replace(graded, limits=IMPATIENT).grade(endless, "eve")
    return graded, masters | {"eve": endless}


def result_of(batch, student, master="trial"):
    graded, masters = batch
    return json.loads(graded.kept(masters[master], student).read_text("utf-8"))


def points(batch, student, master="trial"):
    result = result_of(batch, student, master)
    return {
        name: report.earned(question)
        for name, question in result["questions"].items()
        if question["words"] is None
    }


@pytest.mark.parametrize("name", FUNCTIONS | ENDLESS)
def test_a_hostile_function_earns_nothing_and_is_told_why(batch, name):
    (result,) = (
        each
        for each in (result_of(batch, who, who) for who in ("mallory", "trudy", "eve"))
        if name in each["questions"]
    )
    _, reason = (FUNCTIONS | ENDLESS)[name]
    for check in result["questions"][name]["checks"]:
        assert reason in (check["failure"] or "it holds")


@pytest.mark.parametrize("student", ["mallory", "trudy"])
def test_its_neighbours_keep_their_points(batch, student):
    earned = points(batch, student, student)
    assert {name for name, number in earned.items() if number} == {"honest", "last"}
    assert (earned["honest"], earned["last"]) == (2, 2)


CELLS = {
    "loop and error": "code cell 1 ran for more than 1 seconds",
    "stubborn loop": "code cell 1 ran without an end",
    "exit": "code cell 1 ended the program",
    "memory of many": "code cell 1 took too much memory",
    "fork bomb": "code cell 1 stopped with BlockingIOError: [Errno 11] Resource"
    " temporarily unavailable (line 2 of its cell)",
}


@pytest.mark.parametrize("student", CELLS)
def test_a_broken_cell_is_named_and_the_others_are_graded(batch, student):
    first, second = result_of(batch, student)["notes"]
    assert first == CELLS[student]
    assert second.startswith("code cell 2 stopped with SyntaxError: ")
    assert second.endswith(" (line 2 of its cell)")
    assert points(batch, student) == {"first": 2, "second": 2}


NOTES = {
    "deleted checks": [],
    "edited checks": [
        "code cell 3, which was given, was changed: the released one counts",
        "code cell 5, which was given, was changed: the released one counts",
    ],
    "renamed cells and another kernel": [
        "the cell for the answer 'words' is lost",
        "code cell 1 was run without '%matplotlib inline'",
        "code cell 1 was run without '!ls'",
        "code cell 1 was run without '%pinfo help'",
    ],
    "import in a given cell": [
        "code cell 1, which was given, was changed: the released one counts",
    ],
    "copied cell": ["the cell 'first-code' stands here 2 times"],
    "magics": [
        "code cell 1 was run without '%matplotlib inline'",
        "code cell 1 was run without '!ls'",
    ],
    "pasted data": [],
    "stub beside": ["one of 3 notebooks was graded"],
}


@pytest.mark.parametrize("student", NOTES)
def test_a_right_answer_in_an_unusual_notebook_earns_all(batch, student):
    """And what of it was not run, or is not as it was released, is said."""
    assert result_of(batch, student)["notes"] == NOTES[student]
    assert points(batch, student) == {"first": 2, "second": 2}


def test_patching_the_machinery_earns_no_more_than_the_answers_that_are_right(batch):
    """The patched encoder answers 2 to every call, which is right for size 1 only."""
    assert points(batch, "patches") == {"first": 0, "second": 0}


def test_a_cell_that_answers_for_itself_gains_neither_time_nor_points(batch):
    assert points(batch, "sends its own number") == {"first": 0, "second": 0}


def test_what_is_kept_of_a_hidden_input_comes_too_late_for_a_counter_example(batch):
    """Two calls of the public check of `first`; its hidden one has not called yet."""
    (check, _) = result_of(batch, "keeps inputs")["questions"]["second"]["checks"]
    assert check["failure"] == "second(1)\ngot  -2\nwant 2"


def test_half_right_earns_half(batch):
    assert points(batch, "half right") == {"first": 2, "second": 0}
    (check, _) = result_of(batch, "half right")["questions"]["second"]["checks"]
    assert check["failure"] == "second(1)\ngot  4\nwant 2"


FILES = {
    "missing": "no notebook of this name was handed in",
    "thief": "no notebook of this name was handed in",
    "twice": "more than one notebook of this name was handed in",
    "empty": "the file is empty",
    "cut off": "not a notebook",
    "nested": "not a notebook",
    "a list": "not a notebook",
    "old format": "not a notebook",
    "cells of numbers": "not a notebook",
    "many cells": "there are more than 1000 cells of code",
}


@pytest.mark.parametrize("student", FILES)
def test_what_is_no_notebook_is_told_so(batch, student):
    (note,) = result_of(batch, student)["notes"]
    assert FILES[student] in note
    assert points(batch, student) == {"first": 0, "second": 0}


def test_a_second_run_grades_nothing_and_another_seed_grades_again(batch, monkeypatch):
    graded, masters = batch
    before = result_of(batch, "half right")
    runs = []
    monkeypatch.setattr(
        "chapters.assignments.grader.grade.judged",
        lambda *given: runs.append(given) or {"notes": [], "questions": {}},
    )
    assert graded.grade(masters["trial"], "half right") == before
    assert runs == []
    again = dataclasses.replace(
        graded, seed="another seed", place=graded.place / "again"
    )
    again.grade(masters["trial"], "half right")
    again.grade(masters["trial"], "half right")
    assert len(runs) == 1


def test_a_regrade_is_identical(batch, tmp_path):
    graded, masters = batch
    again = dataclasses.replace(graded, place=tmp_path)
    for student in ("half right", "empty"):
        again.grade(masters["trial"], student)
        kept = again.kept(masters["trial"], student)
        assert kept.read_bytes() == graded.kept(masters["trial"], student).read_bytes()


def graded_alone(tmp_path, master, limits, first_cell="", **functions):
    """The result of one hand-in of this master."""
    nbformat.write(master, tmp_path / "trial.ipynb")
    master = Master(tmp_path / "trial.ipynb")
    folder = tmp_path / "submissions" / "ada"
    folder.mkdir(parents=True)
    notebook = handed_in(master, **functions)
    notebook.cells.insert(0, new_code_cell(first_cell))
    nbformat.write(notebook, folder / "trial.ipynb")
    batch = Batch(folder.parent, tmp_path / "grades", SEED, limits)
    return batch.grade(master, "ada")


def test_a_hand_in_that_only_sleeps_ends_when_its_time_is_over(tmp_path):
    sleeps = "import time\ntime.sleep(600)"
    limits = dataclasses.replace(QUICK, total=1.0)
    result = graded_alone(tmp_path, master_of("first"), limits, sleeps)
    for check in result["questions"]["first"]["checks"]:
        assert check["failure"] == "the notebook took more than 1 seconds in all"


def test_an_answer_that_no_check_can_hold_costs_that_check_alone(tmp_path):
    """Its check asks for more memory than the process that judges may have."""
    master = master_of("first", "second")
    master.cells[4].source = master.cells[4].source.replace(
        "expect(first(size)", "expect(len(bytes((first(size) << 40)))"
    )
    right = {"first": "return n + n", "second": "return n + n"}
    questions = graded_alone(tmp_path, master, QUICK, **right)["questions"]
    assert report.earned(questions["first"]) == 0
    assert report.earned(questions["second"]) == 2


def test_a_loop_where_none_is_asked_for_is_told_and_costs_that_check_alone(tmp_path):
    master = master_of("first")
    master.cells[1].source += ", expect_no_loop"
    question = master.cells[4].source
    master.cells[4].source = question.replace(
        "2 * size)\n", "2 * size)\n    expect_no_loop(first)\n", 1
    )
    body = "return sum(number for number in (n, n))"
    result = graded_alone(tmp_path, master, QUICK, first=body)
    public, hidden = result["questions"]["first"]["checks"]
    assert public["failure"] == "first(1)\na loop: for number in (n, n)"
    assert hidden["failure"] is None


def test_a_judge_that_cannot_end_is_ended_and_named(tmp_path):
    master = master_of("first")
    never = "    first(size)\n    while True:\n        size += 1\n    expect("
    master.cells[4].source = master.cells[4].source.replace("    expect(", never)
    limits = dataclasses.replace(QUICK, judging=2)
    result = graded_alone(tmp_path, master, limits, first="return n + n")
    assert result["notes"] == ["the grader was ended here, by SIGXCPU: grade by hand"]
    assert "key" not in result


def test_without_bubblewrap_nothing_is_run(batch, tmp_path, monkeypatch):
    graded, masters = batch
    monkeypatch.setattr(shutil, "which", lambda _: None)
    again = dataclasses.replace(graded, place=tmp_path)
    with pytest.raises(Refused, match="bubblewrap is not installed"):
        again.grade_all([masters["trial"]], ["half right"], jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_with_a_hole_is_refused(batch, tmp_path, monkeypatch):
    graded, masters = batch
    command = sandbox.command
    monkeypatch.setattr(
        sandbox,
        "command",
        lambda limits: [each for each in command(limits) if each != "--unshare-net"],
    )
    again = dataclasses.replace(graded, place=tmp_path)
    with pytest.raises(Refused, match="does not hold: there is a network"):
        again.grade(masters["trial"], "half right")


def test_a_sandbox_that_does_not_start_is_not_the_students_fault(
    batch, tmp_path, monkeypatch
):
    graded, masters = batch
    monkeypatch.setattr(
        sandbox, "command", lambda limits: ["bwrap", "--no-such-option"]
    )
    again = dataclasses.replace(graded, place=tmp_path)
    with pytest.raises(Refused, match="does not start: bwrap: Unknown option"):
        again.grade(masters["trial"], "half right")
    assert list(tmp_path.iterdir()) == []


def test_the_guides_lines_for_dask_grade_as_one_machine_does(tmp_path, monkeypatch):
    guide = (ROOT / "book" / "teaching.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(import os.*?)```", guide, re.DOTALL)
    master = Master(FOLDER / "01_tokens_and_table.ipynb")
    for student, notebook in (("ada", master.notebook), ("bob", released(master))):
        folder = tmp_path / "submissions" / student
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{master.name}.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    course = Course(Path("shared", "course"))
    course.make_seed()
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        here = lines.replace("tcp://scheduler:8786", cluster.scheduler_address)
        exec(here, {"__name__": "__main__"})
    by_dask = Batch(Path("submissions"), course.grades, course.seed())
    alone = dataclasses.replace(by_dask, place=tmp_path)
    for student in ("ada", "bob"):
        result = by_dask.kept(master, student).read_text("utf-8")
        assert json.loads(result) == alone.grade(master, student)


MARKS = {
    ("half right", "trial", "words"): (1.5, "Name the <cause>."),
    ("half right", "trial", "late"): (-0.5, "A day."),
    ("half right", "trial", "first"): (1, "Copied from the board."),
    ("empty", "trial", "second"): (2, "Shown on paper."),
    ("copied cell", "trial", "words"): (None, "See me."),
}


@pytest.fixture(scope="module")
def reported(batch):
    graded, masters = batch
    results = {student: result_of(batch, student) for student in graded.students()}
    place = graded.place / "trial"
    assert report.report(masters["trial"], results, {}, place) == []
    lost = {**results["magics"], "lost": True}
    results |= {"magics": lost, "late": results["deleted checks"]}
    del results["twice"]
    changed = report.report(masters["trial"], results, MARKS, place)
    return place, changed


def test_the_table_has_a_row_per_student_and_a_status_in_words(batch, reported):
    with (reported[0] / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*batch[0].students(), "late"} - {"twice"}
    assert rows["half right"] == {
        "student": "half right",
        "state": "final",
        "first": "1",
        "second": "0",
        "words": "1.5",
        "late": "-0.5",
        "total": "2",
        "out of": "7",
        "status": "graded",
    }
    assert rows["deleted checks"]["status"] == "graded; words waits for a mark"
    assert rows["deleted checks"]["words"] == ""
    assert rows["copied cell"]["state"] == rows["deleted checks"]["state"] == "waiting"
    assert rows["empty"]["status"] == "not graded; the file is empty"
    assert (rows["empty"]["state"], rows["empty"]["total"]) == ("final", "2")


def test_where_the_grader_failed_no_question_is_0_and_all_wait(reported):
    with (reported[0] / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert [rows["magics"][name] for name in ("first", "second", "words")] == [""] * 3
    assert rows["magics"]["state"] == "waiting"


def test_a_second_report_says_what_changed(reported):
    """A student who is new has nothing that changed."""
    assert reported[1] == [
        "empty: second 0 -> 2",
        "empty: total 0 -> 2",
        "half right: state waiting -> final",
        "half right: first 2 -> 1",
        "half right: words none -> 1.5",
        "half right: late 0 -> -0.5",
        "magics: first 2 -> none",
        "magics: second 2 -> none",
        "magics: total 4 -> 0",
        "twice: is gone",
    ]


def test_feedback_shows_public_checks_alone_and_no_markup_of_a_student(reported):
    place, _ = reported
    pages = {path.stem: path.read_text("utf-8") for path in place.glob("*/*.html")}
    assert "want 2" in pages["half right"]
    assert "Name the &lt;cause&gt;." in pages["half right"]
    assert "This is final." in pages["half right"]
    assert "Handed in late: -0.5 points. A day." in pages["half right"]
    assert "not final" in pages["copied cell"]
    assert "See me." in pages["copied cell"]
    assert "Double it once more" in pages["copied cell"]
    assert (
        "Does not hold, on other inputs: second hidden doubles" in pages["half right"]
    )
    by_hand = (place / "by_hand.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; my words" in by_hand
    assert "Because." in by_hand
    assert "Why does it double?" in by_hand
    for page in pages.values():
        assert "Because." not in page
        assert "Traceback" not in page
        assert "<script>" not in page
    assert "One point for a reason." in pages["half right"]
    assert "One point for a reason." not in pages["copied cell"]


GOOD = "student,assignment,question,points,comment\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("student,points\n", "needs the columns assignment, question"),
        (GOOD + "nobody,trial,words,1,\n", "line 2: no student 'nobody'"),
        (GOOD + "empty,trial,third,1,\n", "line 2: no student 'empty' was asked"),
        (GOOD + "empty,trials,first,1,\n", "line 2: no student 'empty' was asked"),
        (GOOD + "empty,trial,words,4,\n", "line 2: points go from 0 to 3, not 4"),
        (GOOD + "empty,trial,words,x,\n", "line 2: points go from 0 to 3, not x"),
        (GOOD + "empty,trial,late,1,\n", "line 2: points go from -7 to 0, not 1"),
        (GOOD + 2 * "empty,trial,first,1,\n", "line 3: 'empty' has a mark for"),
    ],
)
def test_a_wrong_line_of_marks_is_named(batch, tmp_path, text, reason):
    path = tmp_path / "marks.csv"
    path.write_text(text, "utf-8")
    graded, masters = batch
    with pytest.raises(report.BadScores, match=reason):
        report.read_marks(path, [masters["trial"]], graded.students())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_marks_of_any_question_are_read_and_those_of_other_assignments_are_not(
    batch, tmp_path, encoding
):
    path = tmp_path / "marks.csv"
    lines = "empty,trial,words,,Fünf\nexit,trial,first,2,Fine\nexit,trial,late,-1,\n"
    path.write_text(f"{GOOD}{lines}exit,04_rotary_positions,words,1,\n", encoding)
    graded, masters = batch
    marks = report.read_marks(path, [masters["trial"]], graded.students())
    assert marks == {
        ("empty", "trial", "words"): (None, "Fünf"),
        ("exit", "trial", "first"): (2, "Fine"),
        ("exit", "trial", "late"): (-1, ""),
    }
