"""The notebooks as files: what is wrong with one, and how to run and store it.

`python -m tests.notebooks --run chapters/*.ipynb` runs each chapter and stores its
outputs; without `--run` it only lists what is wrong.
"""

import argparse
import atexit
import copy
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_output
from traitlets.config import Config

from chapters.assignments.grader.files import replacing

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("*.ipynb"))
ASSIGNMENTS = sorted((ROOT / "chapters" / "assignments").glob("*.ipynb"))
ALL = CHAPTERS + PAGES + ASSIGNMENTS

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|usr|var|Users|work|mnt|opt)/|\b[A-Z]:\\\\"
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Keep the old notebook until the new one is whole."""
    with replacing(path) as new:
        nbformat.write(notebook, new)


def run(
    notebook: nbformat.NotebookNode, folder: Path = ROOT / "chapters"
) -> nbformat.NotebookNode:
    """Run every cell in the folder; raises CellExecutionError where one fails."""
    return NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        config=Config(KernelManager=own_sockets()),
    ).execute()


def own_sockets() -> dict[str, str]:
    """Options that let a kernel talk through files of its own, where the system can.

    Over TCP a kernel is told its ports before it binds them. Between the two, another
    process may take one, and then the kernel never answers: seen once in 70 starts.
    """
    if os.name != "posix":
        return {}
    folder = tempfile.mkdtemp(prefix="kernel")
    atexit.register(shutil.rmtree, folder)
    return {"transport": "ipc", "ip": f"{folder}/socket"}


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two machines that ran the same notebook."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {
                key: cell.metadata[key]
                for key in ("mystnb", "nbgrader", "tags")
                if key in cell.metadata
            }
        )
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.NotebookNode()
    return notebook


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What keeps a strict run from comparing the whole notebook, or a reader from
    reading it.
    """
    found = []
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, start=1):
        place = f"code cell {number}"
        if cell.execution_count != number:
            found.append(
                f"{place} was run as number {cell.execution_count}: run all, in order"
            )
        for output in cell.outputs:
            text = str(output.get("text", "")) + str(
                output.get("data", {}).get("text/plain", "")
            )
            if output.output_type == "error":
                found.append(f"{place} ended in {output.ename}")
            if output.get("name") == "stderr":
                found.append(f"{place} wrote to stderr: {output.text[:60]!r}")
            if path := ABSOLUTE_PATH.search(text):
                found.append(f"{place} printed an absolute path with {path.group()!r}")
            if "image/png" in output.get("data", {}) and not alt_text(cell):
                found.append(
                    f"{place} draws a figure without an alt text in its metadata"
                )
    if clean(nbformat.from_dict(notebook)) != notebook:
        found.append("it holds metadata of one machine or kernel: store it with --run")
    return found


def alt_text(cell: nbformat.NotebookNode) -> str:
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)


def is_exercise(cell: nbformat.NotebookNode) -> bool:
    return "exercise" in cell.metadata.get("tags", [])


def solved(
    notebook: nbformat.NotebookNode, exercise: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """The exercise with the solution that the next cell prints in the place of its
    stub, and the output that this should have.
    """
    following = notebook.cells[notebook.cells.index(exercise) + 1]
    _, mark, check = exercise.source.partition("# check\n")
    cell = copy.deepcopy(exercise)
    cell.source = SOLUTION.search(following.source).group(1) + mark + check
    cell.outputs = [new_output("stream", name="stdout", text="right\n")]
    return cell


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.notebooks", description=__doc__
    )
    parser.add_argument("paths", nargs="*", type=Path, default=ALL)
    parser.add_argument(
        "--run", action="store_true", help="run each notebook and store it"
    )
    options = parser.parse_args()
    wrong = 0
    for path in options.paths:
        notebook = read(path)
        if options.run:
            notebook = clean(run(notebook, path.resolve().parent))
            save(notebook, path)
        for problem in problems(notebook):
            wrong = 1
            print(f"{path}: {problem}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
