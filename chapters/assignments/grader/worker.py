"""Runs a student's cells, then answers calls of the functions that they defined.

It is started as a file of its own, inside the sandbox, with nothing of the grader
beside it. It reads requests and writes replies, one line of JSON each:

    {"checks": SOURCE, "given": [SOURCE, ...], "cells": [[NUMBER, SOURCE]]}
        -> {"started": true}, then after each cell, in their order,
           {"cell": NUMBER, "skipped": [LINE, ...]}, with an ERROR where it stopped,
           and {"ready": true} after the last
    {"begin": true}                     -> {"begun": true}, there is a fresh copy
    {"call": NAME, "arguments": [...], "after": false}
                                        -> {"answer": VALUE} or an ERROR; where "after"
                                           is true, the arguments after the call
    {"end": true}                       -> {"ended": true}

An ERROR is "error": NAME, and "message" and "line" where there are any.
Where a call ends the copy, the reply is {"ended": HOW}, and the original goes on.
Before the first cell it tries the sandbox. If that does not hold, the reply is
{"open": [WHAT, ...]}, and nothing is run.
"""

import ast
import asyncio
import contextlib
import ctypes
import inspect
import json
import math
import os
import random
import re
import resource
import select
import signal
import socket
import sys
import time
import traceback
import types
from pathlib import Path

LIMITS = {}  # told on the command line
USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # of prctl
TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


class OutOfTime(BaseException):
    """A cell used up its processor time."""


def become_an_ordinary_user() -> None:
    """Give root up for good: root is above a limit on processes."""
    if LIMITS["user"] and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(LIMITS["user"], LIMITS["user"], LIMITS["user"])
        os.setresuid(LIMITS["user"], LIMITS["user"], LIMITS["user"])


class Filter(ctypes.Structure):
    """A program for seccomp, as the kernel takes it."""

    _fields_ = (("steps", ctypes.c_ushort), ("program", ctypes.c_char_p))


def refuse_calls(program: bytes) -> None:
    """From here on the kernel refuses some system calls, as it does in bubblewrap."""
    kernel = ctypes.CDLL(None)
    kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    told = Filter(len(program) // 8, program)
    kernel.prctl(SECCOMP, FILTER, ctypes.byref(told), 0, 0)


def lift_limits() -> None:
    """Those of the process that judges, which started this one, are not meant here."""
    for name in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
        hard = resource.getrlimit(name)[1]
        resource.setrlimit(name, (hard, hard))


def set_limits() -> None:
    """From here on the kernel refuses more. Memory is what comes on top of now."""
    for name, limit in LIMITS["resources"].items():
        if name == "RLIMIT_AS":
            pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
            limit += pages * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (limit, limit))


class Closed(Exception):
    """Nothing more comes through a channel, or too much, or too late."""


class Channel:
    """Lines of JSON, read from one file and written to another."""

    def __init__(self, requests: int, replies: int, longest: float = math.inf):
        self.requests, self.replies, self.longest = requests, replies, longest
        self.unread = b""  # what came after the last line that was taken

    def receive(self, seconds: float | None = None) -> bytes:
        deadline = seconds and time.monotonic() + seconds
        while b"\n" not in self.unread:
            left = deadline and max(0.0, deadline - time.monotonic())
            if not select.select([self.requests], [], [], left)[0]:
                raise Closed("late")
            part = os.read(self.requests, 1 << 16)
            self.unread += part
            if not part or len(self.unread) > self.longest:
                raise Closed("too long" if part else "ended")
        line, _, self.unread = self.unread.partition(b"\n")
        return line + b"\n"

    def send(self, line: bytes) -> None:
        while line:
            line = line[os.write(self.replies, line) :]

    def close(self) -> None:
        os.close(self.requests)
        os.close(self.replies)


def encoded(message: dict) -> bytes:
    return json.dumps(message).encode() + b"\n"


