"""What a page is about, for search engines and for previews of links: its first
paragraph, and its first figure, or else the card of the whole book.
"""

import html
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

import torch
from docutils import nodes
from matplotlib.figure import Figure

from embeddings_lib.sinusoidal_positions import sinusoidal_encoding

CARD = "_static/card.png"


def first_paragraph(doctree) -> str:
    """The text of the first paragraph that stands in a section itself, in one line."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            return " ".join(paragraph.astext().split())
    return ""


def first_figure(app, doctree) -> str:
    """Its place in the site; a preview cannot draw SVG."""
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            return f"{app.builder.imagedir}/{Path(image['uri']).name}"
    return CARD


def site_address(app) -> str:
    """Where the site is published: as configured, or else as GitHub does it."""
    found = getattr(app, "book_source", None)
    host, path = urlsplit(found[0])[1:3] if found else ("", "")
    owner, _, name = path.strip("/").partition("/")
    pages = f"https://{owner}.github.io/{name}/" if host == "github.com" else ""
    return app.config.html_baseurl or pages


def describe(app, pagename, templatename, context, doctree) -> None:
    if doctree is None or not (text := first_paragraph(doctree)):
        return
    title = app.env.titles[pagename].astext()
    base, figure = site_address(app), first_figure(app, doctree)
    image = base + figure if base else context["pathto"](figure, 1)
    for attribute, name, content in (
        ("name", "description", text),
        ("name", "twitter:card", "summary_large_image"),
        ("property", "og:description", text),
        ("property", "og:title", title),
        ("property", "og:type", "article"),
        ("property", "og:image", image),
    ):
        context["metatags"] += (
            f'\n<meta {attribute}="{name}" content="{html.escape(content)}" />'
        )


def draw_card(app, exception) -> None:
    """The title of the book beside a table of positions, in the size of a preview."""
    if exception or app.builder.name != "html":
        return
    figure = Figure(figsize=(12, 6.3), dpi=100)
    table = figure.add_axes((0.6, 0, 0.4, 1))
    table.imshow(
        sinusoidal_encoding(torch.arange(63), 48), cmap="RdBu_r", aspect="auto"
    )
    table.set_axis_off()
    title = textwrap.fill(app.config.project, 16)
    figure.text(0.05, 0.5, title, size=44, weight="bold", va="center")
    figure.savefig(Path(app.outdir, CARD), metadata={"Software": None})


def setup(app) -> dict:
    app.connect("html-page-context", describe)
    app.connect("build-finished", draw_card)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
