"""The masters of the assignments: fit to be released, and nothing leaks."""

import contextlib
import copy
import io
import json
import subprocess
import sys
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook, new_output

from chapters.assignments.checks import Draw, call_here
from chapters.assignments.grader import __main__ as command
from chapters.assignments.grader import release
from chapters.assignments.grader.course import Course, WrongSeed, derived
from chapters.assignments.grader.masters import (
    HIDDEN,
    Master,
    Unfit,
    inlined,
    mark,
    released,
    stub,
)
from tests import notebooks

SEED = "of one course, long enough"
LOOP = """def bag(table, ids, padding):
    rows = [table[row[row != padding]] for row in ids]
    return torch.stack([row.sum(dim=0) / max(1, len(row)) for row in rows])"""
IN_PLACE = """def fair_step(table, ids, grad, rate):
    times = torch.bincount(ids, minlength=len(table)).clamp(min=1)
    return table.index_add_(0, ids, -rate * grad / times[ids].unsqueeze(1))"""
by_name = pytest.mark.parametrize(
    "path", notebooks.ASSIGNMENTS, ids=lambda path: path.stem
)


@pytest.fixture
def path():
    """One master, for what is true of each."""
    return notebooks.ASSIGNMENTS[0]


@by_name
def test_a_master_is_fit(path):
    assert release.problems(Master(path), SEED) == []


@by_name
def test_a_master_asks_as_the_others_do(path):
    """Four to six questions, one of them in words, and a stretch problem."""
    questions = Master(path).questions
    plain = [question for question in questions if not question.stretch]
    assert 4 <= len(plain) <= 6
    assert len([question for question in plain if question.by_hand]) == 1
    assert len(questions) - len(plain) == 1


@by_name
def test_a_student_finds_every_check_not_yet_and_no_error(path):
    """Every cell of the released notebook, in its order."""
    printed, namespace = io.StringIO(), {"__name__": "__main__"}
    with contextlib.redirect_stdout(printed):
        for cell in released(Master(path)).cells:
            if cell.cell_type == "code":
                exec(cell.source, namespace)
    said = printed.getvalue()
    checks = sum(len(question.public) for question in Master(path).questions)
    assert said.count("not yet: ") == checks
    assert "right: " not in said
    assert "raised" not in said


def test_a_released_notebook_runs_in_a_kernel_far_from_the_book(path, tmp_path):
    notebook = notebooks.run(released(Master(path)), tmp_path)
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    assert outputs
    assert {each.name for each in outputs} == {"stdout"}


def test_a_kernel_tells_a_student_of_a_loop(path, tmp_path):
    master = changed(path, tmp_path, loop_where_none_is_asked_for)
    cells = [cell for cell in released(master).cells if cell.cell_type == "code"]
    notebook = notebooks.run(new_notebook(cells=cells), tmp_path)
    (cell,) = (each for each in notebook.cells if mark(each).get("grade_id") == "bag")
    (output,) = cell.outputs
    assert "    a loop: for row in ids\nright: " in output.text


@pytest.mark.parametrize(
    ("name", "source", "failed"),
    [
        ("bag", LOOP, "without padding it is the mean row found without a loop"),
        (
            "fair-step",
            IN_PLACE,
            "a row that does not occur stays and so does the old table",
        ),
    ],
)
def test_what_a_question_rules_out_costs_the_check_that_says_so(
    path, name, source, failed
):
    """Though each answer is right."""
    (question,) = (each for each in Master(path).questions if each.name == name)
    namespace = {}
    exec(f"import torch\n{source}", namespace)
    call = call_here(namespace)
    every = question.public + question.hidden
    lost = [each.title for each in every if each.failure(SEED, call, [source])]
    assert lost == [failed]


def test_nbgraders_masters_stand_alone_and_draw_hidden_inputs_from_the_seed(path):
    """A cell's last value is the score that nbgrader reads."""
    notebook = release.for_nbgrader(Master(path), SEED)
    namespace = {"__name__": "__main__"}
    seeds = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            before, last = release.last_statement(cell.source)
            with contextlib.redirect_stdout(io.StringIO()):
                exec(before, namespace)
                if mark(cell).get("grade"):
                    assert eval(last, namespace) == mark(cell)["points"]
                    assert cell.source.count(repr(SEED)) == 1
                    seeds.append(namespace["Draw"].seed_of_course)
                else:
                    exec(last, namespace)
    assert set(seeds) == {"public"}


