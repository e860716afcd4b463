"""Judges one submission, in a process with limits of its own.

Checks compute with what a student's code answers. An answer may be made to take all the
memory or time there is, so it gets no more of them than this process has.
"""

import json
import multiprocessing
import signal
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
import torch
from IPython.core.inputtransformer2 import TransformerManager

from .masters import PUBLIC_SEED, Master, mark, released
from .sandbox import Limits, Refused, Sandbox
from .session import Session

LONGEST = 8 << 20  # bytes of a result
LOOSE = nbformat.v4.new_raw_cell()  # a cell that belongs to nothing released


class Unreadable(Exception):
    """There is no notebook to grade; the message says why."""


class Lost(Exception):
    """The process that judged did not come to a result; the message says how."""


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
            "name": str(marks.get("grade_id")),
        }

    try:
        return [cell(raw) for raw in json.loads(text)["cells"]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Unreadable("the file is not a notebook of format 4") from None


def as_python(source: str) -> str:
    """A cell as IPython reads it: magics, shell commands and help are calls."""
    first, _, rest = source.lstrip().partition("\n")
    if first.split()[:1] in (["%%time"], ["%%capture"]):
        source = "\n" + rest  # what it does to the rest, changes no answer
    try:
        return TransformerManager().transform_cell(source)
    except SyntaxError:
        return source  # Python says it again, with the line


class HandIn:
    """A student's cells beside those that were released, and what is odd in them."""

    def __init__(self, master: Master, text: bytes):
        self.cells = cells_of(text)
        cells = released(master).cells
        self.released = {mark(cell).get("grade_id"): cell for cell in cells}
        self.known = {same(cell.source) for cell in cells}
        self.locked = {
            same(cell.source)
            for cell in (*cells, *master.cells)
            if mark(cell).get("locked")
        }
        times = Counter(cell["name"] for cell in self.cells)
        self.notes = [
            f"the cell {name!r} stands here {times[name]} times"
            for name in self.released
            if name and times[name] > 1
        ]

    def is_untouched(self) -> bool:
        return all(same(cell["source"]) in self.known for cell in self.cells)

    def theirs(self) -> list[list]:
        """[number, source] of the code cells to run; the locked ones are the master's.

        A changed cell of what was given is run too. Then the released one has the last
        word, so an import that was added there still helps.
        """
        found = []
        code = [cell for cell in self.cells if cell["type"] == "code"]
        for number, cell in enumerate(code, start=1):
            if same(cell["source"]) in self.locked:
                continue
            original = mark(self.released.get(cell["name"], LOOSE))
            if original.get("locked"):
                self.notes.append(
                    f"code cell {number}, which was given, was changed:"
                    " the released one counts"
                )
            if not (original.get("locked") and original.get("grade")):
                found.append([number, as_python(cell["source"])])
        return found

    def words(self, name: str, longest: int) -> str:
        """The answer to a question in words."""
        found = [cell["source"] for cell in self.cells if cell["name"] == name]
        if not found:
            self.notes.append(f"the cell for the answer {name!r} is lost")
            found = [
                cell["source"]
                for cell in self.cells
                if cell["type"] == "markdown" and same(cell["source"]) not in self.known
            ]
        text = "\n\n".join(found)
        if len(text) > longest:
            self.notes.append(f"the answer {name!r} is cut at {longest} characters")
        return text[:longest]


def same(source: str) -> str:
    """What two cells share that differ in spaces at the ends of lines alone."""
    return "\n".join(map(str.rstrip, source.strip().splitlines()))


def solved(master: Master, texts: list[bytes]) -> HandIn:
    """The one of a student's notebooks in which something was written."""
    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(HandIn(master, text))
        except Unreadable as error:
            why = error
    if not found:
        raise why
    found = [each for each in found if not each.is_untouched()] or found[:1]
    if len(found) > 1:
        raise Unreadable("more than one notebook of this name was handed in")
    if len(texts) > 1:
        found[0].notes.append(f"one of {len(texts)} notebooks was graded")
    return found[0]


def grade(master: Master, texts: list[bytes], seed: str, sandbox: Sandbox) -> dict:
    """What a notebook earned, question by question, and what there is to say."""
    hand_in, limits = solved(master, texts), sandbox.limits
    theirs = hand_in.theirs()
    if len(theirs) > limits.cells:
        raise Unreadable(f"there are more than {limits.cells} cells of code")
    with Session(master, theirs, sandbox) as session:
        # What students see comes first. So whatever a function keeps of its hidden
        # inputs, no counter-example can show it.
        failures = {
            check: session.failure(check, with_seed)
            for kind, with_seed in (("public", PUBLIC_SEED), ("hidden", seed))
            for question in master.questions
            for check in getattr(question, kind)
        }
    questions = nothing(master)["questions"]
    for question in master.questions:
        if question.by_hand:
            words = hand_in.words(question.name, limits.words)
            questions[question.name]["words"] = words
        questions[question.name]["checks"] = [
            {
                "title": check.title,
                "points": check.points,
                "hidden": check in question.hidden,
                "failure": failures[check],
            }
            for check in question.public + question.hidden
        ]
    notes = [
        f"code cell {number} {why}"
        for number, every in sorted(session.notes.items())
        for why in every
    ]
    return nothing(master) | {
        "notes": [*hand_in.notes, *notes],
        "questions": questions,
    }


def nothing(master: Master, *notes: str) -> dict:
    """The result where no notebook was run."""
    questions = {
        question.name: {
            "title": question.title,
            "of": question.points,
            "stretch": question.stretch,
            "words": "" if question.by_hand else None,
            "checks": [],
        }
        for question in master.questions
    }
    return {"notes": list(notes), "questions": questions, "unread": bool(notes)}


def limit(memory: int, seconds: int) -> None:
    """From here on this process may take so much more; a worker lifts its own."""
    import resource  # Windows has none, and releases all the same

    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    memory += pages * resource.getpagesize()
    for name, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        resource.setrlimit(name, (most, resource.getrlimit(name)[1]))


def judge(pipe, limits: Limits, *work) -> None:
    """In the child: send the result as JSON."""
    torch.set_num_threads(1)
    limit(limits.judge, limits.judging)
    try:
        result = grade(*work)
    except Unreadable as why:
        result = {"unreadable": str(why)}
    except Refused as why:
        result = {"lost": str(why)}
    except BaseException as error:
        result = {"lost": f"the grader failed here, with {type(error).__name__}"}
    pipe.send_bytes(json.dumps(result).encode())


@cache
def children() -> multiprocessing.context.BaseContext:
    """Each is forked from one process that has PyTorch loaded and runs no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def judged(master: Master, texts: list[bytes], seed: str, sandbox: Sandbox) -> dict:
    """What `grade` says, from a child; Lost where it says nothing."""
    ours, theirs = children().Pipe(duplex=False)
    work = theirs, sandbox.limits, master, texts, seed, sandbox
    child = children().Process(target=judge, args=work, daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(2 * (sandbox.limits.start + sandbox.limits.total)):
            raise Lost("the grader did not come to an end here")
        result = json.loads(ours.recv_bytes(LONGEST))
    except (EOFError, OSError):
        child.join()
        how = signal.Signals(-child.exitcode).name if child.exitcode < 0 else "itself"
        raise Lost(f"the grader was ended here, by {how}") from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if "unreadable" in result:
        raise Unreadable(result["unreadable"])
    if "lost" in result:
        raise Lost(result["lost"])
    return result
