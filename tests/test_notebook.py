import inspect
import shutil
from pathlib import Path

import matplotlib
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import embeddings_lib
from embeddings_lib import TokenEmbedding, notebook, train_bpe
from embeddings_lib.notebook import show_source, show_tokens, use_figure_style
from tests import notebooks, strict_runs


def test_source_is_the_files_own_text():
    source = show_source(TokenEmbedding)
    assert repr(source) in Path(inspect.getfile(TokenEmbedding)).read_text("utf-8")
    assert source._repr_markdown_() == f"```python\n{source!r}\n```"


def test_source_of_a_method_starts_at_the_margin():
    assert repr(show_source(TokenEmbedding.forward)).startswith("def forward(")


@pytest.mark.parametrize("thing", [3, len, "text"])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="class, function or method written in Python"):
        show_source(thing)


def cells_of_the_alarm(path):
    """A chapter's imports, and its cells that show source, with stored outputs."""
    cells = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    return cells[0], [cell for cell in cells[1:] if "show_source(" in cell.source]


@pytest.fixture(scope="module")
def alarms(tmp_path_factory):
    """What a strict run says of the cells of each chapter that show source, first with
    the library as it is, and then with a changed one: chapter -> two lists.
    """
    folder = tmp_path_factory.mktemp("alarms")
    cells, names = [new_code_cell("import sys\nsys.path.insert(0, '')")], {}
    for path in notebooks.CHAPTERS:
        imports, shown = cells_of_the_alarm(path)
        cells += [imports, *shown]
        names[path] = [f"Cell {len(cells) - n}" for n in range(len(shown), 0, -1)]
    for library in ("unchanged", "changed"):
        copy = folder / library / "embeddings_lib"
        shutil.copytree(Path(embeddings_lib.__file__).parent, copy)
        nbformat.write(new_notebook(cells=cells), folder / library / "alarm.ipynb")
    for file in copy.glob("*.py"):
        file.write_text(file.read_text("utf-8").replace("def ", "def  "), "utf-8")
    said = strict_runs.verdicts(folder)
    return {
        path: [
            [said[f"{library}.alarm.ipynb", cell] for cell in names[path]]
            for library in ("unchanged", "changed")
        ]
        for path in notebooks.CHAPTERS
    }


@pytest.mark.parametrize("path", notebooks.CHAPTERS, ids=lambda path: path.stem)
def test_a_library_that_changed_fails_the_chapter_that_shows_it(path, alarms):
    unchanged, changed = alarms[path]
    assert unchanged, "a chapter shows source of the library"
    assert set(unchanged) == {""}
    assert all("mismatch 'text/markdown'" in verdict for verdict in changed)


def test_tokens_are_readable_with_their_ids(gpt2):
    tokens = show_tokens(gpt2, "A cat\n🙂")
    assert repr(tokens) == r"A=32 ·cat=3797 ⏎=198 \xf0\x9f=8582 \x99\x82=25081"


def test_tokens_in_html_are_escaped_and_complete():
    page = show_tokens(train_bpe("", 256), "<b>")._repr_html_()
    assert "<b>" not in page
    assert [f"{ord(letter)}</span>" in page for letter in "<b>"] == [True] * 3


def test_a_special_token_in_a_text_is_shown_as_text(gpt2):
    assert "50256" not in repr(show_tokens(gpt2, "<|endoftext|>"))


def test_the_figure_style_is_applied():
    with matplotlib.rc_context():
        use_figure_style()
        assert (
            matplotlib.rcParams["axes.prop_cycle"].by_key()["color"] == notebook.COLOURS
        )
