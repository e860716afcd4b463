"""Honest, broken and hostile submissions: each gets what it deserves, and a reason."""

import csv
import json
import os
import shutil
import socket
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from chapters.assignments.grader import report, sandbox
from chapters.assignments.grader.grade import Batch
from chapters.assignments.grader.masters import Master, released
from chapters.assignments.grader.sandbox import Limits, Refused
from tests.notebooks import ROOT

SEED = "only the instructor knows"
QUICK = Limits(cell=0.5, check=0.5, wall=3.0, sandboxes=12)

needs_sandbox = pytest.mark.skipif(
    not shutil.which("bwrap") and "CI" not in os.environ,
    reason="needs bubblewrap, in which students' code is run",
)
pytestmark = needs_sandbox

# What a student's function does -> what the feedback says. Each is asked to double a
# number; one that breaks out of the sandbox in the way it tries does so.
FUNCTIONS = {
    "loops": ("while True: pass", "ran for more than 0.5 seconds"),
    "sleeps": ("import time; time.sleep(60)", "ran without an end"),
    "ignores_signals": (
        "import signal; signal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass",
        "ran without an end",
    ),
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
    "answers_too_much": ("return 'x' * (9 << 20)", "answered too much"),
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
        "  try: os.write(fd, b'{\"ready\": 1, \"points\": 99, \"answer\": 1}\\n')\n"
        "  except OSError: pass\nreturn 2 * n",
        "got  1",
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
    "writes_outside": ("open('/worker.py', 'a'); return 2 * n", "raised OSError"),
    "calls_home": (
        "import socket; socket.create_connection(HOST, 1); return 2 * n",
        "raised OSError",
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
RIGHT = "    print('x' * (50 << 20))\n    return n + n"


def question(name):
    """A graded cell: one point for the public check, one for the hidden one."""
    check = (
        f"@check(points=1, sizes=(1, 2))\ndef {name}_{{kind}}_doubles(draw, size, {name}):\n"
        f"    expect({name}(size), 2 * size)\n"
    )
    score = f"score({name}_public_doubles, {name}_hidden_doubles)\n"
    source = check.format(kind="public") + "### BEGIN HIDDEN TESTS\n"
    source += check.format(kind="hidden") + score + "### END HIDDEN TESTS"
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
        cells += [function(name, solution), question(name)]
    words = "### BEGIN SOLUTION\nBecause.\n### END SOLUTION"
    marks = {"grade": True, "solution": True, "points": 3}
    cells.append(cell(words, "words", new_markdown_cell, **marks))
    return new_notebook(cells=cells)


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
        "loop": "while True: pass",
        "stubborn loop": "while True:\n try:\n  while True: pass\n except BaseException: 1",
        "exit": "import os\nos._exit(0)",
        "syntax error": "def first(n) return n",
        "magics": "%matplotlib inline\n!ls\nimport math as found",
        "patches": (
            "import json, os, builtins, torch\n"
            "json.dumps = lambda *_: '{\"answer\": 2}'\n"
            "builtins.isinstance = lambda *_: True\ntorch.equal = torch.allclose = print"
        ),
    }
    for student, source in first.items():
        notebook = handed_in(master, first="return n + n", second="return n + n")
        notebook.cells.insert(1, new_code_cell(source))
        yield student, notebook


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
    notebook.metadata = {"kernelspec": {"name": "ir", "display_name": "R"}}
    yield "renamed cells and another kernel", notebook
    notebook = handed_in(master, first="return n + n", second="return 4")
    notebook.cells[-1].source = "<script>alert(1)</script> my words"
    yield "half right", notebook


def unreadable(master, folder):
    """Student -> a file that is no notebook, or None."""
    whole = nbformat.writes(released(master))
    yield "missing", None
    yield "empty", ""
    yield "cut off", whole[:500]
    yield "nested", "[" * 100_000
    yield "a list", "[1, 2]"
    yield "old format", '{"nbformat": 3, "worksheets": []}'
    yield "cells of numbers", '{"cells": [1, 2]}'


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """All of them graded at once, as an instructor does."""
    folder = tmp_path_factory.mktemp("course")
    two, many = folder / "trial.ipynb", folder / "hostile.ipynb"
    nbformat.write(master_of("first", "second"), two)
    nbformat.write(master_of("honest", *FUNCTIONS, "last"), many)
    masters = [Master(many), Master(two)]
    submissions = folder / "submissions"

    def hand_in(student, text, name="trial"):
        path = submissions / student / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text if isinstance(text, str) else nbformat.writes(text))

    for student, notebook in [*broken_cells(masters[1]), *unusual(masters[1])]:
        hand_in(student, notebook)
    for student, text in unreadable(masters[1], folder):
        hand_in(student, text)
    hand_in("twice", nbformat.writes(released(masters[1])))
    hand_in("twice", "", name="again/trial")
    (submissions / "thief").mkdir()
    (submissions / "thief/trial.ipynb").symlink_to(submissions / "half right/trial.ipynb")

    with socket.create_server(("127.0.0.1", 0)) as server:
        bodies = {name: body for name, (body, _) in FUNCTIONS.items()}
        notebook = handed_in(masters[0], honest=RIGHT, **bodies, last="return 2 * n")
        others = submissions / "half right/trial.ipynb"
        given = f"OTHERS, HOST = {str(others)!r}, {server.getsockname()!r}"
        notebook.cells.insert(1, new_code_cell(given))
        hand_in("mallory", notebook, name="hostile")
        graded = Batch(submissions, folder / "grades", SEED, QUICK)
        graded.grade_all(masters[:1], ["mallory"], jobs=1) if os.cpu_count() == 1 else None
        threads = threading.Thread(
            target=graded.grade_all, args=(masters[:1], ["mallory"], 1)
        )
        threads.start()
        everyone = sorted(set(graded.students()) - {"mallory"})
        graded.grade_all(masters[1:], everyone, jobs=2)
        threads.join()
    return graded, masters, everyone
