"""Processes that work together: a result of each, or the error of the first to fail."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from embeddings_lib.sharding import run_on_ranks


def add_up(mesh):
    total = torch.tensor(mesh.get_local_rank())
    dist.all_reduce(total)
    return total.item()


def one_dies(mesh):
    if mesh.get_local_rank() == 1:
        os._exit(7)
    return add_up(mesh)


def one_is_killed(mesh):
    if mesh.get_local_rank() == 1:
        signal.raise_signal(signal.SIGKILL)
    return add_up(mesh)


def one_dies_while_others_connect(mesh):
    if mesh.get_local_rank() == 1:
        os._exit(7)
    init_device_mesh("cpu", (2, 2))


@pytest.mark.parametrize(
    ("program", "code"),
    [(one_dies, 7), (one_is_killed, -9), (one_dies_while_others_connect, 7)],
)
def test_a_rank_that_dies_is_named_and_not_those_it_cuts_off(program, code):
    with pytest.raises(RuntimeError, match=f"rank 1 did not: .* exit code {code}$"):
        run_on_ranks(program, 4)


def one_fails_where_others_wait(mesh):
    if mesh.get_local_rank() == 1:
        raise ValueError("rank 1 is to blame")
    return add_up(mesh)


def one_fails_while_others_connect(mesh):
    if mesh.get_local_rank() == 1:
        raise ValueError("rank 1 is to blame")
    init_device_mesh("cpu", (2, 2))


def one_fails_having_connected(mesh):
    init_device_mesh("cpu", (2, 2))
    if mesh.get_local_rank() == 1:
        raise ValueError("rank 1 is to blame")


def one_gives_up(mesh):
    if mesh.get_local_rank() == 1:
        sys.exit("rank 1 is to blame")
    return add_up(mesh)


@pytest.mark.parametrize(
    "program",
    [
        one_fails_where_others_wait,
        one_fails_while_others_connect,
        one_fails_having_connected,
        one_gives_up,
    ],
)
def test_the_error_shown_is_the_one_that_a_rank_raised(program):
    with pytest.raises(
        RuntimeError, match=r"rank 1 did not: (?s:Traceback .*): rank 1 is to blame$"
    ):
        run_on_ranks(program, 4)


def test_where_all_ranks_fail_the_error_of_one_is_shown():
    def program(mesh):
        init_device_mesh("cpu", (2, 2))
        raise ValueError(f"rank {mesh.get_local_rank()} is to blame")

    with pytest.raises(
        RuntimeError,
        match=r"rank (\d) did not: (?s:.*)ValueError: rank \1 is to blame$",
    ):
        run_on_ranks(program, 4)


def test_what_cannot_be_sent_back_is_an_error_of_its_rank():
    with pytest.raises(RuntimeError, match=r"rank [01] did not: (?s:.*)cannot pickle"):
        run_on_ranks(lambda mesh: (each for each in "ab"), 2)


def test_a_rank_that_is_done_cuts_off_no_other():
    """The others have work of their own, for which they connect once more."""

    def program(mesh):
        if mesh.get_local_rank() == 0:
            return None
        group = dist.new_group([1, 2, 3], use_local_synchronization=True)
        total = torch.ones(())
        dist.all_reduce(total, group=group)
        return total.item()

    assert run_on_ranks(program, 4) == [None, 3, 3, 3]


def test_ranks_that_leave_after_connecting_cut_off_no_other():
    def program(mesh):
        return init_device_mesh("cpu", (2, 2)).size()

    for _ in range(10):
        assert run_on_ranks(program, 4) == [4, 4, 4, 4]


def one_sleeps(mesh):
    if mesh.get_local_rank() == 1:
        time.sleep(600)


def one_stays_away(mesh):
    return None if mesh.get_local_rank() == 0 else add_up(mesh)


@pytest.mark.parametrize("program", [one_sleeps, one_stays_away])
def test_a_rank_that_hangs_ends_the_run_and_is_named(program):
    before = set(multiprocessing.active_children())
    with pytest.raises(
        TimeoutError, match=r"within 4.0 seconds, .* still running: \[.*1\] of 2"
    ):
        run_on_ranks(program, 2, timeout=4.0)
    assert set(multiprocessing.active_children()) == before


def test_a_script_needs_no_guard_and_gets_its_own_classes_back(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
from embeddings_lib.sharding import run_on_ranks

class Seen:
    def __init__(self, rank):
        self.rank = rank

for seen in run_on_ranks(lambda mesh: Seen(mesh.get_local_rank()), 2):
    print(type(seen) is Seen, seen.rank)
""",
        "utf-8",
    )
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}
    output = subprocess.check_output(
        [sys.executable, script], env=os.environ | here, text=True
    )
    assert output.splitlines() == ["True 0", "True 1"]


def test_there_must_be_a_rank():
    with pytest.raises(ValueError, match=r"ranks must be at least 1, .* got 0"):
        run_on_ranks(add_up, 0)
