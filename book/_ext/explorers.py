"""Figures that a reader can touch: the directive `explorer NAME`.

It puts a still figure on the page, drawn from the library, and the script
`_static/explorers/NAME.js` puts the explorer in its place. What a script starts with
stands beside it as JSON; what is large becomes a file of the site, and is loaded by
that page alone. If a download fails, a note takes the place of the explorer.

Where a chapter leads to the page of an explorer, the explorer itself is folded below.
"""

import base64
import html
import json
import math
import re
import zlib
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from docutils import nodes
from docutils.parsers.rst import Directive
from safetensors import safe_open

from book._ext import configurations
from book._ext.config_reader import readable_configs
from embeddings_lib import gpt2_encoding
from embeddings_lib.downloads import AssetError, fetch
from embeddings_lib.exact_angles import wave_rates
from embeddings_lib.experiments.word_vectors import WordVectors
from embeddings_lib.experiments.world import World
from embeddings_lib.model_shape import BYTES
from embeddings_lib.notebook import show_tokens
from embeddings_lib.published_models import PUBLISHED
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.sinusoidal_positions import sinusoidal_encoding
from embeddings_lib.tokenizer import GPT2_PATTERN

# What each explorer shows first; its still figure shows the same.
START = {
    "tokens": {
        "text": "Tokenization isn't magic: 12345 unbelievable 🦙s",
        "examples": [
            "Hello world",
            "hello world",
            " hello world",
            "antidisestablishmentarianism",
            "We'll see; they've gone",
            "31415926535897932384626",
            "Привет, 世界, γειά σου",
            "for i in range(10):\n    print(i)",
            "👩‍🚀👍🏽",
        ],
    },
    "clock": {"position": 5, "other": 8, "embed_dim": 8, "base": 10_000},
    "rotary": {
        "m": 7,
        "n": 4,
        "base": 100,
        "text": "It was the best of times, it was the worst of times, it was the age "
        "of wisdom, it was the age of foolishness",
        "q": [[0.9, 0.2], [0.6, 0.6], [-0.3, 0.8], [0.7, -0.4]],
        "k": [[0.8, -0.3], [0.2, 0.9], [0.5, 0.7], [0.9, 0.1]],
    },
    "wavelengths": {"preset": "Llama 3.1, 131,072 tokens", "pair": 36},
    "config": {"preset": "Llama 3.1 8B", "dtype": "bfloat16"},
    "sizes": {
        "preset": "GPT-2 124M",
        "beside": "Llama 2 7B",
        "dtype": "float32",
        "seq": 1024,
        "batch": 1,
    },
    "words": {
        "word": "monday",
        "a": "man",
        "b": "king",
        "c": "woman",
        "step": 1,
        "inputs": True,
    },
}

_LLAMA3 = {"factor": 8, "low": 1, "high": 4, "original": 8192}


def _rope(base: float, head_dim: int, context: int, scaling: bool = False) -> dict:
    sizes = {"base": base, "head_dim": head_dim, "context": context}
    return sizes | {"scaling": scaling} | _LLAMA3


START["wavelengths"]["options"] = {
    "Llama 1, 2,048 tokens": _rope(10_000, 128, 2048),
    "Llama 2, 4,096 tokens": _rope(10_000, 128, 4096),
    "Llama 3, 8,192 tokens": _rope(500_000, 128, 8192),
    "Llama 3.1, 131,072 tokens": _rope(500_000, 128, 131_072, scaling=True),
}


def _inputs(shape) -> dict:
    """The sizes of a model, as the calculator's inputs are named."""
    return {name: value for name, value in asdict(shape).items() if name != "source"}


START["sizes"] |= {
    "options": {name: _inputs(shape) for name, shape in PUBLISHED.items()},
    "widths": BYTES,
}

COMMON_WORDS = 3000
LEVELS = 31  # a number of a row is stored as a whole number from -31 to 31


def pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def javascript_pattern(pattern: str) -> str:
    """GPT-2's pattern for JavaScript, which has no `++`, and whose `\\s` differs."""
    pattern = pattern.replace("++", "+")
    return pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")


@cache
def vocabulary() -> dict:
    """GPT-2's tokens in the order of their IDs, each as its length and its bytes."""
    tokens = gpt2_encoding().decode_tokens_bytes(range(50_256))
    packed = pack(b"".join(bytes([len(token)]) + token for token in tokens))
    return {"tokens": packed, "pattern": javascript_pattern(GPT2_PATTERN)}


