"""The rotation of published models as a table: the directive `configurations`.

It is computed by the library from `chapters/configurations.json`: for each model and
each kind of its layers, what turns, how fast, and how far the file lets a text go. A
click on a heading sorts it; on narrow pages each row becomes a card.
"""

import html
import json
import math
from dataclasses import dataclass

from docutils import nodes
from docutils.parsers.rst import Directive

from book._ext.chapters import ROOT
from embeddings_lib import rotary_from_config
from embeddings_lib._configurations import rotation_of

PAGE = "book/configurations"
DATA = ROOT / "chapters/configurations.json"
HEADS = (
    "model",
    "layers",
    "pairs",
    "base",
    "features that turn",
    "scaling",
    "slowest wave",
    "longest text",
)


@dataclass(frozen=True)
class Turning:
    """How the layers of one kind turn; `None` in its place is a layer without."""

    layout: str
    base: float
    rotary_dim: int
    head_dim: int
    scaling: str
    growth: float
    slowest: float  # the longest wave that turns at all, in tokens


def published() -> dict[str, dict]:
    """Each model's name, and its `source` and `config`."""
    return json.loads(DATA.read_text("utf-8"))


def longest_text(config: dict) -> int | None:
    text = config.get("text_config", config)
    return text.get("max_position_embeddings", text.get("n_positions"))


def kinds(config: dict) -> dict[Turning | None, list[int]]:
    """The kinds of layers of a model, each with the layers that are of it."""
    text = config.get("text_config", config)
    layers = text.get("num_hidden_layers", text.get("n_layer", 1))
    alike = {}
    for layer in range(layers):
        alike.setdefault(repr(rotation_of(config, None, layer, None)), []).append(layer)
    return {turning(config, layers[0]): layers for layers in alike.values()}


def turning(config: dict, layer: int) -> Turning | None:
    rotary = rotary_from_config(config, layer=layer, seq=longest_text(config))
    if rotary is None:
        return None
    rates = rotary.angles.rates
    return Turning(
        layout=rotary.layout,
        base=rotary.base,
        rotary_dim=2 * int((rates > 0).sum()),
        head_dim=rotary.head_dim,
        scaling=rotation_of(config, None, layer, None).kind,
        growth=rotary.angles.radius,
        slowest=2 * math.pi / rates[rates > 0].min().item(),
    )


def table() -> str:
    rows = "".join(
        row(name, kind, layers, among=len(found), longest=longest_text(entry["config"]))
        for name, entry in published().items()
        for found in [kinds(entry["config"])]
        for kind, layers in found.items()
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        f'<table class="table sortable cards"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def row(name, kind, layers, *, among: int, longest: int | None) -> str:
    where = f"{len(layers)}" if among > 1 else "all"
    still = ["–", "–", "0", "–", "–"]
    cells = [where, *(described(kind) if kind else still), number(longest)]
    inside = "".join(
        f'<td data-label="{head}">{cell}</td>'
        for head, cell in zip(HEADS[1:], cells, strict=True)
    )
    return f'<tr><th scope="row">{html.escape(name)}</th>{inside}</tr>'


def described(kind: Turning) -> list[str]:
    grown = f", ×\u00a0{kind.growth:.4f}" if kind.growth != 1 else ""
    return [
        kind.layout,
        number(kind.base),
        f"{kind.rotary_dim} of {kind.head_dim}",
        kind.scaling + grown,
        number(kind.slowest),
    ]


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def sources() -> str:
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(entry['source'])}</dd>"
        for name, entry in published().items()
    )
    return f"<details><summary>Sources</summary><dl>{items}</dl></details>"


class Configurations(Directive):
    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", table() + sources(), format="html")]


def add_script(app, pagename, templatename, context, doctree) -> None:
    if pagename == PAGE:
        app.add_js_file("sortable.js", loading_method="defer")


def setup(app) -> dict:
    app.add_directive("configurations", Configurations)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
