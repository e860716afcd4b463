import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

import embeddings_lib
from embeddings_lib import TokenEmbedding, show, train_bpe
from embeddings_lib.show import show_source, show_tokens, use_figure_style
from tests import kernels, notebooks


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
    """A chapter's imports and its show_source cells, with their stored outputs."""
    notebook = notebooks.read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in cells if "show_source(" in cell.source]
    assert shown, f"{path.name} shows no source of the library"
    return nbformat.v4.new_notebook(
        cells=[cells[0], *shown], metadata=notebook.metadata
    )


@pytest.mark.parametrize("path", notebooks.CHAPTERS, ids=lambda path: path.stem)
def test_a_library_that_changed_fails_the_chapter_that_shows_it(path, tmp_path):
    nbformat.write(cells_of_the_alarm(path), tmp_path / "alarm.ipynb")
    shutil.copy(kernels.__file__, tmp_path / "conftest.py")
    library = tmp_path / "embeddings_lib"
    shutil.copytree(Path(embeddings_lib.__file__).parent, library)

    def strict_run():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        options = ["--nbval", "--nbval-current-env", "--rootdir", str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [*command, "-c", os.devnull, *options, tmp_path / "alarm.ipynb"],
            env=environment,
            capture_output=True,
            text=True,
        )

    unchanged = strict_run()
    assert unchanged.returncode == 0, unchanged.stdout
    for file in library.glob("*.py"):
        text = file.read_text("utf-8")
        file.write_text(text.replace(") -> ", ")  -> "))
    changed = strict_run()
    assert changed.returncode == 1
    assert "mismatch 'text/markdown'" in changed.stdout


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
        assert matplotlib.rcParams["axes.prop_cycle"].by_key()["color"] == show.COLOURS
