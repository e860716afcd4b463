"""Processes that work together: started by torchrun, or here (chapter 15)."""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import cloudpickle
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh


def connect(*, timeout: float = 60.0) -> DeviceMesh:
    """Meet the other ranks that torchrun started: a mesh of all of them, in one line.

    >>> connect()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: connect needs the addresses of the other ranks, because ...

    Over NCCL with a GPU for each rank of this machine, else over gloo on the CPU. A
    rank that waits `timeout` seconds for another one gives up with an error.

    Raises RuntimeError where nobody set RANK and the other variables of torchrun.
    """
    if "RANK" not in os.environ:
        raise RuntimeError(
            "connect needs the addresses of the other ranks, because they work "
            "together; RANK is not set: start the program with torchrun"
        )
    gpus = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return _meet("cuda" if gpus else "cpu", timeout)


def _meet(device: str, timeout: float, **place) -> DeviceMesh:
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout), **place)
    return init_device_mesh(device, (dist.get_world_size(),), mesh_dim_names=("table",))


def run_on_ranks(
    program: Callable[[DeviceMesh], object], ranks: int, *, timeout: float = 300.0
) -> list:
    """What `program(mesh)` returns on each of `ranks` new processes of this machine.

    >>> run_on_ranks(lambda mesh: mesh.get_local_rank(), ranks=2)
    [0, 1]

    For learning and tests: over gloo on the CPU, with one thread each. The program may
    be written in a notebook: it is sent with the variables that it reads. What it
    prints is lost, so let it return what you want to see. The mesh is a line of all
    ranks, as that of `connect`.

    A rank that leaves closes its connections, and cuts off whoever still needs them. So
    a rank that is done stays, until all are done or one has failed.

    Raises ValueError for fewer than one rank, RuntimeError where a rank fails, with the
    error that it raised, and TimeoutError after `timeout` seconds. No rank outlives the
    call.
    """
    if ranks < 1:
        raise ValueError(
            f"ranks must be at least 1, because they do the work; got {ranks}"
        )
    sent = cloudpickle.dumps(program)
    started: list[tuple[BaseProcess, Connection]] = []
    with tempfile.TemporaryDirectory(prefix="ranks") as folder:
        try:
            for rank in range(ranks):
                started.append(_start(rank, ranks, folder, sent, timeout))
            return _results(started, timeout)
        finally:
            for _, line in started:
                line.close()
            for process, _ in started:
                process.join(10)
                process.kill()  # one that could not hear that the line is closed
                process.join()


def _start(*job) -> tuple[BaseProcess, Connection]:
    """A new rank, and the line to it."""
    # Linux can copy a process that has imported PyTorch, which saves seconds.
    method = "forkserver" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(
        ["torch.distributed.tensor", "torch.distributed.checkpoint", "torch._dynamo"]
    )
    ours, theirs = context.Pipe()
    process = context.Process(target=_rank, args=(*job, theirs))
    # The new process would run the script that is running, and start ranks once more.
    script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = script
        theirs.close()
    return process, ours


def _rank(
    rank: int, ranks: int, folder: str, sent: bytes, timeout: float, line: Connection
) -> None:
    """One process: meet the others through a file, run the program, say what came."""
    leave = threading.Thread(target=_leave_when_closed, args=(line,))
    leave.start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    torch.set_num_threads(1)
    try:
        store = dist.FileStore(str(Path(folder) / "store"), ranks)
        mesh = _meet("cpu", timeout, store=store, rank=rank, world_size=ranks)
        outcome = cloudpickle.dumps(pickle.loads(sent)(mesh)), None
    except BaseException:
        outcome = None, traceback.format_exc()
    line.send(outcome)
    leave.join()


def _leave_when_closed(line: Connection) -> None:
    """Stay until the process that started the ranks closes the line, or is gone."""
    wait([line])
    os._exit(0)  # at once: taking the connections down may hang in PyTorch 2.6


def _results(started: list[tuple[BaseProcess, Connection]], timeout: float) -> list:
    """What each rank returns. The first that fails ends the wait for the others."""
    end = time.monotonic() + timeout
    running = dict(enumerate(started))
    results = {}
    while running:
        wait([line for _, line in running.values()], max(0, end - time.monotonic()))
        if time.monotonic() > end:
            raise TimeoutError(
                f"all ranks must end within {timeout} seconds, because none may wait "
                f"for ever; still running: {list(running)} of {len(started)}. Does "
                "each rank take part in every lookup? Or give more time"
            )
        for rank, (_, line) in list(running.items()):
            if line.poll():
                results[rank], error = _outcome(line)
                if error:
                    raise _failure(rank, error, running)
                del running[rank]
    return [pickle.loads(results[rank]) for rank in range(len(started))]


def _outcome(line: Connection) -> tuple[bytes | None, str | None]:
    try:
        return line.recv()
    except (EOFError, OSError):
        return None, "its process is gone"


def _failure(rank: int, error: str, running: dict) -> RuntimeError:
    """The error of this rank, unless another died and so cut it off."""
    for process, _ in running.values():
        process.terminate()
    for other, (process, _) in running.items():
        process.join(10)
        if process.exitcode not in (None, -signal.SIGTERM):
            rank, error = other, f"its process ended with exit code {process.exitcode}"
    return RuntimeError(
        "every rank must end well, because each has a part of the table; rank "
        f"{rank} did not: {error}"
    )
