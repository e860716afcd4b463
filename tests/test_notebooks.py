"""The chapters as files: run in order, clean, listed in the book, solvable."""

import os
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book._ext.chapters import chapters, listed
from tests import notebooks, strict_runs

by_name = pytest.mark.parametrize("path", notebooks.ALL, ids=lambda path: path.stem)


@by_name
def test_a_strict_run_compares_the_whole_chapter(path):
    assert notebooks.problems(notebooks.read(path)) == []


@by_name
def test_the_chapter_can_be_read_in_plain_jupyter(path):
    for cell in notebooks.read(path).cells:
        if cell.cell_type == "markdown":
            assert "```{" not in cell.source
            assert ":::" not in cell.source
            assert "{cite" not in cell.source


@pytest.mark.parametrize(
    "path", notebooks.CHAPTERS + notebooks.PAGES, ids=lambda path: path.stem
)
def test_every_cell_is_short(path):
    for cell in notebooks.read(path).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 20, cell.source


@pytest.mark.parametrize("path", notebooks.CHAPTERS, ids=lambda path: path.stem)
def test_no_heading_stands_twice(path):
    """An end that was written anew stands in the place of the old one."""
    cells = notebooks.read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub("^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall("^#+ .*", text, re.MULTILINE)
    assert len(headings) > 3
    assert len(set(headings)) == len(headings)


@pytest.mark.parametrize("path", notebooks.CHAPTERS, ids=lambda path: path.stem)
def test_every_exercise_is_unsolved_and_has_a_printed_solution(path):
    notebook = notebooks.read(path)
    exercises = list(filter(notebooks.is_exercise, notebook.cells))
    assert exercises, "a chapter has exercises"
    for cell in exercises:
        assert cell.outputs[0].text == "not yet\n"
        assert notebooks.solved(notebook, cell).source != cell.source


def test_every_chapter_is_in_the_book_in_order():
    toc = yaml.safe_load((notebooks.ROOT / "_toc.yml").read_text("utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    listed = [file for file in files if file.startswith("chapters/")]
    assert listed == [f"chapters/{path.stem}" for path in notebooks.CHAPTERS]


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.docname)
def test_a_chapter_says_itself_what_it_takes(chapter):
    """In plain Jupyter nobody sees the map."""
    said = re.search(r"^\*About .+\*$", chapter.cells[0].source, re.MULTILINE).group()
    assert said.startswith(f"*About {chapter.minutes} minutes. You need ")
    assert numbers_of_chapters(said) == chapter.needs


def numbers_of_chapters(text):
    """All that a text names: `chapters 2 and 5 to 7` are 2, 5, 6 and 7."""
    found = set()
    for numbers in re.findall(r"chapters? ((?:\d+(?:, | and | to )?)+)", text):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", numbers):
            found.update(range(int(first), int(last or first) + 1))
    return found


def test_what_is_known_of_chapters_is_of_those_in_the_book():
    assert list(listed()) == [Path(chapter.docname).name for chapter in chapters()]


def notebook_with(**cell):
    cell = {"source": "1 + 1", "execution_count": 1} | cell
    notebook = new_notebook(cells=[new_code_cell(**cell)])
    return notebooks.clean(notebook)


def test_a_good_notebook_has_no_problem():
    good = notebook_with(
        outputs=[new_output("stream", name="stdout", text="2 / 3 and/or\n")]
    )
    assert notebooks.problems(good) == []


IMAGE = new_output("display_data", {"image/png": "abcd"})
BAD = {
    "never run": ({"execution_count": None}, "run as number None"),
    "out of order": ({"execution_count": 2}, "run as number 2"),
    "error": (
        {"outputs": [new_output("error", ename="KeyError", evalue="", traceback=[])]},
        "ended in KeyError",
    ),
    "stderr": (
        {"outputs": [new_output("stream", name="stderr", text="a warning")]},
        "wrote to stderr: 'a warning'",
    ),
    "absolute path": (
        {"outputs": [new_output("stream", name="stdout", text="in /home/me/book")]},
        "absolute path with '/home/'",
    ),
    "no alt text": ({"outputs": [IMAGE]}, "without an alt text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_notebook_is_told_what_is_wrong(name):
    cell, message = BAD[name]
    (problem,) = notebooks.problems(notebook_with(**cell))
    assert message in problem


def test_metadata_of_one_machine_is_a_problem():
    notebook = notebook_with()
    notebook.metadata.kernelspec = {"name": "my-own-venv"}
    (problem,) = notebooks.problems(notebook)
    assert "metadata of one machine" in problem


@pytest.mark.skipif(os.name != "posix", reason="needs sockets that are files")
def test_no_kernel_shares_a_port(tmp_path):
    source = (
        "import json, ipykernel\n"
        "with open(ipykernel.get_connection_file()) as file:\n"
        "    print(json.load(file)['transport'])"
    )
    notebook = notebooks.run(new_notebook(cells=[new_code_cell(source)]))
    assert notebook.cells[0].outputs[0].text == "ipc\n"
    nbformat.write(notebook, tmp_path / "a.ipynb")
    assert set(strict_runs.verdicts(tmp_path).values()) == {""}


def test_a_killed_run_leaves_the_old_notebook_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    notebooks.save(notebook_with(), path)
    before = path.read_text("utf-8")

    def stop_half_way(notebook, target):
        target.write_text(before[:20], "utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(nbformat, "write", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        notebooks.save(notebook_with(source="2"), path)
    assert path.read_text("utf-8") == before


def exercise_with(solution):
    """A stub, its check, and the folded solution."""
    stub = "def f():\n    ...\n\n\n# check\n"
    check = "print('right' if f() == 1 else 'not yet')"
    return [
        new_code_cell(
            stub + check,
            metadata={"tags": ["exercise"]},
            execution_count=1,
            outputs=[new_output("stream", name="stdout", text="not yet\n")],
        ),
        new_markdown_cell(
            "<details>\n<summary>Solution</summary>\n\n"
            f"```python\ndef f():\n    {solution}\n```\n"
        ),
    ]


def test_a_solution_replaces_the_stub_and_keeps_the_check():
    exercise, solution = exercise_with("return 1")
    solved = notebooks.solved(new_notebook(cells=[exercise, solution]), exercise)
    assert solved.source.startswith("def f():\n    return 1\n# check\nprint(")
    assert "..." in exercise.source


def test_a_strict_run_solves_every_exercise_and_refuses_a_wrong_solution(tmp_path):
    cells = exercise_with("return 1") + exercise_with("return 2")
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    wrong = {cell: said for (_, cell), said in strict_runs.verdicts(tmp_path).items()}
    refused = wrong.pop("Cell 1, solved")
    assert "right" in refused
    assert "not yet" in refused
    assert wrong == {"Cell 0": "", "Cell 0, solved": "", "Cell 1": ""}
