"""Icons without their 1.5 MB of script and 150 kB of font: the site gets a font of
those that its pages use.
"""

import logging
import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

# It would log every table that it drops from the font.
logging.getLogger(subset.__name__).setLevel(logging.WARNING)
GLYPH = re.compile(r"((?:\.[\w-]+:before,?)+)\{content:\"\\(\w+)\"\}")
FAMILY = re.compile(r'\{[^{}]*content:"\\(f\w+)"[^{}]*Font Awesome[^{}]*\}')


def glyphs(static: Path) -> dict[str, int]:
    """Class of an icon -> its place in the font, as the theme's styles give them."""
    styles = (static / "styles/pydata-sphinx-theme.css").read_text("utf-8")
    return {
        name: int(place, 16)
        for names, place in GLYPH.findall(styles)
        for name in re.findall(r"fa-[\w-]+", names)
    }


def used(site: Path) -> set[int]:
    """The places of the icons on all pages, in the theme's scripts and styles."""
    static = site / "_static"
    readers = [path for path in site.rglob("*.html") if static not in path.parents]
    readers += [
        static / "scripts" / f"{name}-theme.js"
        for name in ("pydata-sphinx", "sphinx-book")
    ]
    text = "".join(path.read_text("utf-8") for path in readers)
    known = glyphs(static)
    places = {
        known[name] for name in set(re.findall(r"fa-[\w-]+", text)) & known.keys()
    }
    style = (static / "styles/sphinx-book-theme.css").read_text("utf-8")
    return places | {int(place, 16) for place in FAMILY.findall(style)}


def part_of(path: Path, places: set[int]) -> TTFont:
    """A font of these characters alone."""
    options = subset.Options(layout_features=[], name_IDs=["*"])  # with its licence
    font = subset.load_font(path, options)
    choice = subset.Subsetter(options)
    choice.populate(unicodes=places)
    choice.subset(font)
    font.flavor = "woff"
    return font


def make_font(app, exception) -> None:
    if exception or app.builder.name != "html":
        return
    static = Path(app.outdir, "_static")
    whole = static / "vendor/fontawesome/webfonts/fa-solid-900.ttf"
    part_of(whole, used(static.parent)).save(static / "icons.woff")


def setup(app) -> dict:
    app.connect("build-finished", make_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
