"""The zip for Gradescope, unpacked and run as there: as root, in a container.

The container is played by bubblewrap, with the rights that Docker gives. Like Docker's,
its filter refuses name spaces, so that a second bubblewrap cannot start in it.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from chapters.assignments.grader import __main__ as command
from chapters.assignments.grader import refused
from chapters.assignments.grader.course import Course, derived
from chapters.assignments.grader.gradescope import autograder, results
from chapters.assignments.grader.masters import FOLDER, Master, released
from tests.test_grader import handed_in, master_of

pytestmark = pytest.mark.skipif(
    not shutil.which("bwrap") or os.getuid() != 0,
    reason="NO CONTAINER: the tests play Gradescope's with bubblewrap, as root",
)
SEED = "of this autograder alone"
BASE = Path(sys.base_prefix)
DOCKER = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"]
DOCKER = [f"CAP_{right}" for right in DOCKER]
RIGHT = {"first": "return n + n", "second": "return n + n"}
# Each attempt that comes to something makes `first` wrong.
ATTEMPTS = """
import ctypes, glob, os, socket
found = []
def attempt(what, *arguments):
    try:
        if what(*arguments) not in ([], -1):
            found.append(what.__name__)
    except OSError:
        pass
for name in ("source/seed.txt", "submission_metadata.json", "results/results.json"):
    attempt(open, f"/autograder/{name}")
