"""What a reader can point at: figures and equations with numbers, and an index of the
glossary's terms and the library's names.

A chapter reads well as a notebook, so its text holds none of this.
"""

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from book._ext import library
from book._ext.chapters import chapters


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
    return {"parallel_read_safe": True, "parallel_write_safe": True}
