"""Processes that work together: started by torchrun, or here (chapter 11)."""

import logging
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import cloudpickle
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.multiprocessing.spawn import ProcessException


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
    program: Callable[[DeviceMesh], object], ranks: int, *, timeout: float = 60.0
) -> list:
    """What `program(mesh)` returns on each of `ranks` new processes of this machine.

    >>> run_on_ranks(lambda mesh: mesh.get_local_rank(), ranks=2)
    [0, 1]

    For learning and tests: over gloo on the CPU, with one thread each. The program may
    be written in a notebook: it is sent with the variables that it reads. What it
    prints is lost, so let it return what you want to see. The mesh is a line of all
    ranks, as that of `connect`.

    Raises ValueError for fewer than one rank, RuntimeError where a rank fails, and
    TimeoutError after `timeout` seconds. No rank outlives the call.
    """
    if ranks < 1:
        raise ValueError(
            f"ranks must be at least 1, because they do the work; got {ranks}"
        )
    # That the other ranks of a failed one are ended is no news.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    # Linux can copy a process that has imported PyTorch, which saves seconds.
    method = "forkserver" if sys.platform == "linux" else "spawn"
    multiprocessing.set_forkserver_preload(
        ["torch.distributed.tensor", "torch.distributed.checkpoint", "torch._dynamo"]
    )
    with tempfile.TemporaryDirectory(prefix="ranks") as name:
        folder = Path(name)
        (folder / "program").write_bytes(cloudpickle.dumps(program))
        processes = torch.multiprocessing.start_processes(
            _rank,
            (ranks, folder, timeout),
            nprocs=ranks,
            join=False,
            start_method=method,
        )
        try:
            _wait(processes, timeout)
        except ProcessException as error:
            raise RuntimeError(
                "every rank must end well, because each has a part of the table; rank "
                f"{error.error_index} did not: {error}"
            ) from error
        finally:
            for process in processes.processes:
                process.kill()
                process.join()
        return [pickle.loads((folder / str(i)).read_bytes()) for i in range(ranks)]


def _wait(processes: torch.multiprocessing.ProcessContext, timeout: float) -> None:
    end = time.monotonic() + timeout
    while not processes.join(timeout=max(0, end - time.monotonic())):
        if time.monotonic() > end:
            raise TimeoutError(
                f"all ranks must end within {timeout} seconds, because none may wait "
                "for ever; at least one runs still: does each of them take part in "
                "every lookup? Or give more time"
            )


def _rank(rank: int, ranks: int, folder: Path, timeout: float) -> None:
    """One process: meet the others through a file, run the program, keep the result."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), ranks)
    mesh = _meet("cpu", timeout, store=store, rank=rank, world_size=ranks)
    # A rank that is done and leaves would cut off one that is still connecting.
    store.set(f"met {rank}", "")
    store.wait([f"met {one}" for one in range(ranks)], timedelta(seconds=timeout))
    program = pickle.loads((folder / "program").read_bytes())
    (folder / str(rank)).write_bytes(pickle.dumps(program(mesh)))
    os._exit(0)  # at once: taking the connections down may hang in PyTorch 2.6
