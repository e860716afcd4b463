"""Judges one submission, in a process with limits of its own.

Checks compute with what a student's code answers. An answer may be made to take all the
memory or time there is, so it gets no more of them than this process has.
"""

import json
import multiprocessing
import resource
import signal
from pathlib import Path

import torch

from .masters import PUBLIC_SEED, Master, mark
from .sandbox import Sandbox
from .session import Session

LONGEST = 8 << 20  # bytes of a result
# Each is forked from one process that has PyTorch loaded and runs no threads.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload([__name__])


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


def grade(master: Master, text: bytes, seed: str, sandbox: Sandbox) -> dict:
    """What a notebook earned, question by question, and what there is to say."""
    cells = cells_of(text)
    original = {mark(cell).get("grade_id"): cell for cell in master.cells}
    not_theirs = {name for name, cell in original.items() if mark(cell).get("locked")}
    code = [cell for cell in cells if cell["type"] == "code"]
    if len(code) > sandbox.limits.cells:
        raise Unreadable(f"there are more than {sandbox.limits.cells} cells of code")
    theirs = [
        [number, cell["source"]]
        for number, cell in enumerate(code, start=1)
        if cell["name"] not in not_theirs
    ]
    with Session(master, theirs, sandbox) as session:
        # What students see comes first. So whatever a function keeps of its hidden
        # inputs, no counter-example can show it.
        failures = {
            check: session.failure(check, with_seed)
            for kind, with_seed in (("public", PUBLIC_SEED), ("hidden", seed))
            for question in master.questions
            for check in getattr(question, kind)
        }
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
                    "failure": failures[check],
                }
                for check in question.public + question.hidden
            ],
        }
        for question in master.questions
    }
    notes = [
        f"code cell {number} {why}" for number, why in sorted(session.stopped.items())
    ]
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


def limit(memory: int, processor_time: int) -> None:
    """From here on this process may take so much more; a worker lifts its own."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(
        resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1])
    )
    resource.setrlimit(resource.RLIMIT_CPU, (processor_time, processor_time))


def judge(pipe, master: Master, text: bytes, seed: str, sandbox: Sandbox) -> None:
    """In the child: send the result as JSON."""
    torch.set_num_threads(1)
    limit(sandbox.limits.judge, sandbox.limits.judging)
    try:
        result = grade(master, text, seed, sandbox)
    except Unreadable as why:
        result = nothing(master, str(why))
    except BaseException as error:
        result = {"lost": f"the grader failed here, with {type(error).__name__}"}
    pipe.send_bytes(json.dumps(result).encode())


def judged(master: Master, text: bytes, seed: str, sandbox: Sandbox) -> dict:
    """What `grade` says, from a child; Lost where it says nothing."""
    ours, theirs = CHILDREN.Pipe(duplex=False)
    child = CHILDREN.Process(
        target=judge, args=(theirs, master, text, seed, sandbox), daemon=True
    )
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
    if "lost" in result:
        raise Lost(result["lost"])
    return result
