"""What a notebook shows: the library's source, a text cut into tokens, a table, what a
model says, the one figure style.
"""

import ast
import html
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import tiktoken
import torch
import torch.nn.functional as F

from embeddings_lib.llama import Llama, left_pad

# Colours of Okabe and Ito 2008, which colour-blind readers can tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]


@dataclass(frozen=True, repr=False)
class Source:
    """Python source, highlighted where Markdown is rendered and plain elsewhere."""

    text: str

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"

    def __repr__(self) -> str:
        return self.text


def show_source(*things) -> Source:
    """The code of classes, functions or methods, as the library has it now.

    In a notebook it becomes a stored output, which a strict run compares: a library
    that changes without its chapter fails the chapter's test. Docstrings are left out,
    as the chapter explains in its own words; `help` prints them.

    >>> show_source(default_device)
    def default_device() -> torch.device:
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")

    Several things are one listing, in the order given.

    Raises TypeError for an object that has no Python source, such as a number or a
    builtin.
    """
    return Source("\n\n".join(map(_code, things)))


def _code(thing) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (OSError, TypeError):
        raise TypeError(
            "show_source needs a class, function or method written in Python, because "
            f"it reads the file that defines it; got {thing!r}"
        ) from None
    dropped = docstring_lines(text)
    lines = enumerate(text.splitlines(), start=1)
    return "\n".join(line for number, line in lines if number not in dropped)


def docstring_lines(text: str) -> set[int]:
    r"""The numbers of the lines that docstrings take, and blank lines right after them.

    >>> docstring_lines('def double(x):\n    "Twice x."\n    return 2 * x')
    {2}

    A docstring that is all that its class or function holds stays, for without it the
    code would not be Python.
    """
    lines, found = text.splitlines(), set()
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) and len(node.body) > 1:
            first, last = node.body[0].lineno, node.body[0].end_lineno
            while last < len(lines) and not lines[last].strip():
                last += 1
            found.update(range(first, last + 1))
    return found


@dataclass(frozen=True, repr=False)
class Tokens:
    """A text cut into tokens, each above its ID; coloured where HTML is shown."""

    pieces: tuple[str, ...]
    ids: tuple[int, ...]

    def _repr_html_(self) -> str:
        boxes = "".join(map(self._box, range(len(self.ids))))
        return f'<div style="line-height:1.25">{boxes}</div>'

    def _box(self, i: int) -> str:
        red, green, blue = (int(COLOURS[i % 6][at : at + 2], 16) for at in (1, 3, 5))
        return (
            '<span style="display:inline-block;margin:2px;padding:3px 6px;'
            "border-radius:5px;text-align:center;"
            f'background:rgba({red},{green},{blue},0.25)">'
            f'<code style="background:none;border:0;padding:0;color:inherit">'
            f"{html.escape(self.pieces[i])}</code><br>"
            f'<span style="font-size:0.75em">{self.ids[i]}</span></span>'
        )

    def __repr__(self) -> str:
        return " ".join(
            f"{piece}={id}" for piece, id in zip(self.pieces, self.ids, strict=True)
        )


def show_tokens(encoding: tiktoken.Encoding, text: str) -> Tokens:
    r"""The tokens of `text`, with a space drawn as · and a line end as ⏎.

    >>> from embeddings_lib import train_bpe
    >>> show_tokens(train_bpe("a cat, a rat", vocab_size=258), "a rat")
    a=97 ·=32 r=114 at=256

    A token that is not whole characters is shown as its bytes, such as \xf0\x9f.
    """
    ids = tuple(encoding.encode(text, disallowed_special=()))
    return Tokens(tuple(map(_readable, encoding.decode_tokens_bytes(ids))), ids)


def _readable(token: bytes) -> str:
    try:
        return token.decode().replace(" ", "·").replace("\n", "⏎")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)


