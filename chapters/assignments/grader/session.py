"""One submission in a worker: its cells are run, then its functions are called."""

import builtins
import contextlib
import math
import time

from .. import checks
from .masters import MACHINERY, Master
from .sandbox import Broken, Refused, Sandbox, Worker

GRACE = 5.0  # seconds

BUILTIN_ERRORS = {
    name
    for name, thing in vars(builtins).items()
    if isinstance(thing, type) and issubclass(thing, BaseException)
}


def line(text) -> str:
    """A student's words, on one line of some length."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(text)[:200])
    return text.strip()


def described(reply: dict) -> str:
    """An error by its name, if it is one of Python's own: students may name others.

    Then its message, and the line of the student's cell that it came from.
    """
    error = reply["error"]
    name = error if isinstance(error, str) and error in BUILTIN_ERRORS else "an error"
    message, number = line(reply.get("message") or ""), reply.get("line")
    place = f" (line {number} of its cell)" if type(number) is int else ""
    return f"{name}{': ' * bool(message)}{message}{place}"


class Session:
    """Code cells, as [number, source], and the worker that runs them.

    The worker is started anew where the student's code ended it. `notes` says which
    cells did not run to their end, and why, and which lines were not run.
    """

    def __init__(self, master: Master, cells: list, sandbox: Sandbox):
        self.master, self.sandbox, self.limits = master, sandbox, sandbox.limits
        self.cells, self.notes, self.skipped = cells, {}, set()
        self.worker, self.started = None, 0
        self.end = math.inf  # of all their time; set when the first sandbox has started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None

    def until(self, seconds: float) -> float:
        """When something that may take so long is over, on the clock."""
        return min(time.monotonic() + seconds, self.end)

    def left(self, deadline: float) -> float:
        return max(0.0, deadline - time.monotonic())

    def ready(self) -> Worker | None:
        """A worker that has run the cells, if the student's code leaves us one."""
        while (
            not self.worker
            and self.started < self.limits.sandboxes
            and time.monotonic() < self.end
        ):
            self.started += 1
            self.worker = Worker(self.sandbox)
            try:
                self.run_cells()
            except Broken:
                self.close()
        return self.worker

    def run_cells(self) -> None:
        """All of them but those that ended an earlier worker."""
        cells = [cell for cell in self.cells if cell[0] not in self.skipped]
        task = {"checks": MACHINERY, "given": self.master.given, "cells": cells}
        try:
            self.worker.start(task, self.left(self.until(self.limits.start)))
        except Refused:
            if self.started > 1:  # the sandbox did hold, and the time is over
                raise Broken("left no time to start again") from None
            raise
        self.end = min(self.end, time.monotonic() + self.limits.total)
        wall = self.limits.cell * self.limits.wall
        for number, _ in cells:
            try:
                reply = self.worker.receive(self.until(wall))
                if reply.get("cell") != number:
                    raise Broken("sent no reply")
            except Broken as how:
                self.notes[number] = [str(how)]
                self.skipped.add(number)
                raise
            self.notes[number] = self.said(reply)
        if "ready" not in self.worker.receive(self.until(wall)):
            raise Broken("sent no reply")

    def said(self, reply: dict) -> list[str]:
        """What there is to say of a cell that was run; a student's words are cut."""
        skipped = reply.get("skipped")
        every = skipped if isinstance(skipped, list) else []
        found = [f"was run without {line(each)!r}" for each in every[:10]]
        if reply.get("error") == "OutOfTime":
            found.append(f"ran for more than {self.limits.cell:g} seconds")
        elif "error" in reply:
            found.append(f"stopped with {described(reply)}")
        return found

    def failure(self, check: checks.Check, seed: str) -> str | None:
        """What the student is told if the check fails; None if it holds."""
        worker, alive = self.ready(), True
        if worker is None:
            if time.monotonic() < self.end:
                return "the notebook ended the program too often to go on"
            return f"the notebook took more than {self.limits.total:g} seconds in all"
        # The worker keeps to its own limit; this one is for a worker that does not.
        deadline = self.until(self.limits.check * self.limits.wall + GRACE)

        def ask(request: dict) -> dict:
            nonlocal alive
            try:
                reply = worker.ask(request, self.left(deadline))
            except Broken:
                alive = False
                self.close()
                raise
            alive = "ended" not in reply
            return reply

        def call(name: str, arguments: tuple, after: bool):
            told = {"call": name, "arguments": checks.encode(arguments), "after": after}
            try:
                reply = ask(told)
            except Broken as how:
                raise checks.Wrong(f"{name} {how}") from None
            return self.answer(name, reply)

        failure = "the notebook left no room to call a function"
        with contextlib.suppress(Broken):
            ask({"begin": True})
            if alive:
                cells = [source for _, source in self.cells]
                failure = check.failure(seed, call, cells)
            if alive and "ended" not in ask({"end": True}):
                self.close()
        return failure

    def answer(self, name: str, reply: dict):
        """The value in a reply; Wrong, in words, where there is none."""
        if "ended" in reply:
            late = f"ran for more than {self.limits.check:g} seconds"
            how = {"late": late, "too long": "answered too much"}
            how["garbled"] = "sent no reply"
            raise checks.Wrong(
                f"{name} {how.get(str(reply['ended']), 'ended the program')}"
            )
        error = reply.get("error")
        if error == "undefined":
            raise checks.Unwritten(f"{name} is not defined")
        if error == "NotImplementedError" or ("answer", None) in reply.items():
            raise checks.Unwritten(f"{name} is not written")
        if error not in (None, "unreadable"):
            raise checks.Wrong(f"{name} raised {described(reply)}")
        try:
            return checks.decode(reply["answer"])
        except Exception:
            raise checks.Wrong(f"{name} returned what no check reads") from None
