"""`python -m chapters.assignments.grader` releases, grades and exports."""

import argparse
import json
import os
import sys
from pathlib import Path

from .export import SYSTEMS, Unmatched, export
from .grade import Batch
from .masters import FOLDER, Master, Unfit
from .release import release
from .report import BadScores, read_manual, report
from .sandbox import Refused

SHORTEST_SEED = 16


def seed(text: str) -> str:
    if len(text) < SHORTEST_SEED:
        raise argparse.ArgumentTypeError(
            f"a seed has at least {SHORTEST_SEED} characters, or it can be guessed;"
            f" {text!r} has {len(text)}. Make one with"
            " python -c 'import secrets; print(secrets.token_hex(16))' and keep it"
        )
    return text


def masters(names: list[str]) -> list[Master]:
    """The masters whose file names begin so; all of them if there is no name."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    wanted = [p for p in paths if not names or p.stem.startswith(tuple(names))]
    return [Master(path) for path in wanted]


def run_release(options) -> None:
    release(masters(options.assignment), options.seed, options.out)
    print(f"For students:       {options.out / 'student'} and student.zip")
    print(f"For the instructor: {options.out / 'instructor'}")


def run_grade(options) -> None:
    batch = Batch(
        options.submissions, options.out, options.seed, sandboxed=not options.no_sandbox
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
    manual = {}
    if options.manual:
        manual = read_manual(options.manual, chosen, everyone)
    batch.grade_all(chosen, options.only or everyone, options.jobs)
    if options.only:
        return  # the last run, without --only, collects
    for master in chosen:
        results = {
            student: json.loads(batch.kept(master, student).read_text("utf-8"))
            for student in everyone
        }
        report(master, results, manual, batch.place / master.name)
        print(f"{master.name}: {batch.place / master.name / 'grades.csv'}")


def run_export(options) -> None:
    text = export(
        options.grades, options.roster, options.to, options.title, options.student
    )
    sys.stdout.write(text)


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

    one = commands.add_parser("release", help="write what students and instructors get")
    one.add_argument("--seed", type=seed, required=True)
    one.add_argument("--out", type=Path, default=Path("_build/assignments"))
    one.add_argument("--assignment", **some)
    one.set_defaults(run=run_release)

    one = commands.add_parser("grade", help="grade a folder with a folder per student")
    one.add_argument("submissions", type=Path)
    one.add_argument("--seed", type=seed, required=True)
    one.add_argument("--out", type=Path, default=Path("_build/grades"))
    one.add_argument("--assignment", **some)
    one.add_argument("--only", nargs="*", default=[], help="grade these, collect later")
    one.add_argument("--manual", type=Path, help="CSV of points that a person gave")
    one.add_argument("--jobs", type=int, default=os.cpu_count())
    one.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run students' code with your rights and your files: only code you trust",
    )
    one.set_defaults(run=run_grade)

    one = commands.add_parser("export", help="print grades as a system imports them")
    one.add_argument("grades", type=Path)
    one.add_argument("--to", choices=SYSTEMS, required=True)
    one.add_argument(
        "--roster", type=Path, required=True, help="the system's own export"
    )
    one.add_argument(
        "--title", default="Assignment", help="name of the column of points"
    )
    one.add_argument("--student", help="roster's column with the names of the folders")
    one.set_defaults(run=run_export)
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        options.run(options)
    except (Unfit, Refused, BadScores, Unmatched, FileNotFoundError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
