"""The folder of a course: what must not be lost, because nothing makes it again."""

import dataclasses
import hashlib
import secrets
from pathlib import Path

SHORTEST = 16  # letters of a seed; a shorter one can be guessed


class WrongSeed(Exception):
    """The seed is missing, too short, or not the one of the release."""


def derived(seed: str, assignment: str) -> str:
    """The seed of one assignment: it tells nothing of the others, nor of the course."""
    return hashlib.sha256(f"{seed}/{assignment}".encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Course:
    """Where its seed, marks, grades and released assignments are."""

    folder: Path

    @property
    def released(self) -> Path:
        return self.folder / "assignments"

    @property
    def grades(self) -> Path:
        return self.folder / "grades"

    @property
    def marks(self) -> Path:
        return self.folder / "marks.csv"

    @property
    def collected(self) -> Path:
        return self.folder / "collected.csv"

    @property
    def gradescope(self) -> Path:
        return self.folder / "gradescope"

    @property
    def fingerprint(self) -> Path:
        """Of the seed that was released with, so that no other is taken for it."""
        return self.released / "instructor" / "seed.sha256"

    @property
    def secret(self) -> Path:
        return self.folder / "seed.txt"

    def make_seed(self) -> None:
        """A new seed that only its owner can read, if there is none."""
        if not self.secret.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.secret.touch(mode=0o600)
            self.secret.write_text(secrets.token_hex(16) + "\n", "utf-8")

    def seed(self) -> str:
        """The seed of this course, if it is the one that was released with."""
        if not self.secret.exists():
            raise WrongSeed(f"there is no {self.secret}; release makes one")
        seed = self.secret.read_text("utf-8").strip()
        if len(seed) < SHORTEST:
            raise WrongSeed(
                f"a seed has at least {SHORTEST} characters, or it can be guessed;"
                f" the one in {self.secret} has {len(seed)}"
            )
        old = self.fingerprint
        if old.exists() and old.read_text("utf-8").strip() != derived(seed, ""):
            raise WrongSeed(
                f"the seed in {self.secret} is not the one that {self.released} was"
                " released with"
            )
        return seed
