"""Grades as a learning management system reads them.

Each system imports what looks like its own export. So the instructor exports the list
of students from there, and gets it back with the points filled in.
"""

import csv
import dataclasses
import io
from pathlib import Path


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
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def export(
    grades: Path, roster: Path, system: str, title: str, student: str | None = None
) -> str:
    """CSV for a system, from grades.csv and the system's own list of students.

    `student` names the column of the list that holds the names of the folders.
    """
    to = SYSTEMS[system]
    key = student or to.student
    listed = rows(roster)
    known = listed[0].keys() if listed else ()
    if key not in known:
        raise Unmatched(f"{roster} has no column {key!r}; it has: {', '.join(known)}")
    keep = [name for name in to.keep if name in known]
    graded = {row["student"]: row for row in rows(grades)}
    people = [row for row in listed if row[key] and row[key].strip()]
    if lost := sorted(graded.keys() - {row[key] for row in people}):
        raise Unmatched(
            f"graded, but not in the column {key!r} of {roster}: {', '.join(lost)}"
        )
    points = to.points.format(title=title)
    columns = [*keep, points, *([to.out_of] if to.out_of else [])]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    out_of = next(iter(graded.values()))["out of"] if graded else ""
    if to.out_of_row:
        writer.writerow({keep[0]: "    Points Possible", points: out_of})
    for row in people:
        if row[key] in graded:
            total = graded[row[key]]["total"]
            writer.writerow({**row, points: total, to.out_of: out_of})
    return out.getvalue()
