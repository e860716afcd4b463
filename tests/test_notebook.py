import ast
import cmath
import inspect
import math
import shutil
import textwrap
from pathlib import Path

import matplotlib
import nbformat
import pytest
import torch
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook

import embeddings_lib
from embeddings_lib import (
    Llama,
    ModelShape,
    RotaryPositions,
    TinyLM,
    TokenEmbedding,
    notebook,
    train_bpe,
)
from embeddings_lib.notebook import (
    draw_boxes,
    draw_clock,
    say,
    show_source,
    show_table,
    show_tokens,
    use_figure_style,
)
from tests import notebooks, strict_runs


def test_source_is_the_files_own_lines_in_order():
    source = show_source(TokenEmbedding)
    file = iter(Path(inspect.getfile(TokenEmbedding)).read_text("utf-8").splitlines())
    assert all(line in file for line in repr(source).splitlines())
    assert source._repr_markdown_() == f"```python\n{source!r}\n```"


@pytest.mark.parametrize("thing", [TokenEmbedding, TinyLM, ModelShape, train_bpe])
def test_source_without_docstrings_is_the_same_program(thing):
    whole = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    for node in ast.walk(whole):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]
    assert '"""' not in repr(show_source(thing))
    assert ast.dump(ast.parse(repr(show_source(thing)))) == ast.dump(whole)


def test_a_table_is_markdown_with_its_numbers_where_one_wants_them():
    table = show_table(["model", "tokens"], {"GPT-2": 1024}.items(), "--:")
    lines = ["| model | tokens |", "| --- | --: |", "| GPT-2 | 1024 |"]
    assert table._repr_markdown_().splitlines() == lines
    assert repr(table).splitlines() == lines


def test_source_keeps_decorators_comments_and_a_body_that_is_a_docstring_alone():
    assert repr(show_source(Documented)) == SHOWN


def marked(thing):
    return thing


@marked
class Documented:
    """What it is for."""

    class Problem(ValueError):
        """It has only a name."""

    @marked
    def thrice(self, number: int) -> int:
        """The third
        multiple.
        """
        # three times

        return 3 * number


SHOWN = '''@marked
class Documented:
    class Problem(ValueError):
        """It has only a name."""

    @marked
    def thrice(self, number: int) -> int:
        # three times

        return 3 * number'''


def test_source_of_a_method_starts_at_the_margin():
    assert repr(show_source(ModelShape.total)).startswith("def total(")


def test_source_of_several_things_is_one_listing():
    both = show_source(marked, Documented)
    assert repr(both) == f"def marked(thing):\n    return thing\n\n{SHOWN}"


@pytest.mark.parametrize("thing", [3, len, "text"])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="class, function or method written in Python"):
        show_source(thing)


def cells_of_the_alarm(path):
    """A chapter's imports, and its cells that show source, with stored outputs."""
    cells = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    return cells[0], [cell for cell in cells[1:] if "show_source(" in cell.source]


SHOWING = [path for path in notebooks.CHAPTERS if cells_of_the_alarm(path)[1]]


@pytest.fixture(scope="module")
def alarms(tmp_path_factory):
    """What a strict run says of the cells of each chapter that show source, first with
    the library as it is, and then with a changed one: chapter -> two lists.
    """
    folder = tmp_path_factory.mktemp("alarms")
    cells, names = [new_code_cell("import sys\nsys.path.insert(0, '')")], {}
    for path in SHOWING:
        imports, shown = cells_of_the_alarm(path)
        cells += [imports, *shown]
        names[path] = [f"Cell {len(cells) - n}" for n in range(len(shown), 0, -1)]
    for number, cell in enumerate(cells):  # two chapters may share an id
        cell["id"] = f"cell-{number}"
    for library in ("unchanged", "changed"):
        copy = folder / library / "embeddings_lib"
        shutil.copytree(Path(embeddings_lib.__file__).parent, copy)
        nbformat.write(new_notebook(cells=cells), folder / library / "alarm.ipynb")
    for file in copy.rglob("*.py"):
        file.write_text(file.read_text("utf-8").replace("def ", "def  "), "utf-8")
    said = strict_runs.verdicts(folder)
    return {
        path: [
            [said[f"{library}.alarm.ipynb", cell] for cell in names[path]]
            for library in ("unchanged", "changed")
        ]
        for path in SHOWING
    }


