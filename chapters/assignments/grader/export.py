"""Grades as a learning management system reads them.

Each system imports what looks like its own export. So the instructor exports the list
of students from there, and gets it back with the points filled in.
"""

import csv
import dataclasses
import io
import unicodedata
from pathlib import Path

from .files import decoded


class Unmatched(Exception):
    """A student is in one file and not in the other, or a column is missing."""


@dataclasses.dataclass(frozen=True)
class System:
    """The columns by which a system knows a student, and where the points go."""

    student: str  # holds the name of a student's folder
    keep: tuple[str, ...]
    points: str = "{title}"
    out_of: str | None = None
    out_of_row: bool = False  # a row of its own, after the header


SYSTEMS = {
    "canvas": System(
        student="SIS Login ID",
        keep=("Student", "ID", "SIS User ID", "SIS Login ID", "Section"),
        out_of_row=True,
    ),
    "moodle": System(
        student="Email address",
        keep=("First name", "Last name", "ID number", "Email address"),
    ),
    "gradescope": System(
        student="Email",
        keep=("First Name", "Last Name", "SID", "Email"),
        points="Total Score",
        out_of="Max Points",
    ),
}


def rows(path: Path) -> list[dict]:
    """Of a table in any usual encoding, with commas, semicolons or tabs."""
    text = unicodedata.normalize("NFC", decoded(path))
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    return list(csv.DictReader(io.StringIO(text), delimiter=separator))


def export(
    grades: Path,
    roster: Path,
    to: System,
    title: str,
    student: str | None = None,
    stretch: bool = False,
    unfinished: bool = False,
) -> str:
    """CSV for a system, from grades.csv and the system's own list of students.

    `student` names the column of the list that holds the names of the folders. A list
    that has a column `title` already comes back whole, with the points in it.
    """
    key = student or to.student
    listed = rows(roster)
    known = listed[0].keys() if listed else ()
    if key not in known:
        raise Unmatched(f"{roster} has no column {key!r}; it has: {', '.join(known)}")
    graded = {row["student"]: row for row in rows(grades)}
    people = [row for row in listed if row[key] and row[key].strip()]
    if lost := sorted(graded.keys() - {row[key] for row in people}):
        raise Unmatched(
            f"graded, but not in the column {key!r} of {roster}: {', '.join(lost)}"
        )
    waiting = [name for name, row in graded.items() if row["state"] == "waiting"]
    if waiting and not unfinished:
        raise Unmatched(
            f"these wait for a mark: {', '.join(waiting)}. --unfinished exports them"
            " with what they have"
        )
    points = to.points.format(title=title)
    keep = [name for name in known if name in to.keep or points in known]
    columns = list(dict.fromkeys([*keep, points, *([to.out_of] if to.out_of else [])]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    out_of = next(iter(graded.values()))["out of"] if graded else ""
    if to.out_of_row:
        writer.writerow({keep[0]: "    Points Possible", points: out_of})
    for row in people:
        if row[key] in graded:
            total = sum_of(graded[row[key]], stretch)
            writer.writerow({**row, points: total, to.out_of: out_of})
    return out.getvalue()


def sum_of(row: dict, stretch: bool) -> str:
    """The total of a student, with the points of the stretch problem if they count."""
    more = [row[name] for name in row if stretch and name.startswith("stretch")]
    return f"{float(row['total']) + sum(float(each or 0) for each in more):g}"
