"""A class of sixty hands in six assignments, one notebook in ten hostile or odd.

python -m tests.benchmarks.grading [STUDENTS]

Everybody must have a result, and no attack may earn what its neighbours do not. If the
whole class was graded, it is kept how long that took, and how much memory.
"""

import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import nbformat
import psutil

from chapters.assignments.grader.grade import Batch
from chapters.assignments.grader.masters import FOLDER, HIDDEN, Master, released
from chapters.assignments.grader.report import earned
from chapters.assignments.grader.sandbox import held
from tests.benchmarks.goals import RESULTS, keep
from tests.benchmarks.measure import processor

KEPT = RESULTS / "grading.json"
CLASS, SEED = 60, "a seed of sixteen letters"
# Each function of the notebook answers so.
ANSWERS = """
import os, torch
def spoil(answer):
    for name, each in list(globals().items()):
        own = getattr(each, "__module__", "") == "__main__"
        if own and name not in ("spoil", "written"):
            globals()[name] = lambda *_: answer()
def written(reply):
    for file in range(3, 64):
        try: os.write(file, reply)
        except OSError: pass
spoil(lambda: {})
""".format
CELLS = {
    # One that harms its own notebook alone, whatever else is in it.
    "an endless loop": "while True: pass",
    "a loop that heeds no signal": "from signal import *\nsetitimer(2, 0)\nwhile 1: 1",
    "only sleeps": "import time\ntime.sleep(45)\n" * 2,
    "leaves": "import os\nos._exit(0)",
    "kills all": "import os\nos.kill(-1, 9)",
    "a fork bomb": "import os\nwhile True: os.fork()",
    "takes memory": "held = bytearray(8 << 30)",
    "memory of many processes": "import os, time\nfor _ in range(6):\n"
    "  if os.fork() == 0:\n    held = b'x' * (1 << 30)\n    time.sleep(99)\n"
    "time.sleep(99)",
    "names itself again": "import os, time\nwhile True:\n  time.sleep(1)\n"
    "  for file in range(3, 64):\n"
    "    try: os.write(file, b'{\"cell\": 1}\\n')\n    except OSError: pass",
    "pasted data": f"pasted = '{'x' * (5 << 20)}'",
    "half a character": "one = '\0'",
    "a deep nest": "one = " + "(" * 9999 + ")" * 9999,
    "waits for ever": "import asyncio\nawait asyncio.Event().wait()",
    "magics": "%matplotlib inline\n!ls\nhelp?\n%%nothing",
    "System V": "import ctypes\nassert ctypes.CDLL(None).shmget(0, 9, 0o1600) < 0",
    "a name space": "import ctypes\nassert ctypes.CDLL(None).unshare(1 << 28) < 0",
    "a file without a name": "import os\nos.memfd_create('a')",
    "an empty shape": ANSWERS("torch.empty(30_000_000, 0)"),
    "a long column": ANSWERS("torch.zeros(16_000, 1)"),
    "a forged length": ANSWERS('written(b\'{"answer": {"bytes": 1000000000}}\\n\')'),
    "many keys": ANSWERS("{key * (2**61 - 1): 0 for key in range(2000)}"),
    "a huge number": ANSWERS("10**4000"),
    "a nest of lists": ANSWERS("eval('[' * 90 + ']' * 90)"),
    "remembers": ANSWERS("open('/tmp/seen', 'a+').write('x')"),
}


def class_of(students: int, masters: list[Master]):
    """(student, assignment, notebook, what is odd): two in three are solved."""
    odd = itertools.cycle(CELLS)
    for number, master in itertools.product(range(students), masters):
        notebook = released(master)
        if number % 3:
            notebook = nbformat.from_dict(master.notebook)
            for cell in notebook.cells:
                cell.source = HIDDEN.sub("", cell.source)
        name = ""
        if (number + masters.index(master)) % 10 == 0:
            name = next(odd)
            notebook.cells.append(nbformat.v4.new_code_cell(CELLS[name]))
        yield f"student {number:02}", master.name, notebook, name


class Memory(threading.Thread):
    """The most that this process and all it started held at a time, in GB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self):
        while True:
            processes = [psutil.Process(), *psutil.Process().children(True)]
            self.most = max(self.most, held(processes) / 1e9)
            time.sleep(0.5)


def main() -> None:
    students = int(sys.argv[1]) if sys.argv[1:] else CLASS
    masters, oddities = [Master(path) for path in sorted(FOLDER.glob("*.ipynb"))], {}
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        batch = Batch(Path(folder, "in"), Path(folder, "out"), SEED)
        for student, assignment, notebook, name in class_of(students, masters):
            place = batch.submissions / student
            place.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, place / f"{assignment}.ipynb")
            oddities[student, assignment] = name
        load, start = os.getloadavg()[0], time.perf_counter()
        memory.start()
        batch.grade_all(masters, batch.students(), os.cpu_count())
        seconds = time.perf_counter() - start
        kinds, odd = Counter(), {}
        for master, student in itertools.product(masters, batch.students()):
            result = json.loads(batch.kept(master, student).read_text("utf-8"))
            points = sum(map(earned, result["questions"].values()))
            kind = "lost" if result.get("lost") else "judged"
            kinds[kind] += 1
            if name := oddities[student, master.name]:
                odd[f"{name}: {student}, {master.name}"] = [points, *result["notes"]]
    found = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load before": round(load, 1),
        "hand-ins": sum(kinds.values()),
        "hostile or odd": len(odd),
        **kinds,
        "minutes": round(seconds / 60, 1),
        "GB at most": round(memory.most, 1),
    }
    print(json.dumps(odd, indent=1))
    print(json.dumps(found, indent=1))
    if students == CLASS:
        keep(KEPT, found)


if __name__ == "__main__":
    main()