@cache
def trained_words() -> WordVectors:
    """MiniLM's table of chapter 4, for its most common words and those of the world.

    Its vocabulary begins with special tokens and single signs, and from there on common
    words come first.
    """
    names = fetch("minilm_vocabulary").read_text("utf-8").splitlines()
    with safe_open(fetch("minilm_weights"), framework="pt") as weights:
        table = weights.get_tensor("embeddings.word_embeddings.weight")
    first = names.index("the")
    rows = [i for i in range(first, len(names)) if names[i].isascii()]
    rows = [i for i in rows if names[i].isalpha() and len(names[i]) > 1]
    taught = {word.spelling for word in World(0).words}
    rows = rows[:COMMON_WORDS] + [i for i in rows[COMMON_WORDS:] if names[i] in taught]
    return WordVectors([names[i] for i in rows], table[rows])


def whole_rows(vectors: WordVectors) -> torch.Tensor:
    """Each row as whole numbers of one byte, its largest as 31 or -31."""
    rows = vectors.unit_rows
    largest = rows.abs().amax(dim=1, keepdim=True)
    return (rows / largest * LEVELS).round().to(torch.int8)


@cache
def word_table() -> dict:
    vectors = trained_words()
    rows = whole_rows(vectors)
    packed = pack(rows.numpy().tobytes())
    return {"words": " ".join(vectors.words), "dim": rows.shape[1], "rows": packed}


FILES = {"tokens": vocabulary, "words": word_table, "config": readable_configs}
LINKED = re.compile(r"explore/(\w+)\.html$")
FOLDED = '<details class="explorer-folded">'


# Still figures


def svg(width: float, height: float, label: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'class="explorer-chart" role="img" '
        f'aria-label="{html.escape(label)}">{body}</svg>'
    )


def dials(label: str, hands: list[list[tuple[float, float, str]]]) -> str:
    """A circle for each list of hands; a hand is its tip and its name."""
    body = ""
    for i, arrows in enumerate(hands):
        x = 75 + 150 * i
        rim = 'class="explorer-rim" style="stroke-width: 2"'
        body += f'<circle cx="{x}" cy="75" r="60" {rim} />'
        for across, up, name in arrows:
            tip = f'x2="{x + 60 * across:.1f}" y2="{75 - 60 * up:.1f}"'
            body += (
                f'<line x1="{x}" y1="75" {tip} class="explorer-{name}" '
                'stroke="currentcolor" stroke-width="4" stroke-linecap="round" />'
            )
    return svg(150 * len(hands), 150, label, body)


def table(heads: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f'<table class="explorer-table"><thead>{line(heads, "th")}</thead>'
        f"<tbody>{body}</tbody></table>"
    )


def still_tokens(text, **_) -> str:
    return show_tokens(gpt2_encoding(), text)._repr_html_()


def still_clock(position, other, embed_dim, base) -> str:
    both = sinusoidal_encoding(torch.tensor([other, position]), embed_dim, base=base)
    tips = both.unflatten(1, (-1, 2)).transpose(0, 1).tolist()
    label = f"The rows of the positions {position} and {other} as hands of clocks"
    hands = [[(*first, "other"), (*second, "position")] for first, second in tips]
    return dials(label, hands)


def still_rotary(m, n, base, q, k, **_) -> str:
    rotary = RotaryPositions(2 * len(q), base=base, layout="pairs")
    both = torch.tensor([q, k]).flatten(1)[:, None]  # (2, heads, head_dim)
    query, key = rotary(both, both, torch.tensor([m, n]))[0].unflatten(-1, (-1, 2))
    hands = [
        [(*pair_q, "query"), (*pair_k, "key")]
        for pair_q, pair_k in zip(query[0].tolist(), key[0].tolist(), strict=True)
    ]
    label = f"{len(q)} pairs of q, turned to position {m}, and of k, to position {n}"
    return dials(label, hands)


def still_wavelengths(preset, options, **_) -> str:
    head_dim, base = options[preset]["head_dim"], options[preset]["base"]
    context = options[preset]["context"]
    lengths = (2 * math.pi / wave_rates(head_dim, base)).tolist()
    decades = math.ceil(math.log10(max(lengths)))

    def x(tokens: float) -> float:
        return 20 + 660 * math.log10(tokens) / decades

    height = 5 * len(lengths)
    body = "".join(
        f'<circle cx="{x(length):.1f}" cy="{5 * i + 10}" r="3" '
        f'class="explorer-{"whole" if length <= context else "part"}" />'
        for i, length in enumerate(lengths)
    )
    body += f'<path d="M{x(context):.1f} 5 V{height + 10}" class="explorer-context" />'
    for power in range(decades + 1):
        body += (
            f'<text x="{x(10**power):.1f}" y="{height + 30}" text-anchor="middle">'
            f"{10**power:,}</text>"
        )
    label = f"The wavelengths of {len(lengths)} pairs without scaling, in tokens"
    return svg(720, height + 40, label, body)


