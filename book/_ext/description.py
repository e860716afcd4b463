"""A page's first paragraph becomes its description, for search engines and for previews
of links.
"""

import html

from docutils import nodes


def first_paragraph(doctree) -> str:
    """The text of the first paragraph that stands in a section itself, in one line."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            return " ".join(paragraph.astext().split())
    return ""


def describe(app, pagename, templatename, context, doctree) -> None:
    if doctree is None or not (text := first_paragraph(doctree)):
        return
    title = app.env.titles[pagename].astext()
    for attribute, name, content in (
        ("name", "description", text),
        ("property", "og:description", text),
        ("property", "og:title", title),
        ("property", "og:type", "article"),
    ):
        context["metatags"] += (
            f'\n<meta {attribute}="{name}" content="{html.escape(content)}" />'
        )


def setup(app) -> dict:
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
