"""Runs a student's cells, then answers calls of the functions that they defined.

It is started as a file of its own, inside the sandbox, with nothing of the grader
beside it. It reads requests and writes replies, one line of JSON each:

    {"checks": SOURCE, "locked": [SOURCE, ...], "cells": [[NUMBER, SOURCE]]}
        -> {"cell": NUMBER} before each cell,
           {"cell": NUMBER, "error": NAME, "line": NUMBER} where one stops,
           and {"ready": true} after the last
    {"begin": true}                     -> {"begun": true}, from a fresh copy
    {"call": NAME, "arguments": [...]}  -> {"answer": VALUE} or {"error": NAME}
    {"end": true}                       -> {"ended": 0}

Where a call ends the copy, the reply is {"ended": STATUS}, and the original goes on.
Before the first cell it tries the sandbox. If that does not hold, the reply is
{"open": [WHAT, ...]}, and nothing is run.
"""

import json
import os
import random
import re
import resource
import signal
import socket
import sys
from pathlib import Path

LIMITS = json.loads(sys.argv[1])


class OutOfTime(BaseException):
    """A cell used up its processor time."""


def become_an_ordinary_user() -> None:
    """Give root up for good: root is above a limit on processes."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(LIMITS["user"], LIMITS["user"], LIMITS["user"])
        os.setresuid(LIMITS["user"], LIMITS["user"], LIMITS["user"])


def set_limits() -> None:
    """From here on the kernel refuses more. Memory is what comes on top of now."""
    for name, limit in LIMITS["resources"].items():
        if name == "RLIMIT_AS":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit += pages * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (limit, limit))


class Channel:
    """Lines of JSON over two files that the student's code is not told of."""

    def __init__(self):
        self.requests, self.replies = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)

    def receive(self) -> dict:
        line = bytearray()
        while not line.endswith(b"\n"):
            part = os.read(self.requests, 1 << 16)
            if not part:
                os._exit(0)
            line += part
        return json.loads(line)

    def send(self, reply: dict) -> None:
        line = json.dumps(reply).encode() + b"\n"
        while line:
            line = line[os.write(self.replies, line) :]


def what_is_open() -> list[str]:
    """What the sandbox should have closed, tried out."""
    found, copies = [], []
    capabilities = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    if os.getuid() == 0 or int(capabilities[1], 16):
        found.append("the user is root, or has some of its powers")
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        found.append("there is a network")
    if os.access("/", os.W_OK) or os.access(__file__, os.W_OK):
        found.append("files can be written outside of /tmp")
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


def without_magics(source: str) -> str:
    """The lines that Python reads; IPython's own (%, !, ?) are left out."""
    if source.lstrip().startswith("%%") and not source.lstrip().startswith("%%time"):
        return ""
    own = re.compile(r"^\s*[%!?].*$|^.*\?\s*$", re.MULTILINE)
    return own.sub("", source)


def compiled(source: str, number: int):
    name = f"<cell {number}>"
    try:
        return compile(source, name, "exec")
    except SyntaxError:
        return compile(without_magics(source), name, "exec")


def run_cell(number: int, source: str, namespace: dict) -> dict:
    """What stopped the cell, if anything did: the name of the error and the line."""
    seen = []

    def stop(*_):
        if seen:  # the first one was swallowed
            os._exit(1)
        seen.append(True)
        raise OutOfTime

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMITS["cell"], 1)
    try:
        exec(compiled(source, number), namespace)
    except SyntaxError as error:
        return {"error": "SyntaxError", "line": error.lineno}
    except BaseException as error:
        line, trace = None, error.__traceback__
        while trace:
            if trace.tb_frame.f_code.co_filename == f"<cell {number}>":
                line = trace.tb_lineno
            trace = trace.tb_next
        return {"error": type(error).__name__, "line": line}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    return {}


def answer(request: dict, namespace: dict, machinery: dict) -> dict:
    """One call, in the copy."""
    function = namespace.get(request["call"])
    if function is None:
        return {"error": "undefined"}
    try:
        value = function(*machinery["decode"](request["arguments"]))
    except BaseException as error:
        return {"error": type(error).__name__}
    try:
        reply = {"answer": machinery["encode"](value)}
        json.dumps(reply)
        return reply
    except BaseException:
        return {"error": "unreadable"}


def serve_copy(channel: Channel, namespace: dict, machinery: dict) -> None:
    """The calls of one check. The kernel ends it when its processor time is used up."""
    signal.setitimer(signal.ITIMER_PROF, LIMITS["check"])
    channel.send({"begun": True})
    while True:
        request = channel.receive()
        if "call" not in request:
            os._exit(0)
        channel.send(answer(request, namespace, machinery))


def main() -> None:
    become_an_ordinary_user()
    channel = Channel()
    sys.path[:0] = LIMITS["path"]
    task = channel.receive()
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    set_limits()
    if LIMITS["resources"] and (found := what_is_open()):
        channel.send({"open": found})
        return
    machinery, namespace = {"__name__": "checks"}, {"__name__": "__main__"}
    exec(task["checks"], machinery)

    def run_locked():
        for source in task["locked"]:
            exec(source, namespace)

    run_locked()
    for number, source in task["cells"]:
        channel.send({"cell": number})
        stopped = run_cell(number, source, namespace)
        if stopped:
            channel.send({"cell": number, **stopped})
    run_locked()
    channel.send({"ready": True})
    while channel.receive().get("begin"):
        copy = os.fork()
        if copy == 0:
            serve_copy(channel, namespace, machinery)
        _, status = os.waitpid(copy, 0)
        channel.send({"ended": status})


if __name__ == "__main__":
    main()