def test_a_release_holds_what_students_and_instructors_need(path, tmp_path):
    place = tmp_path / "assignments"
    for _ in range(2):
        release.release([Master(path)], SEED, place)
        found = {str(each.relative_to(place)) for each in place.rglob("*.*")}
        assert found == {
            f"student/{path.name}",
            "student/requirements.txt",
            "student.zip",
            "instructor/seed.sha256",
            "instructor/nbgrader/nbgrader_config.py",
            f"instructor/solved/{path.name}",
            f"instructor/nbgrader/source/{path.stem}/{path.name}",
        }
        with zipfile.ZipFile(place / "student.zip") as archive:
            assert sorted(archive.namelist()) == [
                f"assignments/{path.name}",
                "assignments/requirements.txt",
            ]
    for each in (place / "student").iterdir():
        assert "HIDDEN" not in each.read_text("utf-8")
    for each in (place / "instructor").rglob("*.*"):
        assert SEED not in each.read_text("utf-8")


def changed(path, tmp_path, change):
    """A master after a change of its notebook."""
    notebook = notebooks.read(path)
    change(notebook, {mark(cell).get("grade_id"): cell for cell in notebook.cells})
    nbformat.write(notebook, tmp_path / path.name)
    return Master(tmp_path / path.name)


def wrong_solution(notebook, cells):
    cells["bag-code"].source = cells["bag-code"].source.replace("ids != padding", "ids")


def loop_where_none_is_asked_for(notebook, cells):
    cells["bag-code"].source = LOOP


def generous_stub(notebook, cells):
    for cell in cells.values():
        cell.source = cell.source.replace("### BEGIN SOLUTION", "")
        cell.source = cell.source.replace("### END SOLUTION", "")


def points_that_do_not_add_up(notebook, cells):
    cells["bag"].metadata.nbgrader.points = 5


def few_hidden_points(notebook, cells):
    cells["bag"].source = cells["bag"].source.replace("points=2", "points=1")
    cells["bag"].metadata.nbgrader.points = 3


def open_region(notebook, cells):
    cells["bag-code"].source = cells["bag-code"].source.replace("### END SOLUTION", "")


def unscored_check(notebook, cells):
    cells["bag"].source = cells["bag"].source.replace(
        "    more_padding_changes_nothing,\n", ""
    )


def no_machinery(notebook, cells):
    cells["setup"].source += "\nimport torch"


def test_data_of_a_master_may_be_tensors(path, tmp_path):
    """Even where each check comes after them: tensors have no single truth."""

    def two_tensors(notebook, cells):
        cells["bag"].source = f"one, two = torch.ones(2, 3)\n{cells['bag'].source}"

    master = changed(path, tmp_path, two_tensors)
    named = [[each.title for each in q.public] for q in master.questions]
    assert named == [[each.title for each in q.public] for q in Master(path).questions]


UNFIT = {
    wrong_solution: "the solution earns 20 of 24 points",
    loop_where_none_is_asked_for: "the solution earns 23 of 24 points",
    generous_stub: "the stub earns 24 of 24 points, more than half",
    points_that_do_not_add_up: "bag: checks for 4 of 5",
    few_hidden_points: "bag: hidden checks earn less than half",
    open_region: "'### BEGIN SOLUTION' has no partner",
    unscored_check: "bag: the last line must be the score of all checks",
    no_machinery: "one cell must import the checks, and do nothing else",
}


@pytest.mark.parametrize("change", UNFIT, ids=lambda change: change.__name__)
def test_an_unfit_master_is_told_why(path, tmp_path, change):
    found = release.problems(changed(path, tmp_path, change), SEED)
    assert any(UNFIT[change] in problem for problem in found), found


SECRET = "best.get(len(word), -1)"
LEAKS = {
    "text": lambda cell: cell.update(source=f"Hint: {SECRET}"),
    "metadata": lambda cell: cell.metadata.update(note={"deep": [f"x {SECRET}"]}),
    "key": lambda cell: cell.metadata.update({f"return {SECRET}": 1}),
    "attachment": lambda cell: cell.update(attachments={"a": {"text/plain": SECRET}}),
    "output": lambda cell: cell.update(
        outputs=[new_output("stream", text=f"return {SECRET}")]
    ),
}


@pytest.mark.parametrize("place", LEAKS)
def test_a_leak_is_found_wherever_it_is(path, place):
    master = Master(path)
    student = released(master)
    assert release.leaks(master, student) == []
    notebook = copy.deepcopy(student)
    notebook.cells.append(new_markdown_cell("A last word."))
    cell = notebook.cells[-1]
    LEAKS[place](cell)
    text = json.dumps(notebook).replace(SECRET, "return " + SECRET)
    (leak,) = release.leaks(master, json.loads(text))
    assert SECRET in leak


