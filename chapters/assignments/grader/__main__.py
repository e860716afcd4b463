"""`python -m chapters.assignments.grader` releases, grades and exports."""

import argparse
import json
import os
import sys
from pathlib import Path

from .collect import Roster, collect, feedback, report_of
from .course import Course, WrongSeed, derived
from .export import SYSTEMS, Unmatched, export, rows
from .files import replacing
from .grade import Batch
from .gradescope import autograder
from .masters import FOLDER, Master, Unfit
from .release import release
from .report import BadScores, read_marks, report, write
from .sandbox import Refused


def masters(names: list[str]) -> list[Master]:
    """The masters whose file names begin so; all of them if there is no name."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    for name in names:
        if not any(path.stem.startswith(name) for path in paths):
            raise FileNotFoundError(f"no assignment has a name that begins with {name}")
    wanted = [p for p in paths if not names or p.stem.startswith(tuple(names))]
    return [Master(path) for path in wanted]


def folder(text: str) -> Path:
    """An empty name would be this folder, with the book in it."""
    if not text or not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def run_release(options) -> None:
    course = options.course
    course.make_seed()
    release(masters(options.assignment), course.seed(), course.released)
    print(f"For students:       {course.released / 'student'} and student.zip")
    print(f"For the instructor: {course.released / 'instructor'}")
    print(f"Keep for the term:  {course.folder}")


def run_collect(options) -> None:
    student = options.student or SYSTEMS[options.to].student
    roster, path = Roster(rows(options.roster), student), options.course.collected
    table = collect(options.delivered, options.to, roster, options.submissions)
    new = {row["assignment"] for row in table}
    old = rows(path) if path.exists() else []
    before = [row for row in old if row["assignment"] not in new | {""}]
    write(path, report_of(before + table))
    for row in table:
        if row["note"]:
            print(f"{row.get('file') or row['student']}: {row['note']}")
    used = sum(not row["note"] for row in table)
    print(f"{used} notebooks are in {options.submissions}; {path} has each file")


def run_feedback(options) -> None:
    course = options.course
    for master in masters([options.assignment]):
        pages = course.grades / master.name / "feedback"
        path = course.grades / master.name / "feedback.zip"
        with replacing(path) as new:
            new.write_bytes(feedback(rows(course.collected), master.name, pages))
        print(path)


def run_gradescope(options) -> None:
    course = options.course
    for master in masters([options.assignment]):
        path = course.gradescope / f"{master.name}.zip"
        seed = derived(course.seed(), f"gradescope/{master.name}")
        with replacing(path) as new:
            new.touch(mode=0o600)  # it holds a seed
            new.write_bytes(autograder(master, seed))
        print(path)


def run_grade(options) -> None:
    course = options.course
    batch = Batch(
        options.submissions,
        course.grades,
        course.seed(),
        kind="open" if options.no_sandbox else "closed",
    )
    everyone = batch.students()
    if missing := sorted(set(options.only) - set(everyone)):
        raise FileNotFoundError(
            f"no folder of {', '.join(missing)} in {batch.submissions}"
        )
    chosen = [
        master
        for master in masters(options.assignment)
        if options.assignment or batch.handed_in(master)
    ]
    if not chosen:
        raise FileNotFoundError(
            f"{batch.submissions} holds no folder of a student with an assignment in it"
        )
    marks = read_marks(course.marks, chosen, everyone) if course.marks.exists() else {}
    batch.grade_all(chosen, options.only or everyone, options.jobs)
    if options.only:
        return  # the last run, without --only, collects
    for master in chosen:
        results = {
            student: json.loads(batch.kept(master, student).read_text("utf-8"))
            for student in everyone
        }
        place = batch.place / master.name
        for change in report(master, results, marks, place):
            print(f"{master.name}, {change}")
        for student, result in results.items():
            if result.get("lost"):
                print(f"{master.name}, {student}: {'; '.join(result['notes'])}")
        print(f"{master.name}: {place / 'grades.csv'}")


def run_export(options) -> None:
    text = export(
        options.grades,
        options.roster,
        SYSTEMS[options.to],
        options.title,
        options.student,
        options.stretch,
        options.unfinished,
    )
    sys.stdout.buffer.write(text.encode())  # also where a console knows fewer letters


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m chapters.assignments.grader", description=__doc__
    )
    commands = top.add_subparsers(required=True)
    some = {
        "nargs": "*",
        "default": [],
        "help": "begin of the names, such as 01; or all",
    }
    kept = {"type": lambda text: Course(Path(text)), "default": Course(Path("course"))}
    kept["help"] = "the folder that holds seed, marks and grades: keep it"

    one = commands.add_parser("release", help="write what students and instructors get")
    one.add_argument("--course", **kept)
    one.add_argument("--assignment", **some)
    one.set_defaults(run=run_release)

    system = {"choices": SYSTEMS, "required": True, "help": "the system"}
    people = {"type": Path, "required": True, "help": "its own list of students"}
    student = {"help": "the list's column with the names of the folders"}

    one = commands.add_parser("collect", help="sort a download into folders")
    one.add_argument("delivered", type=Path, help="a zip or folder as downloaded")
    one.add_argument("submissions", type=Path)
    one.add_argument("--from", dest="to", **system)
    one.add_argument("--roster", **people)
    one.add_argument("--student", **student)
    one.add_argument("--course", **kept)
    one.set_defaults(run=run_collect)

    one = commands.add_parser("feedback", help="write a zip of pages to upload")
    one.add_argument("assignment", help="begin of its name, such as 01")
    one.add_argument("--course", **kept)
    one.set_defaults(run=run_feedback)

    one = commands.add_parser("gradescope", help="write a zip that grades there")
    one.add_argument("assignment", help="begin of its name, such as 01")
    one.add_argument("--course", **kept)
    one.set_defaults(run=run_gradescope)

    one = commands.add_parser("grade", help="grade a folder with a folder per student")
    one.add_argument("submissions", type=folder)
    one.add_argument("--course", **kept)
    one.add_argument("--assignment", **some)
    one.add_argument("--only", nargs="*", default=[], help="grade these, collect later")
    one.add_argument("--jobs", type=int, default=os.cpu_count())
    one.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run students' code with your rights and your files: only code you trust",
    )
    one.set_defaults(run=run_grade)

    one = commands.add_parser("export", help="print grades as a system imports them")
    one.add_argument("grades", type=Path)
    one.add_argument("--to", **system)
    one.add_argument("--roster", **people)
    one.add_argument(
        "--title", default="Assignment", help="name of the column of points"
    )
    one.add_argument("--student", **student)
    one.add_argument("--stretch", action="store_true", help="add the stretch points")
    one.add_argument(
        "--unfinished", action="store_true", help="although some wait for a mark"
    )
    one.set_defaults(run=run_export)
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        options.run(options)
    except (Unfit, Refused, BadScores, Unmatched, WrongSeed, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
