"""Results become a table of points, pages of feedback, and a page to grade by hand."""

import csv
import io
from pathlib import Path

import jinja2

from .files import replacing
from .masters import SOLUTION, Master, mark

PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
MANUAL = ["student", "assignment", "question", "points", "comment"]


class BadScores(Exception):
    """The file of manual scores cannot be used; the message names the line."""


def read_manual(path: Path, masters: list[Master], students: list[str]) -> dict:
    """(student, assignment, question) -> (points, comment), from a CSV file."""
    scores = {}
    most = {
        (master.name, question.name): question.points
        for master in masters
        for question in master.questions
        if question.by_hand
    }
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if missing := set(MANUAL[:4]) - set(table.fieldnames or []):
            raise BadScores(f"{path}: needs the columns {', '.join(sorted(missing))}")
        for line, row in enumerate(table, start=2):
            student, assignment, question, points = (row[name] for name in MANUAL[:4])
            if not points:
                continue
            limit = most.get((assignment, question))
            if student not in students or limit is None:
                raise BadScores(
                    f"{path}, line {line}: no student {student!r} answers the question"
                    f" {question!r} of {assignment!r} by hand"
                )
            try:
                number = float(points)
            except ValueError:
                number = -1.0
            if not 0 <= number <= limit:
                raise BadScores(
                    f"{path}, line {line}: points go from 0 to {limit:g}, not {points}"
                )
            scores[student, assignment, question] = number, row.get("comment") or ""
    return scores


def earned(question: dict) -> float:
    return sum(each["points"] for each in question["checks"] if not each["failure"])


def mark_up(result: dict, by_hand: dict) -> dict:
    """A result with its points; None where a question waits to be graded by hand."""
    points = {
        name: earned(question) if question["words"] is None else by_hand.get(name)
        for name, question in result["questions"].items()
    }
    if result.get("unread"):
        points = dict.fromkeys(points, 0.0)
    counted = [
        name for name, each in result["questions"].items() if not each["stretch"]
    ]
    waiting = [name for name in points if points[name] is None]
    status = ["not graded" if result.get("unread") else "graded", *result["notes"]]
    status += [f"{name} waits to be graded by hand" for name in waiting]
    return {
        "points": points,
        "total": sum(points[name] or 0 for name in counted),
        "out_of": sum(result["questions"][name]["of"] for name in counted),
        "stretch": sum(points[name] or 0 for name in points if name not in counted),
        "status": "; ".join(status),
    }


def table(master: Master, marked: dict[str, dict]) -> str:
    """CSV: a row per student, a column per question."""
    names = [question.name for question in master.questions]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", "status", *names, "total", "out of"])
    for student, row in marked.items():
        points = [row["points"][name] for name in names]
        sums = [row["total"], row["out_of"]]
        writer.writerow([student, row["status"], *map(number, points + sums)])
    return out.getvalue()


def number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def write(path: Path, text: str) -> None:
    with replacing(path) as new:
        new.write_text(text, "utf-8")


def rubric(master: Master, name: str) -> str:
    """The model answer and its rubric, from the master."""
    (cell,) = [cell for cell in master.cells if mark(cell).get("grade_id") == name]
    return SOLUTION.search(cell.source)["inside"]


def report(master: Master, results: dict[str, dict], manual: dict, place: Path) -> None:
    """Write grades.csv, a page per student, and the answers to grade by hand."""
    marked, comments = {}, {}
    for student, result in results.items():
        by_hand = {
            name: manual[student, master.name, name]
            for name in result["questions"]
            if (student, master.name, name) in manual
        }
        comments[student] = {name: each[1] for name, each in by_hand.items()}
        marked[student] = mark_up(
            result, {name: each[0] for name, each in by_hand.items()}
        )
    write(place / "grades.csv", table(master, marked))
    for student, result in results.items():
        page = PAGES.get_template("feedback.html").render(
            title=master.title,
            student=student,
            result=result,
            row=marked[student],
            comments=comments[student],
            number=number,
        )
        write(place / "feedback" / f"{student}.html", page)
    by_hand = [question for question in master.questions if question.by_hand]
    page = PAGES.get_template("by_hand.html").render(
        title=master.title,
        questions=by_hand,
        results=results,
        rubrics={question.name: rubric(master, question.name) for question in by_hand},
        marked=marked,
        number=number,
    )
    write(place / "by_hand.html", page)