def to_the_grader() -> Channel:
    """Standard input and output, which the student's code finds empty instead."""
    channel = Channel(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    return channel


def what_is_open() -> list[str]:
    """What the sandbox should have closed, tried out."""
    found, copies = [], []
    capabilities = re.search(
        r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text("utf-8")
    )
    if os.getuid() == 0 or int(capabilities[1], 16):
        found.append("the user is root, or has some of its powers")
    with contextlib.suppress(PermissionError):  # of all that asks for a socket
        if [name for _, name in socket.if_nameindex()] != ["lo"]:
            found.append("there is a network")
    if os.access("/", os.W_OK) or os.access(__file__, os.W_OK):
        found.append("files can be written outside of /tmp")
    first = Path("/proc/1/comm").read_text("utf-8")
    if LIMITS["closed"] and first != "bwrap\n":
        found.append("other programs can be seen")
    kernel = ctypes.CDLL(None)
    if kernel.shmget(0, 1, 0o1600) >= 0:
        found.append("System V gives memory that no limit counts")
    if os.fork() == 0:
        os._exit(kernel.unshare(USER_NAMESPACE) == 0)
    if os.wait()[1]:
        found.append("a program can make a name space of its own")
    # Last, because the kernel counts a process for a moment after its end.
    try:
        for _ in range(LIMITS["resources"]["RLIMIT_NPROC"]):
            copies.append(os.fork())
            if copies[-1] == 0:
                signal.pause()
        found.append("there is no limit on processes")
    except BlockingIOError:
        pass
    for copy in copies:
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)
    return found


class Shell:
    """What code finds in the place of IPython: magics and commands are not run."""

    def __init__(self, namespace: dict):
        self.namespace, self.skipped = namespace, []

    def run_line_magic(self, name: str, line: str, **_) -> None:
        if name == "time":
            exec(line, self.namespace)
        else:
            self.skipped.append(f"%{name} {line}")

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        self.skipped.append(f"%%{name} {line}")

    def system(self, line: str) -> None:
        self.skipped.append(f"!{line}")

    def getoutput(self, line: str) -> list:
        self.system(line)
        return []

    def __getattr__(self, name: str):
        return shows_nothing


def shows_nothing(*_, **__) -> None:
    """`display` and all that else would show something."""


def supply_ipython(namespace: dict) -> Shell:
    """Notebooks have `display` and `get_ipython`, and may import them."""
    shell = Shell(namespace)
    for name in ("IPython", "IPython.display"):
        module = sys.modules[name] = types.ModuleType(name)
        module.__getattr__ = lambda name: shows_nothing
        module.get_ipython = lambda: shell
    namespace |= {"display": shows_nothing, "get_ipython": lambda: shell}
    return shell


def only_one_returns(process: int) -> None:
    """Code that forks comes back more than once; only the first one speaks for it."""
    if os.getpid() != process:
        os._exit(0)


def run_cell(number: int, source: str, namespace: dict) -> dict:
    """What stopped the cell, if anything did."""
    seen, process = [], os.getpid()

    def stop(*_):
        if seen:  # the first one was swallowed
            os._exit(1)
        seen.append(True)
        raise OutOfTime

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMITS["cell"], 1)
    try:
        code = compile(source, f"<cell {number}>", "exec", TOP_LEVEL_AWAIT)
        waits = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(waits)
    except BaseException as error:
        return described(error)
    finally:
        only_one_returns(process)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    return {}


def described(error: BaseException) -> dict:
    """Its name and message, and the last line of a cell that it passed through."""
    found = {"error": type(error).__name__}
    with contextlib.suppress(BaseException):  # a student's own error may raise others
        if isinstance(error, SyntaxError):
            return {**found, "message": error.msg, "line": error.lineno}
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename.startswith("<cell "):
                found["line"] = frame.lineno
        found["message"] = str(error)[:200]
    return found


