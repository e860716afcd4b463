"""Grades a folder that holds one folder per student.

What a submission earned is kept in a small file, so a second run does only what is new.
"""

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from .course import derived
from .files import replacing
from .judge import Lost, Unreadable, judged, nothing
from .masters import MACHINERY, Master
from .sandbox import Limits, Sandbox

LARGEST = 64 << 20  # bytes of a notebook
OWN_CODE = "".join(
    path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))
)


def find(folder: Path, assignment: str) -> list[Path]:
    """A student's notebooks named as it was released, or with something around it."""
    return [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if assignment in path.stem
        and path.is_file()
        and path.resolve().is_relative_to(folder.resolve())
        and not path.name.startswith("._")
        and not {".ipynb_checkpoints", "__MACOSX"} & set(path.parts)
    ]


def handed_in(folder: Path, assignment: str) -> list[bytes]:
    """What is in them."""
    if found := [read(path) for path in find(folder, assignment)]:
        return found
    raise Unreadable("no notebook of this name was handed in")


def read(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST >> 20} MB")
    return path.read_bytes()


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
    kind: str = "closed"  # of the sandbox

    @cached_property
    def sandbox(self) -> Sandbox:
        """Tried once, so that a system without one is not a student's fault."""
        return Sandbox.tried(self.limits, self.kind)

    def students(self) -> list[str]:
        """The names of the folders, without what a computer adds by itself."""
        found = [
            path.name
            for path in sorted(self.submissions.iterdir())
            if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
        ]
        for name in found:
            if not name.isprintable():  # half a character, or the end of a line
                raise OSError(f"rename the folder {name!r}: no table can hold its name")
        return found

    def handed_in(self, master: Master) -> bool:
        """Whether anyone handed in something of this name."""
        return any(
            master.name in path.stem
            for student in self.students()
            for path in (self.submissions / student).rglob("*.ipynb")
        )

    def kept(self, master: Master, student: str) -> Path:
        return self.place / master.name / "results" / f"{student}.json"

    def grade(self, master: Master, student: str) -> dict:
        """One submission, alone: the same call again changes nothing."""
        kept = self.kept(master, student)
        try:
            texts = handed_in(self.submissions / student, master.name)
            seed = derived(self.seed, master.name)
            told = [texts, master.source, MACHINERY, OWN_CODE, seed]
            told += [self.limits, self.kind]
            key = hashlib.sha256(repr(told).encode()).hexdigest()
            if kept.exists():
                old = json.loads(kept.read_text("utf-8"))
                if old.get("key") == key:
                    return old
            result = {"key": key, **judged(master, texts, seed, self.sandbox)}
        except (Unreadable, OSError) as why:
            result = nothing(master, str(why))
        except Lost as why:  # without a key, so that the next run tries again
            result = {**nothing(master, f"{why}: grade by hand"), "lost": True}
        return save(kept, result)

    def grade_all(self, masters: list[Master], students: list[str], jobs: int) -> None:
        """Each submission in a thread that waits for a sandbox of its own."""
        self.sandbox  # noqa: B018 - refused here, before any thread begins
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