def test_nothing_is_written_if_one_master_is_unfit(path, tmp_path):
    place = tmp_path / "assignments"
    place.mkdir()
    (place / "old").touch()
    bad = changed(path, tmp_path, wrong_solution)
    with pytest.raises(Unfit, match="the solution earns 20 of 24"):
        release.release([Master(path), bad], SEED, place)
    assert [each.name for each in place.iterdir()] == ["old"]


def test_the_machinery_stands_in_the_place_of_its_import():
    source = inlined("from checks import check, expect")
    assert "import checks" not in source
    assert "def check(" in source


def test_the_students_half_of_nbgraders_master_says_whether_all_is_right(path):
    """Its last value is what `validate` compares with the points of the cell."""
    master = release.for_nbgrader(Master(path), SEED)
    for solved in (True, False):
        namespace = {"__name__": "__main__"}
        for cell in copy.deepcopy(master).cells:
            if cell.cell_type != "code":
                continue
            if solved:
                cell.source = HIDDEN.sub("", cell.source)
            else:
                stub(cell)
            if not mark(cell).get("grade"):
                exec(cell.source, namespace)
                continue
            before, last = release.last_statement(cell.source)
            with contextlib.redirect_stdout(io.StringIO()):
                exec(before, namespace)
            assert (eval(last, namespace) == mark(cell)["points"]) == solved


def test_a_hidden_check_of_nbgraders_master_prints_no_input(capsys):
    namespace = {"double": lambda number: 7}
    source = "from chapters.assignments.checks import Draw, check, expect\n"
    source += "Draw.seed_of_course = SEED\n@check(points=1)\n"
    source += "def it_doubles(draw, size, double):\n    expect(double(4), 8)\n"
    try:
        exec(source.replace("SEED", repr(SEED)), namespace)
    finally:
        Draw.seed_of_course = Draw.public
    assert capsys.readouterr().out == "not yet: it doubles\n"


def test_a_course_makes_its_seed_once_and_no_one_else_may_read_it(tmp_path):
    course = Course(tmp_path / "course")
    with pytest.raises(WrongSeed, match="release makes one"):
        course.seed()
    course.make_seed()
    seed = course.seed()
    course.make_seed()
    assert course.seed() == seed
    assert len(seed) == 32
    assert course.secret.stat().st_mode & 0o077 == 0


def test_a_seed_that_is_short_or_not_the_one_of_the_release_is_refused(tmp_path, path):
    course = Course(tmp_path)
    course.secret.write_text("2026\n", "utf-8")
    with pytest.raises(WrongSeed, match="at least 16 characters"):
        course.seed()
    course.secret.write_text(SEED, "utf-8")
    release.release([Master(path)], course.seed(), course.released)
    assert course.seed() == SEED
    course.secret.write_text(SEED.replace("one", "0ne"), "utf-8")
    with pytest.raises(WrongSeed, match="was released with"):
        course.seed()


def test_each_assignment_has_a_seed_that_tells_nothing_of_the_others():
    seeds = {derived(SEED, name) for name in ("01", "02", "")}
    assert len(seeds) == 3
    assert not any(SEED in seed for seed in seeds)


@pytest.mark.parametrize("name", ["", "no such folder"])
def test_submissions_without_a_folder_are_an_error(name, capsys):
    with pytest.raises(SystemExit):
        command.parser().parse_args(["grade", name])
    assert f"there is no folder {name!r}" in capsys.readouterr().err


def test_submissions_without_an_assignment_are_an_error(tmp_path, monkeypatch, capsys):
    Course(tmp_path / "course").make_seed()
    (tmp_path / "submissions" / "ada").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["grader", "grade", "submissions"])
    assert command.main() == 1
    assert "holds no folder of a student with an" in capsys.readouterr().err


def test_a_release_needs_nothing_that_windows_lacks(tmp_path):
    windows = (
        "import multiprocessing.context, psutil, runpy, sys\n"
        "sys.modules.update(resource=None, fcntl=None)\n"
        "for way in ('fork', 'forkserver'):\n"
        "    del multiprocessing.context._concrete_contexts[way]\n"
        "runpy.run_module('chapters.assignments.grader', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", windows, "release", "--course", str(tmp_path)]
    subprocess.run(command, cwd=notebooks.ROOT, check=True)
    assert len(list(tmp_path.rglob("*.ipynb"))) >= len(notebooks.ASSIGNMENTS)