def answer(request: dict, namespace: dict, machinery: dict) -> dict:
    """One call, in the copy."""
    function = namespace.get(request["call"])
    if function is None:
        return {"error": "undefined"}
    process = os.getpid()
    try:
        arguments = machinery["decode"](request["arguments"])
        value = function(*arguments)
        if request["after"]:
            value = arguments
    except BaseException as error:
        return described(error)
    finally:
        only_one_returns(process)
    try:
        reply = {"answer": machinery["encode"](value)}
        json.dumps(reply)
        return reply
    except BaseException:
        return {"error": "unreadable"}


def end_all_others() -> None:
    """Kill what the student's code left running; in the sandbox nobody else is."""
    if LIMITS["resources"]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def fork() -> int:
    """Fork, after a moment if processes that were killed are still being removed."""
    for _ in range(50):
        with contextlib.suppress(BlockingIOError):
            return os.fork()
        time.sleep(0.02)
    return os.fork()


class Copy:
    """A fork of this process, for the calls of one check.

    The student's functions run there. It has no way to the grader but through us.
    """

    def __init__(self, grader: Channel, namespace: dict, machinery: dict):
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        self.process, self.gone = fork(), False
        if self.process:
            os.close(theirs_in)
            os.close(theirs_out)
            self.channel = Channel(ours_in, ours_out, LIMITS["reply"])
            self.deadline = time.monotonic() + LIMITS["check"] * LIMITS["wall"]
        else:
            for file in (grader.requests, grader.replies, ours_in, ours_out):
                os.close(file)
            # The kernel ends this copy when its processor time is used up.
            signal.setitimer(signal.ITIMER_PROF, LIMITS["check"])
            channel = Channel(theirs_in, theirs_out)
            while True:
                request = json.loads(channel.receive())
                channel.send(encoded(answer(request, namespace, machinery)))

    def ask(self, request: bytes) -> bytes:
        """The reply to a call, or how the copy came to its end instead."""
        try:
            self.channel.send(request)
            reply = self.channel.receive(max(0.0, self.deadline - time.monotonic()))
            if not json.loads(reply).keys() & {"answer", "error"}:
                raise ValueError
            return reply
        except (ValueError, AttributeError, RecursionError):
            self.end()
            return encoded({"ended": "garbled"})
        except (Closed, OSError) as why:
            how = str(why) if isinstance(why, Closed) else "ended"
            return encoded({"ended": "late" if self.end(how) else how})

    def end(self, how: str = "") -> bool:
        """Kill it and all that it started; whether it had used up its time."""
        for _ in range(100 if how == "ended" else 1):
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                break
            time.sleep(0.01)
        if not ended:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        end_all_others()
        self.channel.close()
        self.gone = True
        return os.WTERMSIG(status) == signal.SIGPROF


def main() -> None:
    LIMITS.update(json.loads(sys.argv[1]))
    become_an_ordinary_user()
    if LIMITS["calls"]:
        refuse_calls(bytes.fromhex(LIMITS["calls"]))
    lift_limits()
    grader = to_the_grader()
    sys.path[:0] = LIMITS["path"]
    task = json.loads(grader.receive())
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    set_limits()
    if LIMITS["resources"] and (found := what_is_open()):
        grader.send(encoded({"open": found}))
        return
    machinery, namespace = {"__name__": "checks"}, {"__name__": "__main__"}
    exec(task["checks"], machinery)

    def run_given():
        for source in task["given"]:
            exec(source, namespace)

    run_given()
    shell = supply_ipython(namespace)
    grader.send(encoded({"started": True}))
    for number, source in task["cells"]:
        stopped = run_cell(number, source, namespace)
        grader.send(encoded({"cell": number, "skipped": shell.skipped[:10], **stopped}))
        shell.skipped = []
    run_given()
    end_all_others()
    grader.send(encoded({"ready": True}))
    while True:
        grader.receive()
        copy = Copy(grader, namespace, machinery)
        grader.send(encoded({"begun": True}))
        while "call" in json.loads(request := grader.receive()):
            grader.send(copy.ask(request))
            if copy.gone:
                break
        else:
            copy.end()
            grader.send(encoded({"ended": True}))


if __name__ == "__main__":
    main()
