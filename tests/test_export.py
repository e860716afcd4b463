"""Grades in the columns that each system imports."""

import pytest

from chapters.assignments.grader.export import SYSTEMS, Unmatched, export

GRADES = """student,status,replay,total,out of
ada,graded,4,20.5,24
bob,not graded; the file is empty,0,0,24
"""
ROSTERS = {
    "canvas": """Student,ID,SIS User ID,SIS Login ID,Section,Homework (1)
    Points Possible,,,,,10
"Lovelace, Ada",11,a1,ada,One,9
"Babbage, Bob",12,b1,bob,One,8
"Late, Eve",13,e1,eve,One,
""",
    "moodle": """First name,Last name,ID number,Email address
Ada,Lovelace,a1,ada
Bob,Babbage,b1,bob
Eve,Late,e1,eve
""",
    "gradescope": """First Name,Last Name,SID,Email,Sections
Ada,Lovelace,a1,ada,One
Bob,Babbage,b1,bob,One
Eve,Late,e1,eve,One
""",
}
WANT = {
    "canvas": """Student,ID,SIS User ID,SIS Login ID,Section,Tokens
    Points Possible,,,,,24
"Lovelace, Ada",11,a1,ada,One,20.5
"Babbage, Bob",12,b1,bob,One,0
""",
    "moodle": """First name,Last name,ID number,Email address,Tokens
Ada,Lovelace,a1,ada,20.5
Bob,Babbage,b1,bob,0
""",
    "gradescope": """First Name,Last Name,SID,Email,Total Score,Max Points
Ada,Lovelace,a1,ada,20.5,24
Bob,Babbage,b1,bob,0,24
""",
}


@pytest.fixture
def files(tmp_path):
    def write(roster, grades=GRADES):
        paths = tmp_path / "grades.csv", tmp_path / "roster.csv"
        for path, text in zip(paths, (grades, roster), strict=True):
            path.write_text(text, "utf-8-sig")
        return paths

    return write


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_gets_its_own_columns_and_who_was_not_graded_is_left_out(
    files, system
):
    assert export(*files(ROSTERS[system]), system, "Tokens") == WANT[system]


def test_another_column_may_hold_the_names_of_the_folders(files):
    roster = ROSTERS["moodle"].replace("a1,ada", "ada,x").replace("b1,bob", "bob,y")
    text = export(*files(roster), "moodle", "Tokens", student="ID number")
    assert "Ada,Lovelace,ada,x,20.5" in text


def test_a_graded_student_who_is_not_listed_is_an_error(files):
    grades = GRADES + "mallory,graded,4,24,24\n"
    with pytest.raises(Unmatched, match=r"graded, but not in the column .*: mallory"):
        export(*files(ROSTERS["canvas"], grades), "canvas", "Tokens")


def test_a_missing_column_is_named(files):
    with pytest.raises(Unmatched, match="no column 'Email'; it has: First name"):
        export(*files(ROSTERS["moodle"]), "gradescope", "Tokens")
