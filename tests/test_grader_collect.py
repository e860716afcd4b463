"""Downloads as Canvas, Moodle and Gradescope make them, sorted and answered."""

import csv
import io
import zipfile

import pytest

from chapters.assignments.grader import __main__ as command
from chapters.assignments.grader.collect import Roster, collect, feedback, report_of
from chapters.assignments.grader.course import Course
from chapters.assignments.grader.export import Unmatched

FIRST, SECOND = "01_tokens_and_table", "04_rotary_positions"
CANVAS = [
    {"Student": "Lovelace, Ada", "ID": "11", "SIS Login ID": "ada"},
    {"Student": "van_der_Berg, Bob", "ID": "12", "SIS Login ID": "bob"},
    {"Student": "Müller, Jörg", "ID": "13", "SIS Login ID": "jörg"},
    {"Student": "Late, Eve", "ID": "14", "SIS Login ID": "eve"},
]
WORKSHEET = [
    {"Identifier": "Participant 71", "Full name": "Ada Lovelace", "Email": "a@b.org"},
    {"Identifier": "Participant 72", "Full name": "Bob Berg", "Email": "b@b.org"},
    {"Identifier": "Participant 171", "Full name": "Jörg Müller", "Email": "j@b.org"},
]
NAMES_ALONE = [
    {"First name": "Ada", "Last name": "Lovelace", "Email": "a@b.org"},
    {"First name": "Bob", "Last name": "Berg", "Email": "b@b.org"},
    {"First name": "Jörg", "Last name": "Müller", "Email": "j@b.org"},
]
GRADESCOPE = [
    {"First Name": "Ada", "SID": "a1", "Email": "a@b.org"},
    {"First Name": "Bob", "SID": "b1", "Email": "b@b.org"},
]
METADATA = """---
submission_101:
  :submitters:
  - :name: Ada Lovelace
    :sid: a1
    :email: a@b.org
  - :name: Bob Berg
    :sid: b1
    :email: b@b.org
  :created_at: 2026-11-02 10:15:00.000000000 Z
  :score: 0.0
"""


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def found(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*.ipynb")
    }


def notes(table):
    return {
        row.get("file") or row["student"]: row["note"] for row in table if row["note"]
    }


@pytest.fixture(params=["zip", "folder"])
def download(request, tmp_path):
    """A zip as it comes, and what unpacking it makes."""

    def make(files):
        path = zipped(tmp_path / "download.zip", files)
        if request.param == "zip":
            return path
        zipfile.ZipFile(path).extractall(tmp_path / "download")
        return tmp_path / "download"

    return make


def test_a_download_from_canvas_is_sorted_and_each_other_file_is_named(
    download, tmp_path
):
    place = download(
        {
            f"lovelaceada_11_9001_{FIRST}.ipynb": "ada",
            f"van_der_bergbob_LATE_12_9002_{FIRST}-1.ipynb": "bob",
            f"müllerjörg_13_9003_{FIRST} (2).ipynb": "jörg",
            f"__MACOSX/._lovelaceada_11_9001_{FIRST}.ipynb": "",
            f"stranger_99_9004_{FIRST}.ipynb": "",
            "lovelaceada_11_9005_essay.pdf": "",
            "lateeve_14_text.html": "",
        }
    )
    table = collect(place, "canvas", Roster(CANVAS, "SIS Login ID"), tmp_path / "in")
    assert found(tmp_path / "in") == {
        f"ada/{FIRST}.ipynb": "ada",
        f"bob/{FIRST}-1.ipynb": "bob",
        f"jörg/{FIRST} (2).ipynb": "jörg",
    }
    unnamed = "not used: its name is not that of an assignment"
    assert notes(table) == {
        f"stranger_99_9004_{FIRST}.ipynb": "not used: the list of students does not"
        " say whose it is",
        "lovelaceada_11_9005_essay.pdf": unnamed,
        "lateeve_14_text.html": unnamed,
        "eve": "nothing was handed in",
    }
    late = {row["student"] for row in table if row.get("late")}
    assert late == {"bob"}


@pytest.mark.parametrize("roster", [WORKSHEET, NAMES_ALONE])
def test_a_download_from_moodle_is_sorted_in_each_of_its_forms(
    download, tmp_path, roster
):
    """Folders of older and newer versions, and files without a folder."""
    place = download(
        {
            f"Ada Lovelace_71_assignsubmission_file_/{FIRST}.ipynb": "ada",
            f"Bob Berg_72_assignsubmission_file/work/{FIRST}.ipynb": "bob",
            f"Jörg Müller_171_assignsubmission_file_{FIRST}.ipynb": "jörg",
        }
    )
    table = collect(place, "moodle", Roster(roster, "Email"), tmp_path / "in")
    assert found(tmp_path / "in") == {
        f"a@b.org/{FIRST}.ipynb": "ada",
        f"b@b.org/{FIRST}.ipynb": "bob",
        f"j@b.org/{FIRST}.ipynb": "jörg",
    }
    assert notes(table) == {}


