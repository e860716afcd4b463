"""The chapters: their notebooks, and what `chapters/chapters.yml` says of each."""

import ast
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import nbformat
import yaml
from mdit_py_plugins.anchors.index import slugify
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Chapter:
    docname: str
    part: str

    @cached_property
    def number(self) -> int:
        return int(Path(self.docname).name[:2])

    @cached_property
    def cells(self) -> list[nbformat.NotebookNode]:
        return nbformat.read(ROOT / f"{self.docname}.ipynb", as_version=4).cells

    @cached_property
    def title(self) -> str:
        """The title without its number."""
        return HEADING.search(self.cells[0].source).group(1).split(". ", 1)[1]

    @property
    def minutes(self) -> int:
        return self.facts["minutes"]

    @property
    def needs(self) -> set[int]:
        """The chapters that it builds on, by number."""
        return set(self.facts["needs"])

    def place(self, layout: str) -> tuple[int, int]:
        """Where it stands on the map `wide` or `narrow`, as (column, row)."""
        column, row = self.facts[layout]
        return column, row

    @property
    def facts(self) -> dict:
        return listed()[Path(self.docname).name]

    @cached_property
    def code(self) -> list[tuple[str, ast.Module]]:
        """Each cell of code that is plain Python, with the heading that it is under."""
        heading, found = "", []
        for cell in self.cells:
            if cell.cell_type == "markdown":
                heading = [heading, *HEADING.findall(cell.source)][-1]
            elif not re.search(r"^[%!]", cell.source, re.MULTILINE):
                found.append((heading, ast.parse(cell.source)))
        return found

    def link(self, heading: str = "") -> str:
        """A Markdown link to the chapter or a section of it, from a page in `book/`."""
        page = f"../{self.docname}.ipynb"
        if not heading or heading.endswith(self.title):
            return f"[chapter {self.number}]({page})"
        return f"[chapter {self.number}, *{heading}*]({page}#{slugify(heading)})"


@cache
def listed() -> dict[str, dict]:
    """What to know of each chapter, by the name of its notebook."""
    return yaml.safe_load((ROOT / "chapters/chapters.yml").read_text("utf-8"))


@cache
def chapters() -> tuple[Chapter, ...]:
    """All chapters, in the order of the table of contents."""
    toc = parse_toc_yaml(ROOT / "_toc.yml")
    return tuple(
        Chapter(name, part.caption)
        for part in toc.root.subtrees
        for name in part.items
        if name.startswith("chapters/")
    )
