"""Results become a table of points, pages of feedback, and a page to grade by hand."""

import contextlib
import csv
import io
import re
from pathlib import Path

import jinja2
import markdown_it
import markupsafe

from .files import decoded, replacing
from .masters import FOLDER, SOLUTION, Master, mark

NAMES = {path.stem for path in FOLDER.glob("*.ipynb")}

PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
MARKS = ["student", "assignment", "question", "points", "comment"]
RUBRIC = re.compile(r"^\*\*Rubric\b.*", re.MULTILINE | re.DOTALL)
LATE = "late"  # in the place of a question: points below 0 for a late hand-in


class BadScores(Exception):
    """The file of marks cannot be used; the message names the line."""


def read_marks(path: Path, masters: list[Master], students: list[str]) -> dict:
    """(student, assignment, question) -> (points or None, comment), from a CSV file.

    A mark counts in the place of what the checks found. Lines of other assignments than
    these are passed over.
    """
    marks, ranges = {}, {}
    for master in masters:
        for question in master.questions:
            ranges[master.name, question.name] = 0, question.points
        ranges[master.name, LATE] = -out_of(master), 0
    table = csv.DictReader(io.StringIO(decoded(path)))
    if missing := set(MARKS[:4]) - set(table.fieldnames or []):
        raise BadScores(f"{path}: needs the columns {', '.join(sorted(missing))}")
    for line, row in enumerate(table, start=2):
        student, assignment, question, points = (row[name] or "" for name in MARKS[:4])
        comment = row.get("comment") or ""
        if assignment in NAMES - {master.name for master in masters}:
            continue
        if student not in students or (assignment, question) not in ranges:
            raise BadScores(
                f"{path}, line {line}: no student {student!r} was asked the question"
                f" {question!r} of {assignment!r}"
            )
        least, most = ranges[assignment, question]
        number = None
        if points.strip():
            with contextlib.suppress(ValueError):
                number = float(points.replace(",", "."))
            if number is None or not least <= number <= most:
                raise BadScores(
                    f"{path}, line {line}: points go from {least:g} to {most:g},"
                    f" not {points}"
                )
        if (student, assignment, question) in marks:
            raise BadScores(
                f"{path}, line {line}: {student!r} has a mark for {question!r} of"
                f" {assignment!r} above, too"
            )
        marks[student, assignment, question] = number, comment
    return marks


def out_of(master: Master) -> float:
    return sum(each.points for each in master.questions if not each.stretch)


def earned(question: dict) -> float:
    return sum(each["points"] for each in question["checks"] if not each["failure"])


def mark_up(result: dict, marks: dict) -> dict:
    """A result with its points; None where a question waits for a mark."""
    questions, points = result["questions"], {}
    for name, question in questions.items():
        waits = question["words"] is not None and not result["unread"]
        waits = waits or result.get("lost", False)
        points[name] = None if waits else earned(question)
        if marks.get(name) is not None:
            points[name] = marks[name]
    waiting = [name for name in points if points[name] is None]
    counted = [name for name in points if not questions[name]["stretch"]]
    late = marks.get(LATE) or 0
    return {
        "points": points,
        "late": late,
        "total": max(0, late + sum(points[name] or 0 for name in counted)),
        "out_of": sum(questions[name]["of"] for name in counted),
        "stretch": sum(points[name] or 0 for name in points if name not in counted),
        "state": "waiting" if waiting else "final",
        "status": "; ".join(
            [
                "not graded" if result["unread"] else "graded",
                *result["notes"],
                *(f"{name} waits for a mark" for name in waiting),
            ]
        ),
    }


def table(master: Master, marked: dict[str, dict]) -> str:
    """CSV: a row per student, a column per question; the total is without stretch."""
    names = [question.name for question in master.questions]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", "state", *names, LATE, "total", "out of", "status"])
    for student, row in marked.items():
        points = [row["points"][name] for name in names]
        points += [row["late"], row["total"], row["out_of"]]
        writer.writerow([student, row["state"], *map(number, points), row["status"]])
    return out.getvalue()


def changes(old: str, new: str) -> list[str]:
    """What a new table has otherwise, in words."""
    before, after = (
        {row["student"]: row for row in csv.DictReader(io.StringIO(text))}
        for text in (old, new)
    )
    return [
        f"{student}: {name} {row[name] or 'none'} -> {after[student][name] or 'none'}"
        for student, row in before.items()
        if student in after
        for name in row
        if name != "status" and row[name] != after[student].get(name, row[name])
    ] + [f"{student}: is gone" for student in before if student not in after]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def write(path: Path, text: str) -> None:
    with replacing(path) as new:
        new.write_text(text, "utf-8")


def model(master: Master, name: str) -> str:
    """The model answer and its rubric, from the master."""
    (cell,) = [cell for cell in master.cells if mark(cell).get("grade_id") == name]
    return SOLUTION.search(cell.source)["inside"]


def markdown(text: str) -> markupsafe.Markup:
    """As HTML; tags in it are shown, not obeyed."""
    return markupsafe.Markup(markdown_it.MarkdownIt("js-default").render(text))


def report(
    master: Master, results: dict[str, dict], marks: dict, place: Path
) -> list[str]:
    """Write the table, a page per student, and a sheet to mark by hand.

    Returns what the table had otherwise before.
    """
    given = {
        student: {
            name: marks[student, master.name, name]
            for name in [*result["questions"], LATE]
            if (student, master.name, name) in marks
        }
        for student, result in results.items()
    }
    marked = {
        student: mark_up(
            result, {name: points for name, (points, _) in given[student].items()}
        )
        for student, result in results.items()
    }
    by_hand = [question for question in master.questions if question.by_hand]
    models = {question.name: model(master, question.name) for question in by_hand}
    told = {"title": master.title, "number": number, "markdown": markdown}
    path, new = place / "grades.csv", table(master, marked)
    changed = changes(path.read_text("utf-8"), new) if path.exists() else []
    write(path, new)
    for student, result in results.items():
        page = PAGES.get_template("feedback.html").render(
            student=student,
            result=result,
            row=marked[student],
            comments={name: comment for name, (_, comment) in given[student].items()},
            rubrics={name: "".join(RUBRIC.findall(models[name])) for name in models},
            **told,
        )
        write(place / "feedback" / f"{student}.html", page)
    page = PAGES.get_template("by_hand.html").render(
        assignment=master.name,
        questions=by_hand,
        models=models,
        results=results,
        marked=marked,
        **told,
    )
    write(place / "by_hand.html", page)
    return changed