attempt(glob.glob, "/autograder/source/*")
attempt(open, "/autograder/results/results.json", "w")
attempt(os.kill, os.getppid(), 9)
attempt(socket.socket)
attempt(os.memfd_create, "a")
attempt(ctypes.CDLL(None).shmget, 0, 9, 0o1600)
attempt(os.setuid, 0)
"""
HOSTILE = {
    "first": "return n + n if found == [] else found",
    "second": "import os\nwhile True: os.fork()",
}


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    path = tmp_path_factory.mktemp("masters") / "trial.ipynb"
    nbformat.write(master_of("first", "second"), path)
    return Master(path)


@pytest.fixture
def place(master, tmp_path):
    """What Gradescope makes of the zip."""
    with zipfile.ZipFile(io.BytesIO(autograder(master, SEED))) as archive:
        archive.extractall(tmp_path / "source")
    shutil.copy(tmp_path / "source" / "run_autograder", tmp_path)
    (tmp_path / "run_autograder").chmod(0o755)
    for name in ("submission", "results", "python"):
        (tmp_path / name).mkdir()
    (tmp_path / "submission_metadata.json").write_text("{}", "utf-8")
    return tmp_path


def run(place, *rights, closed=False):
    """Run the autograder; what it printed and the results, if it came to any."""
    options = ["--die-with-parent", "--unshare-pid", "--proc", "/proc", "--dev", "/dev"]
    for name in ("usr", "etc", "bin", "lib", "lib64"):
        options += ["--ro-bind-try", f"/{name}", f"/{name}"]
    for folder in reversed(BASE.parents[:-1]):  # for any user
        options += ["--perms", "0755", "--dir", str(folder)]
    options += ["--ro-bind", str(BASE), str(BASE), "--perms", "1777", "--tmpfs", "/tmp"]
    options += ["--bind", str(place), "/autograder", "--chdir", "/autograder"]
    options += ["--ro-bind", sys.prefix, "/autograder/python"]
    options += ["--cap-drop", "ALL"]
    options += [word for right in rights for word in ("--cap-add", right)]
    with tempfile.TemporaryFile() as program:
        program.write(refused.program())
        program.seek(0)
        if not closed:
            options += ["--seccomp", str(program.fileno())]
        done = subprocess.run(
            ["bwrap", *options, "/autograder/run_autograder"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[program.fileno()],
            text=True,
            encoding="utf-8",
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
    path = place / "results" / "results.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else None
    return done.stdout, found


def submit(place, notebook, name="trial"):
    nbformat.write(notebook, place / "submission" / f"{name}.ipynb")


def scores(found):
    return {each["number"]: each["score"] for each in found["tests"]}


def test_a_right_submission_earns_all_and_waits_for_the_reader_of_its_words(
    place, master
):
    """In a container that lets bubblewrap start."""
    submit(place, handed_in(master, **RIGHT))
    said, found = run(place, "ALL", closed=True)
    assert "sandbox" not in said
    assert (found["score"], scores(found)) == (4, dict.fromkeys(NUMBERS, 1))
    assert found["output"] == "a person reads the answer to 'In words'"


NUMBERS = ("1.1", "1.2", "2.1", "2.2")


def test_an_odd_submission_is_told_what_is_odd_and_shown_no_hidden_input(place, master):
    """In a container without a sandbox, which the instructor is told."""
    odd = handed_in(master, first="return n + n", second="return 4")
    odd.cells.insert(1, new_code_cell("%matplotlib inline\n1 / 0"))
    submit(place, odd, "trial-2 (1)")
    said, found = run(place, *DOCKER)
    assert "Creating new namespace failed" in said
    assert "Students' code runs as a user of its own" in said
    assert (found["score"], scores(found)) == (
        2,
        {**dict.fromkeys(NUMBERS, 0), **FIRST},
    )
    one, other = found["tests"][2:]
    assert (one["visibility"], other["visibility"]) == ("visible", "after_published")
    assert (one["output"], other["output"]) == ("second(1)\ngot  4\nwant 2", "")
    first, second, _ = found["output"].splitlines()
    assert first == "code cell 1 was run without '%matplotlib inline'"
    assert second.startswith("code cell 1 stopped with ZeroDivisionError")


FIRST = {"1.1": 1, "1.2": 1}


def test_without_a_sandbox_hostile_code_is_held_all_the_same(place, master):
    hostile = handed_in(master, **HOSTILE)
    hostile.cells.insert(1, new_code_cell(ATTEMPTS))
    submit(place, hostile)
    _, found = run(place, *DOCKER)
    assert scores(found) == {**dict.fromkeys(NUMBERS, 0), **FIRST}
    assert "raised BlockingIOError" in found["tests"][2]["output"]


def test_a_file_of_another_name_is_told_so(place, master):
    submit(place, handed_in(master, **RIGHT), "homework")
    _, found = run(place, *DOCKER)
    assert found["score"] == 0
    assert found["output"].startswith("no notebook of this name was handed in")


def test_where_no_limit_holds_nothing_is_run_and_no_score_is_given(place, master):
    submit(place, handed_in(master, **RIGHT))
    said, found = run(place, "CAP_DAC_OVERRIDE")  # it cannot become another user
    assert "Refused: the sandbox does not start" in said
    assert found is None


def test_the_zip_holds_no_solution_and_what_students_have_is_as_it_was(tmp_path):
    """And it is the same, byte by byte, when it is made again."""
    master = Master(FOLDER / "01_tokens_and_table.ipynb")
    made = autograder(master, SEED)
    assert made == autograder(master, SEED)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        archive.extractall(tmp_path)
        assert {"setup.sh", "run_autograder"} <= set(archive.namelist())
    path = tmp_path / "chapters" / "assignments" / master.path.name
    packed = Master(path)
    assert "BEGIN SOLUTION" not in packed.source
    assert released(packed) == released(master)
    titles = [
        [[check.title for check in question.hidden] for question in each.questions]
        for each in (packed, master)
    ]
    assert titles[0] == titles[1]


def test_the_total_is_without_the_stretch_problem():
    check = {"title": "holds", "points": 2, "hidden": False, "failure": None}
    one = {"title": "One", "checks": [check], "words": None, "stretch": False}
    questions = {"one": one, "stretch": {**one, "stretch": True}}
    found = results({"questions": questions, "notes": []})
    assert found["score"] == 2
    assert scores(found) == {"1.1": 2, "2.1": 2}


def test_the_command_keeps_the_zip_for_its_owner_and_its_seed_tells_no_other(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    course = Course(Path("course"))
    course.make_seed()
    for name, outcome in (("01", 0), ("99", 1)):
        monkeypatch.setattr("sys.argv", ["grader", "gradescope", name])
        assert command.main() == outcome
    assert "no assignment has a name that begins with 99" in capsys.readouterr().err
    (path,) = course.gradescope.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(path) as archive:
        seed = archive.read("seed.txt").decode()
    assert seed not in (course.seed(), derived(course.seed(), path.stem))
