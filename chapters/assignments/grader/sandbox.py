"""Where a student's code runs: a worker in bubblewrap, and the pipe to it.

The kernel enforces the limits; this side of the pipe believes nothing that comes out.
Where bubblewrap cannot start, as in many containers, root can still start a worker that
becomes another user, under the same limits. What it lacks is said in `LACKS`.
"""

import contextlib
import dataclasses
import json
import math
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from . import refused

HERE = Path(__file__).parent
WORKER = HERE / "worker.py"
LOOK = 0.25  # seconds between two looks at the memory of a worker
REQUIREMENTS = HERE.parent / "requirements.txt"
LACKS = (
    "Students' code runs as a user of its own, under the same limits, and reaches no"
    " network. But it sees which programs run, reads what every user may read, and"
    " fills the disk of /tmp."
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one submission may use. Times are in seconds, sizes in bytes."""

    cell: float = 10.0  # processor time of a cell
    check: float = 3.0  # processor time of the calls of one check
    wall: float = 20.0  # how many times longer each may take on the clock
    total: float = 300.0  # on the clock, for all cells and calls together
    start: float = 600.0  # on the clock, until PyTorch is loaded
    judging: int = 120  # processor time for comparing what was answered
    judge: int = 1 << 30  # memory for it
    cells: int = 1000  # code cells of a notebook
    words: int = 20_000  # characters of an answer in words
    memory: int = 2 << 30  # address space of a process, beyond what PyTorch needs
    together: int = 3 << 30  # memory of all its processes, without what they share
    processes: int = 8  # threads count too
    file_size: int = 16 << 20
    files: int = 64  # open at the same time
    disk: int = 64 << 20  # in /tmp, which is in memory
    reply: int = 2 << 20  # length of an answer
    sandboxes: int = 4  # how many are started for one submission


class Refused(Exception):
    """This machine has no sandbox that holds."""


class Broken(Exception):
    """The worker is gone, or what it sent is no reply."""


@cache
def student_packages() -> tuple[Path, ...]:
    """The files and folders of site-packages that the students' requirements bring."""
    waiting, found, paths = REQUIREMENTS.read_text("utf-8").splitlines(), set(), set()
    while waiting:
        line = waiting.pop().partition("#")[0].strip()
        if not line:
            continue
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = requirement.marker
        if name in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        distribution = metadata.distribution(name)
        waiting += distribution.requires or []
        for file in distribution.files or []:
            if file.parts[0] not in ("..", "__pycache__") and file.suffix != ".pth":
                paths.add(Path(distribution.locate_file(file.parts[0])))
    return tuple(sorted(path for path in paths if path.exists()))


def command(limits: Limits) -> list[str]:
    """bubblewrap, and in it the worker. What is not named here is not there."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise Refused(
            "bubblewrap is not installed (on Debian: apt-get install bubblewrap)"
        )
    base = Path(sys.base_prefix)
    # Every program for the worker is in the folder of Python or in /usr.
    roots = {Path("/usr")} | ({base} if not base.is_relative_to("/usr") else set())
    hidden = [
        folder
        for root in {*roots, Path("/usr/local")}
        for kind in ("dist-packages", "site-packages")
        for folder in root.glob(f"lib*/python3*/{kind}")
    ]
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    options += ["--cap-drop", "ALL", "--clearenv"]
    if os.getuid() == 0:
        # The worker itself becomes an ordinary user before it runs anything.
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for folder in sorted(
        {Path("/site"), *(up for root in roots for up in root.parents)}
    ):
        options += ["--perms", "0755", "--dir", str(folder)]
    for root in sorted(roots):
        options += ["--ro-bind", str(root), str(root)]
    for name in ("lib", "lib64", "bin"):
        if Path("/", name).is_symlink():
            options += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif Path("/", name).is_dir():
            options += ["--ro-bind", f"/{name}", f"/{name}"]
    for folder in hidden:
        options += ["--perms", "0555", "--size", "4096", "--tmpfs", str(folder)]
        options += ["--remount-ro", str(folder)]
    options += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    options += ["--perms", "1777", "--size", str(limits.disk), "--tmpfs", "/tmp"]
    for path in student_packages():
        options += ["--ro-bind", str(path.resolve()), f"/site/{path.name}"]
    options += ["--ro-bind", str(WORKER), "/worker.py", "--remount-ro", "/"]
    options += ["--chdir", "/tmp", "--setenv", "HOME", "/tmp"]
    options += ["--setenv", "OMP_NUM_THREADS", "1", "--setenv", "PYTHONHASHSEED", "0"]
    python = base / Path(sysconfig.get_path("scripts", vars={"base": str(base)})).name
    python = python / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [bwrap, *options, str(python), "-I", "-S", "-B", "/worker.py"]


def alone(limits: Limits) -> list[str]:
    """The worker, with the rights of whoever starts it."""
    return [sys.executable, "-I", "-B", str(WORKER)]


def as_another_user(limits: Limits) -> list[str]:
    """The worker, which gives all rights up as soon as its code has been read. It is
    meant for a container: whatever runs as that user is killed in the end.
    """
    if os.getuid() != 0:
        raise Refused("only root can run students' code as another user")
    clean = ["HOME=/tmp", "OMP_NUM_THREADS=1", "PYTHONHASHSEED=0"]
    return ["env", "-i", "-C", "/tmp", *clean, *alone(limits)]


def calls(*more: tuple[int, int]) -> bytes:
    """The filter of system calls."""
    found = refused.program(*more)
    if found is None:
        raise Refused(
            f"no filter of system calls is known for {platform.machine()}, and without"
            " one a program can take memory that no limit counts"
        )
    return found


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """How a worker is started: "closed" in bubblewrap, "limited" as another user, or
    "open", with the grader's own rights.
    """

    limits: Limits
    command: tuple[str, ...]
    kind: str

    @property
    def user(self) -> int | None:
        """One for each process that judges, as the kernel counts a user's processes."""
        return None if self.kind == "open" else 20_000 + os.getpid() % 40_000

    @classmethod
    def tried(cls, limits: Limits, kind: str) -> "Sandbox":
        """Refused, in words, where this system has none that holds."""
        start = {"closed": command, "limited": as_another_user, "open": alone}[kind]
        found = cls(limits, tuple(start(limits)), kind)
        worker = Worker(found)
        try:
            worker.start({"checks": "", "given": [], "cells": []}, limits.start)
        finally:
            worker.close()
        return found


def settings(sandbox: Sandbox) -> str:
    """What the worker is told on its command line."""
    limits = sandbox.limits
    resources = {
        "RLIMIT_AS": limits.memory,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_NOFILE": limits.files,
        "RLIMIT_CORE": 0,
    }
    told = {
        "cell": limits.cell,
        "check": limits.check,
        "wall": limits.wall,
        "reply": limits.reply,
        "resources": {} if sandbox.kind == "open" else resources,
        "user": sandbox.user,
        "closed": sandbox.kind == "closed",
        "calls": calls(refused.SOCKET).hex() if sandbox.kind == "limited" else "",
        "path": ["/site"] if sandbox.kind == "closed" else [],
    }
    return json.dumps(told)


def held(processes: list[psutil.Process]) -> int:
    """Bytes of memory that they do not share with a file or with others."""
    found = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has just ended
            used = process.memory_info()
            found += used.rss - used.shared
    return found


class Worker:
    """One running worker; `ask` sends a request and waits for the reply."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox, self.buffer = sandbox, bytearray()
        self.most = math.inf  # bytes of memory; set where the student's code begins
        with tempfile.TemporaryFile() as program:
            first, *rest = sandbox.command
            if sandbox.kind == "closed":
                program.write(calls())
                program.seek(0)
                rest = ["--seccomp", str(program.fileno()), *rest]
            self.process = subprocess.Popen(
                [first, *rest, settings(sandbox)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,  # bubblewrap's own; the worker closes it
                bufsize=0,
                start_new_session=True,
                pass_fds=[program.fileno()],
            )
        os.set_blocking(self.process.stdin.fileno(), False)

    def start(self, task: dict, seconds: float) -> None:
        """Load PyTorch, set the limits, try them, and begin with the first cell."""
        try:
            reply = self.ask(task, seconds)
        except Broken:
            raise Refused(f"the sandbox does not start: {self.said()}") from None
        if "open" in reply:
            raise Refused("the sandbox does not hold: " + "; ".join(reply["open"]))
        self.most = self.sandbox.limits.together

    def said(self) -> str:
        """What bubblewrap said when it could not go on."""
        self.process.kill()
        said = self.process.stderr.read(1000).decode(errors="replace").strip()
        return said or "Python or PyTorch cannot be loaded in it"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.sandbox.kind == "limited":  # in bubblewrap nothing outlives the first
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.process.stderr.close()
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, request: dict, seconds: float) -> dict:
        deadline = time.monotonic() + seconds
        self.send(json.dumps(request).encode() + b"\n", deadline)
        return self.receive(deadline)

    def send(self, line: bytes, deadline: float) -> None:
        while line:
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([], [self.process.stdin], [], wait)[1]:
                raise Broken("ran without an end")
            try:
                line = line[os.write(self.process.stdin.fileno(), line[: 1 << 16]) :]
            except BrokenPipeError:
                raise Broken("ended the program") from None

    def processes(self) -> list[psutil.Process]:
        """All that the student's code started, though it may have left its parents."""
        if self.sandbox.kind == "limited":
            return [
                process
                for process in psutil.process_iter(["uids"])
                if process.info["uids"].real == self.sandbox.user
            ]
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def memory(self) -> int:
        """What its processes hold now; the kernel limits each, but not their sum."""
        return held(self.processes())

    def receive(self, deadline: float) -> dict:
        while b"\n" not in self.buffer:
            wait = min(LOOK, max(0.0, deadline - time.monotonic()))
            if not select.select([self.process.stdout], [], [], wait)[0]:
                if time.monotonic() >= deadline:
                    raise Broken("ran without an end")
                if self.memory() > self.most:
                    raise Broken("took too much memory")
                continue
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                raise Broken("ended the program")
            self.buffer += part
            if len(self.buffer) > self.sandbox.limits.reply:
                raise Broken("answered too much")
        line, _, self.buffer = self.buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            raise Broken("sent no reply") from None
        if not isinstance(reply, dict):
            raise Broken("sent no reply")
        return reply
