"""Formulas as MathML, which browsers draw and screen readers read without a script, and
the font of the signs that they use.
"""

import re
import unicodedata
from importlib.metadata import files
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from sphinx.locale import _

from book._ext.icons import part_of

FONT = "STIXTwoMath-Regular.ttf"  # it comes with ziamath
# A browser draws a letter x that stands alone as its italic sign.
ITALIC = {
    unicodedata.normalize("NFKC", sign): sign
    for sign in ["\N{PLANCK CONSTANT}", *map(chr, range(0x1D434, 0x1D7CC))]
    if "MATHEMATICAL ITALIC" in unicodedata.name(sign, "") or sign == "ℎ"
}

ROOT = "√"  # drawn by the browser, though no formula has it as text
FUNCTIONS = {"cos", "exp", "ln", "log", "max", "min", "sin"}
OPENING = set("([{,;=<>≤≥≈≠∈→+−·×/")
PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3}
THIN = "0.1667em"
PUNCTUATED = re.compile(r'(<span class="math">(?:(?!</span>).)*</span>[.,:;?!)]+)')
SPACES = {"/": "0", "∂": "0", "…": THIN}


def mathml(tex: str, display: str) -> str:
    # The converter knows `aligned` by its other name.
    known = tex.replace("{aligned}", "{split}")
    try:
        formula = BeautifulSoup(convert(known, display=display), "html.parser")
    except Exception:
        formula = None
    if formula is None or incomplete(formula):
        raise ValueError(
            "a formula must be TeX that latex2mathml can read, because browsers draw "
            f"what it makes; got {tex!r}: check its commands and braces"
        )
    return str(spaced(formula))


def incomplete(formula: BeautifulSoup) -> bool:
    """Whether a command, or a part of a fraction or an index, was not understood."""
    return "\\" in formula.get_text() or any(
        len(part.find_all(recursive=False)) != PARTS[part.name]
        for part in formula.find_all(list(PARTS))
    )


def spaced(formula: BeautifulSoup) -> BeautifulSoup:
    """The formula with the spaces that TeX gives to signs and to names of functions."""
    for word in formula.find_all("mtext", string=re.compile(r"^\w\w+$")):
        word.name = "mi"  # signs beside a text would count as part of it
    for operator in formula.find_all("mo"):
        sign, before = operator.get_text(), operator.find_previous_sibling()
        if sign in SPACES:
            operator.attrs |= {"lspace": SPACES[sign], "rspace": SPACES[sign]}
        elif sign == "‖":
            operator.attrs |= {"lspace": "0", "rspace": "0", "stretchy": "false"}
        elif sign == "−" and before and (before.get_text() in OPENING | FUNCTIONS):
            operator["form"] = "prefix"
    for function in formula.find_all("mi", string=FUNCTIONS):
        while function.parent.name.startswith(("msu", "mund")):
            function = function.parent
        before, after = function.find_previous_sibling(), function.find_next_sibling()
        if before and before.name != "mo":
            function.insert_before(formula.new_tag("mspace", width=THIN))
        if after:
            applied = formula.new_tag("mo", lspace="0", rspace="0")
            applied.string = "\N{FUNCTION APPLICATION}"
            if after.name != "mo":
                applied["rspace"] = THIN
            function.insert_after(applied)
    return formula


def inline(self, node) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math"))
    self.body.append(mathml(node.astext(), "inline") + "</span>")
    raise nodes.SkipNode


def block(self, node) -> None:
    self.body.append(self.starttag(node, "div", "", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append(f"<div>{mathml(node.astext(), 'block')}</div></div>\n")
    raise nodes.SkipNode


def join_punctuation(app, pagename, templatename, context, doctree) -> None:
    """Let no line begin with the comma after a formula."""
    if "body" in context:
        joined = r'<span class="joined">\1</span>'
        context["body"] = PUNCTUATED.sub(joined, context["body"])


def signs(site: Path) -> set[int]:
    """The characters in the formulas of all pages, upright and as drawn."""
    pages = (path.read_text("utf-8") for path in site.rglob("*.*html"))
    used = {
        character
        for page in pages
        if "<math" in page
        for formula in BeautifulSoup(page, "lxml").find_all("math")
        for character in formula.get_text()
    }
    used.add(ROOT)
    return {ord(sign) for each in used for sign in (each, ITALIC.get(each, each))}


def narrow_roots(font: TTFont) -> None:
    """Make tall roots as narrow as the usual one: browsers keep room for the widest."""
    root = font.getBestCmap()[ord(ROOT)]
    variants = font["MATH"].table.MathVariants
    place = variants.VertGlyphCoverage.glyphs.index(root)
    taller = variants.VertGlyphConstruction[place]
    names = {record.VariantGlyph for record in taller.MathGlyphVariantRecord}
    names |= {part.glyph for part in taller.GlyphAssembly.PartRecords}
    width, _ = font["hmtx"][root]
    for name in names:
        before, bearing = font["hmtx"][name]
        font["glyf"][name].coordinates.scale((width / before, 1))
        font["hmtx"][name] = width, round(bearing * width / before)


def save_font(site: Path) -> None:
    (whole,) = (file.locate() for file in files("ziamath") if file.name == FONT)
    font = part_of(whole, signs(site))
    narrow_roots(font)
    font.save(site / "_static/maths.woff")


def finish(app, exception) -> None:
    if not exception and app.builder.name == "html":
        save_font(Path(app.outdir))


def setup(app) -> dict:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("html-page-context", join_punctuation)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
