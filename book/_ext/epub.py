"""The ePub: the site's pages without its scripts and styles."""

import posixpath
import re
import shutil
import uuid
from pathlib import Path

from docutils import nodes
from sphinx.builders.epub3 import Epub3Builder

import embeddings_lib
from book._ext import mathematics

STATIC = {
    *("cover.svg", "epub.css", "file.png", "maths.css", "pygments.css", "reader.css")
}
UNCLOSED = re.compile(r"<(br|hr|img|input)\b([^>]*?)\s*/?>")


class Epub(Epub3Builder):
    """Sphinx's, for a book whose first page is not at the top of its folder."""

    def get_toc(self) -> None:
        super().get_toc()
        for item in self.refnodes:  # such as book/../chapters/01_text_to_tokens.xhtml
            item["refuri"] = posixpath.normpath(item["refuri"])

    def build_content(self) -> None:
        for file in Path(self.outdir, "_static").iterdir():
            if file.is_dir():
                shutil.rmtree(file)
            elif file.name not in STATIC:
                file.unlink()
        mathematics.save_font(Path(self.outdir))
        super().build_content()
        self.declare_properties()

    def declare_properties(self) -> None:
        """Say which pages hold formulas and drawings, as the standard asks."""

        def declared(item: re.Match) -> str:
            text = Path(self.outdir, item["page"]).read_text("utf-8")
            held = {"mathml": "<math", "svg": "<svg"}
            properties = " ".join(name for name, tag in held.items() if tag in text)
            added = f' properties="{properties}"' if properties else ""
            return item.group().replace(" />", f"{added} />")

        manifest = Path(self.outdir, "content.opf")
        content = manifest.read_text("utf-8")
        item = re.compile(r'<item [^>]*href="(?P<page>[^"]*\.xhtml)"[^>]* />')
        manifest.write_text(
            item.sub(lambda m: m[0] if "properties" in m[0] else declared(m), content),
            "utf-8",
        )


def keep_styles(app, pagename, templatename, context, doctree) -> None:
    if app.builder.name == "epub":
        context["script_files"] = []
        context["css_files"] = [
            file for file in context["css_files"] if Path(file.filename).name in STATIC
        ]


def close_tags(app, doctree, docname) -> None:
    """Raw HTML as XHTML."""
    if app.builder.name == "epub":
        for raw in list(doctree.findall(nodes.raw)):
            text = UNCLOSED.sub(r"<\1\2 />", raw.astext())
            raw.replace_self(nodes.raw("", text, format=raw["format"]))


def describe(app, config) -> None:
    config.version = config.release = embeddings_lib.__version__
    config.epub_cover = ("_static/cover.svg", "")
    config.epub_uid = "book"
    config.epub_identifier = uuid.uuid5(uuid.NAMESPACE_URL, config.project).urn
    config.epub_contributor = config.author


def setup(app) -> dict:
    app.add_builder(Epub, override=True)
    app.connect("config-inited", describe)
    app.connect("doctree-resolved", close_tags, priority=900)
    app.connect("html-page-context", keep_styles, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
