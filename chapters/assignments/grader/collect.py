"""Hand-ins as a system delivers them, sorted into a folder for each student.

    Canvas      NAME_[LATE_]ID_FILE_name.ipynb             ID is the roster's "ID"
    Moodle      NAME_ID_assignsubmission_file_[/]name.ipynb  ID ends its first column
    Gradescope  submission_NUMBER/name.ipynb               submission_metadata.yml

So are they named in Canvas's `content_zipper.rb`, in Moodle's `importziplib.php`, which
take pages of feedback back under the same names, and in Gradescope's own export.
"""

import contextlib
import csv
import dataclasses
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import yaml

from .export import Unmatched
from .files import replacing
from .grade import LARGEST
from .report import NAMES

CANVAS = re.compile(r"(?P<origin>.+?_(?P<late>LATE_)?(?P<id>\d+)_\d+)_(?P<file>.+)")
MOODLE = re.compile(
    r"(?P<origin>(?P<name>[^/_]*)_(?P<id>\d+)_assignsubmission_file)_?/?(?P<file>.+)"
)
LITTER = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store|Thumbs\.db|\.ipynb_checkpoints/)")
METADATA = "submission_metadata.yml"
COLUMNS = ["student", "assignment", "file", "origin", "late", "note"]


@dataclasses.dataclass(frozen=True)
class File:
    """One delivered file: its path, its size in bytes, and a way to read it."""

    path: str
    size: int
    read: Callable[[], bytes]


def delivered(place: Path) -> Iterator[File]:
    """The files of a zip or a folder, without what a computer adds by itself."""
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            name = path.relative_to(place).as_posix()
            if path.is_file() and not path.is_symlink() and not LITTER.search(name):
                yield File(name, path.stat().st_size, path.read_bytes)
        return
    with zipfile.ZipFile(place) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if not entry.flag_bits & 0x800:  # not marked as UTF-8; it often is
                with contextlib.suppress(UnicodeError):
                    name = name.encode("cp437").decode("utf-8")
            if not entry.is_dir() and not LITTER.search(name):
                yield File(name, entry.file_size, partial(archive.read, entry))


class Roster:
    """Who is meant by what a system writes into the name of a file."""

    def __init__(self, rows: list[dict], student: str):
        if rows and student not in rows[0]:
            raise Unmatched(
                f"the list of students has no column {student!r}; it has:"
                f" {', '.join(rows[0])}"
            )
        self.rows, self.student = rows, student

    def who(self, holds: Callable[[dict], bool]) -> list[str]:
        """The one student of whom this holds, or none."""
        found = {row[self.student] for row in self.rows if holds(row)} - {"", None}
        return list(found) if len(found) == 1 else []

    def of_canvas(self, number: str) -> list[str]:
        return self.who(lambda row: row.get("ID") == number)

    def of_moodle(self, number: str, name: str) -> list[str]:
        """By the number of the participant, which a grading worksheet has first; where
        that is not in the list, by the whole name."""

        def is_named(row):
            values = [value or "" for value in row.values()]
            pairs = map(" ".join, pairwise(values))
            return name in {*values, *pairs}

        ends = re.compile(rf"\D+{number}$")
        return self.who(lambda row: ends.match(next(iter(row.values())) or "")) or (
            self.who(is_named)
        )

    def of_gradescope(self, submitters: list[dict]) -> list[str]:
        """All members of a group."""
        key = ":sid" if self.student == "SID" else ":email"
        return [str(each.get(key) or "") for each in submitters]


def submitters(place: Path) -> dict[str, list[dict]]:
    """Of each folder in Gradescope's export; a student's own file stands deeper."""
    found = {
        file.path.count("/"): file.read()
        for file in delivered(place)
        if PurePosixPath(file.path).name == METADATA
    }
    if not found:
        raise Unmatched(f"{place} holds no {METADATA}")
    return {
        str(folder): each.get(":submitters") or []
        for folder, each in yaml.safe_load(found[min(found)]).items()
    }


def owners(
    system: str, path: str, roster: Roster, of_folder: dict
) -> tuple[list[str], dict]:
    """Whose file this is, and its parts: origin, late, file."""
    parts = PurePosixPath(path).parts
    if system == "canvas" and (found := CANVAS.match(parts[-1])):
        return roster.of_canvas(found["id"]), found.groupdict()
    if system == "moodle" and (found := MOODLE.search(path)):
        return roster.of_moodle(found["id"], found["name"]), found.groupdict()
    folders = [name for name in parts if name in of_folder]
    people = roster.of_gradescope(of_folder[folders[0]]) if folders else []
    return people, {"file": parts[-1]}


def collect(place: Path, system: str, roster: Roster, out: Path) -> list[dict]:
    """Write out/STUDENT/name.ipynb for each notebook, in the place of what the student
    had there for the same assignment.

    Returns a row for each file, with a note where it was not used, and one for each
    student of the list who has none.
    """
    table, fresh = [], set()
    of_folder = submitters(place) if system == "gradescope" else {}
    for file in delivered(place):
        people, parts = owners(system, file.path, roster, of_folder)
        name = PurePosixPath(parts["file"]).name
        assignment = next((each for each in sorted(NAMES) if each in name), "")
        row = {"assignment": assignment, "file": file.path, "note": ""}
        row["origin"] = parts.get("origin", "")
        row["late"] = "late" if parts.get("late") else ""
        if not name.endswith(".ipynb") or not assignment:
            row["note"] = "not used: its name is not that of an assignment"
        elif file.size > LARGEST:
            row["note"] = f"not used: larger than {LARGEST >> 20} MB"
        elif not people:
            row["note"] = "not used: the list of students does not say whose it is"
        table += [{**row, "student": student} for student in people or [""]]
        if row["note"]:
            continue
        for student in people:
            folder = out / safe(student)
            if (student, assignment) not in fresh:
                fresh.add((student, assignment))
                for old in folder.glob(f"*{assignment}*.ipynb"):
                    old.unlink()
            path = folder / name
            while path.exists():  # Moodle keeps the folders of a hand-in
                path = path.with_name(f"again_{path.name}")
            with replacing(path) as new:
                new.write_bytes(file.read())
    without = {row[roster.student] for row in roster.rows} - {who for who, _ in fresh}
    for student in sorted(filter(None, without)):
        note = "nothing was handed in"
        table.append({"student": student, "assignment": "", "note": note})
    return table


def safe(student: str) -> str:
    """As the name of a folder."""
    name = re.sub(r"[/\\\0]", "_", unicodedata.normalize("NFC", student)).strip()
    return f"_{name}" if name.startswith(".") else name


def report_of(table: list[dict]) -> str:
    """CSV of what became of each file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def feedback(table: list[dict], assignment: str, pages: Path) -> bytes:
    """A zip of the pages, named so that Canvas or Moodle gives each to its student."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for origin, student in {
            row["origin"]: row["student"]
            for row in table
            if row["origin"] and row["assignment"] == assignment and not row["note"]
        }.items():
            page = (pages / f"{safe(student)}.html").read_bytes()
            archive.writestr(zipfile.ZipInfo(f"{origin}_{assignment}.html"), page)
    return out.getvalue()
