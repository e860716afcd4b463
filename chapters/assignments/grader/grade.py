"""Grades a folder that holds one folder per student.

What a submission earned is kept in a small file, so a second run does only what is new.
"""

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from .files import replacing
from .masters import MACHINERY, PUBLIC_SEED, Master, mark
from .sandbox import Limits, Refused
from .session import Session

LARGEST = 64 << 20  # bytes of a notebook
OWN_CODE = "".join(
    path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))
)


class Unreadable(Exception):
    """There is no notebook to grade; the message says why."""


def find(folder: Path, assignment: str) -> Path:
    """A student's notebook: named as it was released, or with something around it."""
    every = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if assignment in path.stem
        and path.is_file()
        and path.resolve().is_relative_to(folder.resolve())
        and ".ipynb_checkpoints" not in path.parts
    ]
    found = [path for path in every if path.stem == assignment] or every
    if not found:
        raise Unreadable("no notebook of this name was handed in")
    if len(found) > 1:
        raise Unreadable("more than one notebook of this name was handed in")
    return found[0]


def read(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST >> 20} MB")
    return path.read_bytes()


def cells_of(text: bytes) -> list[dict]:
    """The cells of a notebook as type, source and grade_id. Outputs do not count."""
    if not text.strip():
        raise Unreadable("the file is empty")

    def cell(raw: dict) -> dict:
        source, marks = raw["source"], raw.get("metadata", {}).get("nbgrader", {})
        source = source if isinstance(source, str) else "".join(source)
        source.encode()  # fails on half a character, which no text holds
        return {
            "type": raw["cell_type"],
            "source": source,
            "name": marks.get("grade_id"),
        }

    try:
        return [cell(raw) for raw in json.loads(text)["cells"]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Unreadable("the file is not a notebook of format 4") from None


def grade(
    master: Master, text: bytes, seed: str, limits: Limits, sandboxed: bool
) -> dict:
    """What a notebook earned, question by question, and what there is to say."""
    cells = cells_of(text)
    original = {mark(cell).get("grade_id"): cell for cell in master.cells}
    not_theirs = {
        name for name, cell in original.items() if name and mark(cell).get("locked")
    }
    code = [cell for cell in cells if cell["type"] == "code"]
    theirs = [
        [number, cell["source"]]
        for number, cell in enumerate(code, start=1)
        if cell["name"] not in not_theirs
    ]
    with Session(master, theirs, limits, sandboxed) as session:
        questions = {
            question.name: {
                "of": question.points,
                "stretch": question.stretch,
                "words": words(cells, question.name) if question.by_hand else None,
                "checks": [
                    {
                        "title": check.title,
                        "points": check.points,
                        "hidden": check in question.hidden,
                        "failure": session.failure(
                            check, seed if check in question.hidden else PUBLIC_SEED
                        ),
                    }
                    for check in question.public + question.hidden
                ],
            }
            for question in master.questions
        }
        stopped = sorted(session.stopped.items())
    notes = [f"code cell {number} {why}" for number, why in stopped]
    return {"notes": notes, "questions": questions}


def words(cells: list[dict], name: str) -> str:
    """A student's answer to a free question."""
    return "\n\n".join(cell["source"] for cell in cells if cell["name"] == name)


def nothing(master: Master, why: str) -> dict:
    """The result where there is no notebook to run."""
    questions = {
        question.name: {
            "of": question.points,
            "stretch": question.stretch,
            "words": "" if question.by_hand else None,
            "checks": [],
        }
        for question in master.questions
    }
    return {"notes": [why], "questions": questions, "unread": True}


def grade_folder(
    master: Master,
    folder: Path,
    kept: Path,
    seed: str,
    limits: Limits,
    sandboxed: bool,
) -> dict:
    """Grade one student's notebook, unless `kept` has the result of the same one."""
    try:
        text = read(find(folder, master.name))
    except Unreadable as why:
        return save(kept, nothing(master, str(why)))
    told = [text, master.source, MACHINERY, OWN_CODE, seed, limits, sandboxed]
    key = hashlib.sha256(repr(told).encode()).hexdigest()
    if kept.exists() and (old := json.loads(kept.read_text("utf-8"))).get("key") == key:
        return old
    try:
        result = grade(master, text, seed, limits, sandboxed)
    except Unreadable as why:
        result = nothing(master, str(why))
    return save(kept, {"key": key, **result})


def save(path: Path, result: dict) -> dict:
    with replacing(path) as new:
        new.write_text(json.dumps(result, indent=1, ensure_ascii=False), "utf-8")
    return result


@dataclasses.dataclass(frozen=True)
class Batch:
    """Submissions, where their results are kept, and how they are graded."""

    submissions: Path
    place: Path
    seed: str
    limits: Limits = dataclasses.field(default_factory=Limits)
    sandboxed: bool = True

    def students(self) -> list[str]:
        return sorted(path.name for path in self.submissions.iterdir() if path.is_dir())

    def handed_in(self, master: Master) -> bool:
        """Whether anyone handed in something of this name."""
        return any(
            master.name in path.stem for path in self.submissions.rglob("*.ipynb")
        )

    def kept(self, master: Master, student: str) -> Path:
        return self.place / master.name / "results" / f"{student}.json"

    def grade(self, master: Master, student: str) -> dict:
        """One submission, alone: the same call again changes nothing."""
        folder, kept = self.submissions / student, self.kept(master, student)
        try:
            return grade_folder(
                master, folder, kept, self.seed, self.limits, self.sandboxed
            )
        except Refused:
            raise
        except Exception as error:
            why = f"the grader failed here, with {type(error).__name__}: grade by hand"
            return save(kept, nothing(master, why))

    def grade_all(self, masters: list[Master], students: list[str], jobs: int) -> None:
        """Each submission in a thread that waits for a sandbox of its own."""
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [
                pool.submit(self.grade, master, student)
                for master in masters
                for student in students
            ]
            try:
                for done in tqdm(as_completed(waiting), total=len(waiting)):
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
