"""Grades in the columns that each system imports."""

import pytest

from chapters.assignments.grader.export import SYSTEMS, Unmatched, export

GRADES = """student,state,replay,stretch,late,total,out of,status
ada,final,4,3,0,20.5,24,graded
bob,final,0,0,0,0,24,not graded; the file is empty
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
    def write(roster, grades=GRADES, encoding="utf-8-sig"):
        paths = tmp_path / "grades.csv", tmp_path / "roster.csv"
        paths[0].write_text(grades, "utf-8")
        paths[1].write_text(roster, encoding)
        return paths

    return write


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_gets_its_own_columns_and_who_was_not_graded_is_left_out(
    files, system
):
    exported = export(*files(ROSTERS[system]), SYSTEMS[system], "Tokens")
    assert exported == WANT[system]


def test_another_column_may_hold_the_names_of_the_folders(files):
    roster = ROSTERS["moodle"].replace("a1,ada", "ada,x").replace("b1,bob", "bob,y")
    text = export(*files(roster), SYSTEMS["moodle"], "Tokens", student="ID number")
    assert "Ada,Lovelace,ada,x,20.5" in text


def test_a_graded_student_who_is_not_listed_is_an_error(files):
    grades = GRADES + "mallory,final,4,0,0,24,24,graded\n"
    with pytest.raises(Unmatched, match=r"graded, but not in the column .*: mallory"):
        export(*files(ROSTERS["canvas"], grades), SYSTEMS["canvas"], "Tokens")


def test_a_missing_column_is_named(files):
    with pytest.raises(Unmatched, match="no column 'Email'; it has: First name"):
        export(*files(ROSTERS["moodle"]), SYSTEMS["gradescope"], "Tokens")


def test_who_waits_for_a_mark_stops_an_export_unless_that_is_wanted(files):
    paths = files(ROSTERS["moodle"], GRADES.replace("ada,final", "ada,waiting"))
    with pytest.raises(Unmatched, match="these wait for a mark: ada"):
        export(*paths, SYSTEMS["moodle"], "Tokens")
    text = export(*paths, SYSTEMS["moodle"], "Tokens", unfinished=True)
    assert text == WANT["moodle"]


def test_the_stretch_counts_where_it_is_asked_for(files):
    text = export(*files(ROSTERS["moodle"]), SYSTEMS["moodle"], "Tokens", stretch=True)
    assert "Ada,Lovelace,a1,ada,23.5" in text


GERMAN = """ID;Vollständiger Name;E-Mail-Adresse;Bewertung;Feedback als Kommentar
Teilnehmer/in 71;Ada Müller;ada;;
Teilnehmer/in 72;Bob Łukasz;bob;;
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_worksheet_in_another_language_comes_back_whole(files, encoding, separator):
    sheet = GERMAN.replace(";", separator)
    sheet = sheet.replace("Ł", "L") if encoding == "cp1252" else sheet
    text = export(
        *files(sheet, encoding=encoding),
        SYSTEMS["moodle"],
        "Bewertung",
        student="E-Mail-Adresse",
    )
    header, ada, bob = text.splitlines()
    assert header == GERMAN.splitlines()[0].replace(";", ",")
    assert ada == "Teilnehmer/in 71,Ada Müller,ada,20.5,"
    assert bob.endswith("ukasz,bob,0,")