@pytest.mark.parametrize("path", SHOWING, ids=lambda path: path.stem)
def test_a_library_that_changed_fails_the_chapter_that_shows_it(path, alarms):
    unchanged, changed = alarms[path]
    assert set(unchanged) == {""}
    assert all("mismatch 'text/markdown'" in verdict for verdict in changed)


def test_nearly_every_chapter_shows_source_of_the_library():
    assert len(SHOWING) >= len(notebooks.CHAPTERS) - 2


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


def test_a_hand_of_a_clock_points_where_its_complex_number_does():
    axes = Figure().subplots()
    angles = [0.0, 2.0, -40.0]
    draw_clock(axes, [(angle, "C0") for angle in angles])
    tips = [complex(*line.get_xydata()[1]) for line in axes.lines]
    assert tips == pytest.approx([cmath.rect(1, angle) for angle in angles])


@pytest.mark.parametrize("width", [0.5, 3.0, 7.0])
def test_a_sector_is_as_wide_as_its_angles_up_to_a_whole_turn(width):
    axes = Figure().subplots()
    draw_clock(axes, [], sector=(1.0, 1.0 + width))
    sector = axes.patches[1]
    drawn = math.radians(sector.theta2 - sector.theta1)
    assert drawn == pytest.approx(min(width, 2 * math.pi))


def test_boxes_stand_side_by_side_each_around_its_text():
    axes = Figure().subplots()
    draw_boxes(axes, ["a", "b"], x=3, y=1, colors=["C1", "C2"])
    for place, (box, text) in enumerate(zip(axes.patches, axes.texts, strict=True)):
        left, right = box.get_x(), box.get_x() + box.get_width()
        assert 3 + place <= left < text.get_position()[0] < right <= 4 + place
        color = matplotlib.colors.to_rgb(f"C{place + 1}")
        assert box.get_facecolor()[:3] == color


@pytest.fixture
def speaker():
    """A model of bytes, and its encoding."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 256, "embed_dim": 16, "layers": 2, "heads": 2}
    shape = ModelShape(**sizes, gated=True, biases="none")
    return Llama(shape, RotaryPositions(head_dim=8)), train_bpe("", vocab_size=256)


def test_each_prompt_is_continued_as_if_it_were_alone(speaker):
    model, encoding = speaker
    with torch.no_grad():
        model.token_table.weight.mul_(100)  # so that no race is close
    model.head = torch.nn.Linear(16, 256, bias=False)
    prompts = ["A cat", "Two cats and a rat"]
    for prompt, said in zip(prompts, say(model, encoding, prompts, 4), strict=True):
        tokens = model.generate(torch.tensor(encoding.encode(prompt)), 4).tolist()
        assert said == f"{prompt} …{encoding.decode(tokens)}".replace("\n", "⏎")


def test_a_prompt_may_come_with_ids_of_another_list(speaker):
    model, encoding = speaker
    (said,) = say(model, encoding, ["A"], 1, encode=lambda prompt: [66])
    assert said.startswith("A …")
    assert said.removeprefix("A …") == say(model, encoding, ["B"], 1)[0][3:]


def test_a_close_race_is_refused_as_machines_might_disagree(speaker):
    model, encoding = speaker
    with torch.no_grad():
        model.token_table.weight.zero_()
    with pytest.raises(ValueError, match=r"got a lead of 0\.0000"):
        say(model, encoding, ["A cat"])
