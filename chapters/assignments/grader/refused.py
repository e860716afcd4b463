"""The system calls that the kernel refuses in the sandbox, as a filter for seccomp.

Limits on memory count neither what System V shares nor files without a name, and in a
name space of its own a program may mount as many more as it likes.
"""

import platform
import struct

# Numbers of the kernel's calls on each machine.
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "ptrace": (101, 117),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "memfd_secret": (447, 447),
}
CLONE, CLONE3 = (56, 220), 435
SOCKET = (41, 198)  # the one way to a network, where none of its own is given
NAME_SPACES = 0x7E020000  # the flags of clone that make one
SECOND_NUMBERS = 0x40000000  # x86_64 knows the same calls by others, too

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
CALL, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # where they stand
ALLOWED, FORBIDDEN, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026  # EPERM, ENOSYS


def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` say how many are skipped after a comparison."""
    return struct.pack("=HBBI", code, yes, no, value)


def rule(test: int, value: int, outcome: int) -> bytes:
    return step(test, value, no=1) + step(RETURN, outcome)


def program(*more: tuple[int, int]) -> bytes | None:
    """The filter for this machine, which refuses these calls too; None where its
    numbers are not known here.
    """
    if platform.machine() not in MACHINES:
        return None
    column = list(MACHINES).index(platform.machine())
    every = [*REFUSED.values(), *more]
    return b"".join(
        [
            step(LOAD, MACHINE),
            step(EQUAL, MACHINES[platform.machine()], yes=1),
            step(RETURN, FORBIDDEN),
            step(LOAD, CALL),
            rule(ANY_BIT, SECOND_NUMBERS, FORBIDDEN),
            *(rule(EQUAL, each[column], FORBIDDEN) for each in every),
            # Its flags cannot be seen from here. Where it is unknown, programs clone.
            rule(EQUAL, CLONE3, UNKNOWN),
            step(EQUAL, CLONE[column], no=3),
            step(LOAD, FIRST_ARGUMENT),
            rule(ANY_BIT, NAME_SPACES, FORBIDDEN),
            step(RETURN, ALLOWED),
        ]
    )
