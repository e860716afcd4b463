"""What a reader can point at: figures and equations with numbers, mentions of chapters
that lead to them, and an index of the glossary's terms and the library's names.

A chapter reads well as a notebook, so its text holds none of this.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from book._ext import library
from book._ext.chapters import chapters

MENTION = re.compile(r"\b[Cc]hapters? \d+(?:(?:, and |, | and | to )\d+)*")


def by_docname() -> dict:
    return {chapter.docname: chapter for chapter in chapters()}


def number_equations(app, doctree, docname) -> None:
    if chapter := by_docname().get(docname):
        for i, equation in enumerate(doctree.findall(nodes.math_block), start=1):
            equation["number"] = f"{chapter.number}.{i}"
            equation["ids"] = [f"equation-{chapter.number}-{i}"]


def number_figures(app, doctree, docname) -> None:
    if chapter := by_docname().get(docname):
        for i, image in enumerate(list(doctree.findall(nodes.image)), start=1):
            name = f"figure-{chapter.number}-{i}"
            text = f"Figure {chapter.number}.{i}"
            link = nodes.reference("", text, internal=True, refuri=f"#{name}")
            line = nodes.paragraph("", "", link, ids=[name], classes=["figure-number"])
            image.parent.insert(image.parent.index(image) + 1, line)


def link_chapters(app, doctree, docname) -> None:
    """The first mention of each chapter in each section of another."""
    here = by_docname().get(docname)
    if not here:
        return
    pages = {chapter.number: chapter.docname for chapter in chapters()}
    linked = {(section, here.number) for section in doctree.findall(nodes.section)}
    for text in list(doctree.findall(nodes.Text)):
        above = list(library.ancestors(text))
        if not NO_LINKS.isdisjoint(map(type, above)):
            continue
        section = next(filter(library.is_section, above), None)
        content, done = [], 0
        for mention in MENTION.finditer(text):
            single = mention.group().count(" ") == 1
            for number in re.finditer(r"\d+", mention.group()):
                key = section, int(number.group())
                if key in linked or key[1] not in pages:
                    continue
                linked.add(key)
                start = mention.start() + (0 if single else number.start())
                end = mention.start() + number.end()
                target = app.builder.get_relative_uri(docname, pages[key[1]])
                link = nodes.reference(
                    "", text[start:end], internal=True, refuri=target
                )
                content += [nodes.Text(text[done:start]), link]
                done = end
        if content:
            text.parent.replace(text, [*content, nodes.Text(text[done:])])


NO_LINKS = {nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.raw}


class IndexTerms(SphinxTransform):
    """Entries of the index, before Sphinx collects them."""

    default_priority = 800

    def apply(self) -> None:
        docname = self.env.docname
        if docname == "book/glossary":
            for term in self.document.findall(nodes.term):
                name = nodes.make_id(f"term-{term.astext()}")
                term["ids"].append(name)
                term.insert(0, entry(term.astext(), name))
        if docname == library.PAGE:
            for module in library.modules():
                for name in module.names:
                    text = f"{name.name} ({module.name})"
                    self.document.insert(0, entry(text, name.anchor))


def entry(text: str, place: str) -> addnodes.index:
    return addnodes.index(entries=[("single", text, place, "", None)])


def setup(app) -> dict:
    app.add_transform(IndexTerms)
    app.connect("doctree-resolved", number_equations)
    app.connect("doctree-resolved", number_figures)
    app.connect("doctree-resolved", link_chapters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