@pytest.mark.parametrize(("column", "who"), [("Email", "a@b.org"), ("SID", "a1")])
def test_each_member_of_a_group_in_gradescope_has_the_notebook(
    download, tmp_path, column, who
):
    place = download(
        {
            "assignment_5_export/submission_metadata.yml": METADATA,
            f"assignment_5_export/submission_101/{FIRST}.ipynb": "both",
            "assignment_5_export/submission_101/submission_metadata.yml": "a: thief",
        }
    )
    table = collect(place, "gradescope", Roster(GRADESCOPE, column), tmp_path / "in")
    assert found(tmp_path / "in") == {
        f"{who}/{FIRST}.ipynb": "both",
        f"{who.replace('a', 'b', 1)}/{FIRST}.ipynb": "both",
    }
    assert {path.rpartition("/")[2] for path in notes(table)} == {
        "submission_metadata.yml"
    }


def test_a_later_attempt_takes_the_place_of_the_one_before(tmp_path):
    roster = Roster(CANVAS[:1], "SIS Login ID")
    for number, name in enumerate([f"{FIRST}.ipynb", f"{FIRST}-1.ipynb"]):
        place = zipped(
            tmp_path / "download.zip",
            {
                f"lovelaceada_11_900{number}_{name}": f"attempt {number}",
                f"lovelaceada_11_910{number}_{SECOND}.ipynb": "another",
            },
        )
        collect(place, "canvas", roster, tmp_path / "in")
    assert found(tmp_path / "in") == {
        f"ada/{FIRST}-1.ipynb": "attempt 1",
        f"ada/{SECOND}.ipynb": "another",
    }


def test_a_name_that_is_no_path_leads_nowhere_else(tmp_path):
    students = [{"ID": "11", "SIS Login ID": "../../ada"}]
    place = zipped(tmp_path / "download.zip", {f"../../x_11_9001_{FIRST}.ipynb": "ada"})
    roster, out = Roster(students, "SIS Login ID"), tmp_path / "a" / "b" / "in"
    collect(place, "canvas", roster, out)
    assert [path.read_text("utf-8") for path in tmp_path.rglob("*.ipynb")] == ["ada"]
    assert list(out.rglob("*.ipynb"))


def test_a_list_without_the_column_is_an_error():
    with pytest.raises(Unmatched, match="no column 'Login'; it has: Student, ID"):
        Roster(CANVAS, "Login")


def pages(tmp_path, *students):
    for student in students:
        path = tmp_path / "feedback" / f"{student}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"for {student}", "utf-8")
    return tmp_path / "feedback"


def test_canvas_finds_in_each_page_of_feedback_the_student_and_the_file(tmp_path):
    """It takes the first two whole numbers between underscores."""
    files = {
        f"lovelaceada_11_9001_{FIRST}.ipynb": "",
        f"van_der_bergbob_LATE_12_9002_{FIRST}-1.ipynb": "",
    }
    place = zipped(tmp_path / "download.zip", files)
    table = collect(
        place, "canvas", Roster(CANVAS[:2], "SIS Login ID"), tmp_path / "in"
    )
    kept = list(csv.DictReader(io.StringIO(report_of(table))))
    made = feedback(kept, FIRST, pages(tmp_path, "ada", "bob"))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        read = {
            tuple([part for part in name.split("_") if part.isdigit()][:2]): (
                archive.read(name).decode()
            )
            for name in archive.namelist()
        }
    assert read == {("11", "9001"): "for ada", ("12", "9002"): "for bob"}


def test_moodle_finds_in_each_page_of_feedback_the_participant(tmp_path):
    """It cuts the first part of a path that has four underscores or three."""
    files = {
        f"Ada Lovelace_71_assignsubmission_file_/{FIRST}.ipynb": "",
        f"Bob Berg_72_assignsubmission_file/work/{FIRST}.ipynb": "",
    }
    place = zipped(tmp_path / "download.zip", files)
    table = collect(place, "moodle", Roster(WORKSHEET[:2], "Email"), tmp_path / "in")
    made = feedback(table, FIRST, pages(tmp_path, "a@b.org", "b@b.org"))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        parts = [name.split("_", 4) for name in archive.namelist()]
        said = [archive.read(name).decode() for name in archive.namelist()]
    assert [part[:4] for part in parts] == [
        ["Ada Lovelace", "71", "assignsubmission", "file"],
        ["Bob Berg", "72", "assignsubmission", "file"],
    ]
    assert said == ["for a@b.org", "for b@b.org"]


def test_the_commands_collect_and_answer(tmp_path, monkeypatch, capsys):
    """What was collected for one assignment stays when another one is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("ID;Login\n11;ada\n12;bob\n", "cp1252")
    for name in (FIRST, SECOND):
        zipped(tmp_path / "all.zip", {f"ada_11_9001_{name}.ipynb": ""})
        options = ["--from", "canvas", "--roster", "list.csv", "--student", "Login"]
        arguments = ["grader", "collect", "all.zip", "in", *options]
        monkeypatch.setattr("sys.argv", arguments)
        assert command.main() == 0
    assert "bob: nothing was handed in" in capsys.readouterr().out
    course = Course(tmp_path / "course")
    for name in (FIRST, SECOND):
        (course.grades / name).mkdir(parents=True)
        pages(course.grades / name, "ada")
        monkeypatch.setattr("sys.argv", ["grader", "feedback", name])
        assert command.main() == 0
        with zipfile.ZipFile(course.grades / name / "feedback.zip") as archive:
            assert archive.namelist() == [f"ada_11_9001_{name}.html"]