@dataclass(frozen=True, repr=False)
class Table:
    """Lines of Markdown, a table where Markdown is rendered."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def show_table(head: list[str], rows: Iterable[Iterable], align: str = "---") -> Table:
    """Rows of anything under the heads of their columns.

    >>> show_table(["model", "columns"], [["GPT-2", 768], ["GPT-3", 12_288]])
    | model | columns |
    | --- | --- |
    | GPT-2 | 768 |
    | GPT-3 | 12288 |

    `align` is Markdown's mark for all columns but the first; "--:" sets them right.
    """
    lines = [head, ["---"] + [align] * (len(head) - 1), *rows]
    return Table("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


@torch.no_grad()
def say(
    model: Llama,
    encoding: tiktoken.Encoding,
    prompts: list[str],
    new_tokens: int = 8,
    *,
    encode: Callable[[str], list[int]] | None = None,
) -> list[str]:
    """Each prompt and how the model continues it, with a line end as ⏎.

    >>> from embeddings_lib import load_smollm2
    >>> say(*load_smollm2(), ["The capital of France is"], 2)
    ['The capital of France is … Paris.']

    All prompts are read at once. `encode` makes their IDs in the place of `encoding`.

    Raises ValueError where the two likeliest tokens have almost the same score: then
    another machine, which rounds in another way, might say something else.
    """
    token_ids, real = left_pad(list(map(encode or encoding.encode, prompts)))
    said = model.generate(token_ids, new_tokens, real=real)
    real = F.pad(real, (0, new_tokens - 1), value=True)
    x = model.hidden(
        torch.cat([token_ids, said], dim=1)[:, :-1],
        positions=(real.cumsum(-1) - 1).clamp(min=0),
        mask=real[:, None],
    )
    first, second = model.scores(x[:, -new_tokens:]).topk(2).values.unbind(-1)
    lead = (first - second).min().item()
    if lead < 0.01:
        raise ValueError(
            "the likeliest token must lead by 0.01, so that every machine says the "
            f"same; got a lead of {lead:.4f}"
        )
    texts = (text.replace("\n", "⏎") for text in encoding.decode_batch(said.tolist()))
    return [f"{prompt} …{text}" for prompt, text in zip(prompts, texts, strict=True)]


def use_figure_style() -> None:
    """Make every following matplotlib figure look like the book's."""
    import matplotlib

    matplotlib.rcParams.update(
        {
            "figure.figsize": (6.4, 3.2),
            "figure.dpi": 150,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "image.cmap": "RdBu_r",
        }
    )


def draw_clock(
    axes,
    hands: Iterable[tuple],
    sector: tuple | None = None,
    color: str = "C2",
) -> None:
    """Draw a clock face: a hand for each (angle, colour), a sector from angle to angle.

    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw_clock(axes, [(0.5, "C1"), (2.0, "C0")], sector=(0.5, 2.0))
    >>> len(axes.lines)
    2

    Angles are in radians, counterclockwise from three o'clock. A sector that is more
    than a turn is the whole face.
    """
    from matplotlib.patches import Circle, Wedge

    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.8"))
    if sector is not None:
        first, last = sector
        ends = math.degrees(first), math.degrees(min(last, first + math.tau))
        axes.add_patch(Wedge((0, 0), 0.7, *ends, color=color, alpha=0.3, linewidth=0))
    for angle, hand in hands:
        tip = math.cos(angle), math.sin(angle)
        axes.plot([0, tip[0]], [0, tip[1]], color=hand, linewidth=2)
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def draw_boxes(
    axes,
    texts: Iterable,
    x: int | float = 0,
    y: int | float = 0,
    colors: str | list[str] = "C0",
) -> None:
    """Draw a row of boxes from (x, y) to the right, a text in each.

    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw_boxes(axes, [504, 3575, 282])
    >>> [box.get_text() for box in axes.texts]
    ['504', '3575', '282']

    Each box takes one unit of both axes. `colors` is one for all or one for each.
    """
    from matplotlib.patches import Rectangle

    for place, text in enumerate(texts):
        color = colors if isinstance(colors, str) else colors[place]
        corner = x + place + 0.04, y + 0.07
        axes.add_patch(Rectangle(corner, 0.92, 0.86, color=color, alpha=0.3))
        axes.text(x + place + 0.5, y + 0.5, text, ha="center", va="center")


def default_device() -> torch.device:
    """The fastest device at hand: a CUDA GPU, else Apple's GPU, else the CPU.

    >>> torch.zeros(2, device=default_device()).sum().item()
    0.0
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