def still_config(preset, **_) -> str:
    config = configurations.published()[preset]["config"]
    ((kind, _),) = configurations.kinds(config).items()
    rows = zip(configurations.HEADS[2:7], configurations.described(kind), strict=True)
    return table(["rotation", preset], [list(row) for row in rows])


def still_sizes(preset, dtype, **_) -> str:
    shape = PUBLISHED[preset]
    total = shape.total()
    rows = [
        [part, f"{count:,}", f"{count / total:.1%}"]
        for part, count in shape.parameters().items()
    ]
    rows.append(["all", f"{total:,}", f"{shape.bytes(dtype):,} bytes in {dtype}"])
    return table(["part", "parameters", "share"], rows)


def still_words(word, a, b, c, inputs, **_) -> str:
    vectors = trained_words()
    near = vectors.nearest(word, k=8)
    answers = vectors.analogy(a, b, c, exclude_inputs=not inputs, k=8)
    heads = [f"nearest to {word}", "cosine", f"{a} is to {b} as {c} is to", "cosine"]
    rows = [
        [left, f"{cosine:.2f}", right, f"{other:.2f}"]
        for (left, cosine), (right, other) in zip(near, answers, strict=True)
    ]
    return table(heads, rows)


STILLS = {
    "tokens": still_tokens,
    "clock": still_clock,
    "rotary": still_rotary,
    "wavelengths": still_wavelengths,
    "config": still_config,
    "sizes": still_sizes,
    "words": still_words,
}


def figure(name: str) -> str:
    """The HTML of an explorer as it stands before its script runs."""
    if name in FILES:
        FILES[name]()
    start = json.dumps(START[name]).replace("<", "\\u003c")
    return (
        f'<div class="explorer-place"><div class="explorer" data-explorer="{name}">'
        f'<div class="explorer-still">{STILLS[name](**START[name])}</div>'
        f'<script type="application/json">{start}</script></div></div>'
    )


class Explorer(Directive):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in STILLS:
            raise self.error(f"no explorer {name!r}: take one of {', '.join(STILLS)}")
        env = self.state.document.settings.env
        try:
            content = figure(name)
        except AssetError as error:
            text = "This figure needs a file that was not to be had when the site was "
            text += f"built. {str(error).splitlines()[0]}"
            return [nodes.note("", nodes.paragraph("", text))]
        env.metadata[env.docname]["explorer"] = name
        return [nodes.raw("", content, format="html")]


def fold(app, doctree, docname) -> None:
    """Below a paragraph of a chapter that leads to an explorer: the explorer."""
    if not docname.startswith("chapters/") or app.builder.name != "html":
        return
    for link in list(doctree.findall(nodes.reference)):
        page = LINKED.search(link.get("refuri", ""))
        if page and app.env.metadata[f"book/explore/{page[1]}"].get("explorer"):
            content = f"{FOLDED}<summary>Touch it here</summary>"
            content += f"{figure(page[1])}</details>"
            paragraph = link.parent
            while not isinstance(paragraph, nodes.paragraph):
                paragraph = paragraph.parent
            below = paragraph.parent.index(paragraph) + 1
            paragraph.parent.insert(below, nodes.raw("", content, format="html"))


def add_scripts(app, pagename, templatename, context, doctree) -> None:
    name = app.env.metadata.get(pagename, {}).get("explorer")
    folded = FOLDED in context.get("body", "")
    if name or folded:
        app.add_css_file("explorers/explorers.css")
    for script in ("kit", name) if name else ("folded",) if folded else ():
        app.add_js_file(f"explorers/{script}.js", loading_method="defer")


def write_files(app, exception) -> None:
    if exception or app.builder.name != "html":
        return
    used = {page.get("explorer") for page in app.env.metadata.values()}
    for name in used & FILES.keys():
        place = Path(app.outdir, "_static", "explorers", f"{name}.data.js")
        content = json.dumps(FILES[name](), ensure_ascii=False)
        place.write_text(f"Explorers.data.{name} = {content};\n", encoding="utf-8")


def setup(app) -> dict:
    app.add_directive("explorer", Explorer)
    app.connect("doctree-resolved", fold)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
