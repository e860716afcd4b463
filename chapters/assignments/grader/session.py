"""One submission in a worker: its cells are run, then its functions are called."""

import builtins
import contextlib
import time

from .. import checks
from .masters import MACHINERY, Master
from .sandbox import Broken, Limits, Refused, Worker

GRACE = 5.0  # seconds

BUILTIN_ERRORS = {
    name
    for name, thing in vars(builtins).items()
    if isinstance(thing, type) and issubclass(thing, BaseException)
}


def known(error) -> str:
    """The name of an error, if it is one of Python's own: students may name others."""
    return error if error in BUILTIN_ERRORS else "an error"


class Session:
    """Code cells, as [number, source], and the worker that runs them.

    The worker is started anew where the student's code ended it. `stopped` says which
    cells did not run to their end, and why.
    """

    def __init__(self, master: Master, cells: list, limits: Limits, sandboxed: bool):
        self.master, self.limits, self.sandboxed = master, limits, sandboxed
        self.cells, self.stopped, self.skipped = cells, {}, set()
        self.worker, self.started = None, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None

    def ready(self) -> Worker | None:
        """A worker that has run the cells, if the student's code leaves us one."""
        while not self.worker and self.started < self.limits.sandboxes:
            self.started += 1
            self.worker = Worker(self.limits, self.sandboxed)
            try:
                self.run_cells()
            except Broken:
                self.close()
        return self.worker

    def run_cells(self) -> None:
        """All of them but those that ended an earlier worker."""
        cells = [cell for cell in self.cells if cell[0] not in self.skipped]
        task = {"checks": MACHINERY, "given": self.master.given, "cells": cells}
        running = None
        try:
            reply = self.worker.ask(task, self.limits.start)
        except Broken:
            # No cell has run yet: this is not the student's fault.
            raise Refused(f"the sandbox does not start: {self.worker.said()}") from None
        while "ready" not in reply:
            if self.sandboxed and running is None and "open" in reply:
                raise Refused("the sandbox does not hold: " + "; ".join(reply["open"]))
            if reply.get("cell") not in [number for number, _ in cells]:
                raise Broken("sent no reply")
            running = reply["cell"]
            if "error" in reply:
                self.stopped[running] = self.why(reply)
            try:
                wall = self.limits.cell * self.limits.wall
                reply = self.worker.receive(time.monotonic() + wall)
            except Broken:
                self.stopped[running] = "ended the program, or ran without an end"
                self.skipped.add(running)
                raise

    def why(self, reply: dict) -> str:
        if reply["error"] == "OutOfTime":
            return f"ran for more than {self.limits.cell:g} seconds"
        line = reply.get("line")
        place = f" on line {line}" if type(line) is int else ""
        return f"stopped with {known(reply['error'])}{place}"

    def failure(self, check: checks.Check, seed: str) -> str | None:
        """What the student is told if the check fails; None if it holds."""
        worker, alive = self.ready(), True
        if worker is None:
            return "the notebook ended the program too often to go on"
        # The worker keeps to its own limit; this one is for a worker that does not.
        deadline = time.monotonic() + self.limits.check * self.limits.wall + GRACE

        def ask(request: dict) -> dict:
            nonlocal alive
            try:
                reply = worker.ask(request, max(0.0, deadline - time.monotonic()))
            except Broken:
                alive = False
                self.close()
                raise
            alive = "ended" not in reply
            return reply

        def call(name: str, arguments: tuple):
            try:
                reply = ask({"call": name, "arguments": checks.encode(arguments)})
            except Broken as how:
                raise checks.Wrong(f"{name} {how}") from None
            return self.answer(name, reply)

        failure = "the notebook left no room to call a function"
        with contextlib.suppress(Broken):
            ask({"begin": True})
            if alive:
                failure = check.failure(seed, call)
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
            raise checks.Wrong(f"{name} raised {known(error)}")
        try:
            return checks.decode(reply["answer"])
        except Exception:
            raise checks.Wrong(f"{name} returned what no check reads") from None
