"""How pytest runs the notebooks, beyond what nbval does: exercises are solved too."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbval.kernel
from jupyter_client import KernelManager
from nbval.plugin import IPyNbCell

from tests import notebooks


def pytest_configure():
    nbval.kernel.KernelManager = lambda **options: KernelManager(
        **notebooks.own_sockets(), **options
    )


def pytest_collection_modifyitems(items):
    items[:] = [each for item in items for each in (item, *solutions(item))]


def solutions(item):
    """After the stub of an exercise, its printed solution, as a reader would run it."""
    if isinstance(item, IPyNbCell) and notebooks.is_exercise(item.cell):
        yield IPyNbCell.from_parent(
            item.parent,
            name=f"{item.name}, solved",
            cell_num=item.cell_num,
            cell=notebooks.solved(item.parent.nb, item.cell),
            options=item.options,
        )


def verdicts(folder: Path) -> dict[tuple[str, str], str]:
    """(notebook, cell) -> what a strict run of the folder finds wrong, if anything."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    options = ["-p", __name__, "--nbval", "--nbval-current-env", "--rootdir", folder]
    report = folder / "report.xml"
    result = subprocess.run(
        [*command, "-c", os.devnull, *options, f"--junitxml={report}", folder],
        cwd=notebooks.ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return {
        (case.get("classname"), case.get("name")): "".join(case.itertext())
        for case in ElementTree.parse(report).iter("testcase")
    }
