"""The search: an index of the sections of all pages, made by Pagefind.

A reader looks for a section, and pages are long. So each section is an entry of its
own, without what its code printed. Chapters come before the lists at the back, and the
chapter that the glossary names for a term comes first. Pagefind needs a server: a page
opened from a file has Sphinx's own search, which finds pages.
"""

import asyncio
from collections.abc import Iterator
from html import escape
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from pagefind.index import IndexConfig, PagefindIndex

from book._ext.mathematics import ROOT as ROOT_SIGN

ASIDE = ".cell_output, .headerlink, .figure-number, .eqno, script, style, svg"
CODE = 0.2  # how much a word counts there; in prose it counts 1
LISTS = dict.fromkeys(("configurations", "library", "proof", "references"), 0.3)


def read(file: Path) -> Tag:
    return BeautifulSoup(file.read_text("utf-8"), "lxml").article


def terms(glossary: Tag) -> dict[str, list[str]]:
    """The name of a chapter's file -> the terms for which the glossary leads to it."""
    found = {}
    for term in glossary.select("dt"):
        for link in term.find_next_sibling("dd").select("a[href*='chapters/']"):
            name = Path(link["href"].partition("#")[0]).stem
            found.setdefault(name, []).append(term.get_text())
    return found


def entries(page: Tag, weight: float, terms: list[str]) -> Iterator[tuple[str, str]]:
    """Each section of a page: its place there, and its text as a page of its own."""
    title = page.h1.find(string=True).strip()
    for rest in page.select(ASIDE):
        rest.decompose()
    for root in page.select("msqrt"):
        root.insert(0, ROOT_SIGN)  # drawn by the browser, in no formula as text
    for code in page.select("pre"):
        code.string = code.get_text()
        code["data-pagefind-weight"] = CODE
    for section in reversed(page.select("section[id]")):  # from within
        section.extract()
        section["data-pagefind-weight"] = weight
        heading = section.find(["h1", "h2", "h3", "h4"])
        heading["data-pagefind-meta"] = "title" if weight == 1 else "name"
        about = {"page": title}
        if heading.name == "h1" and terms:
            about["terms"] = ", ".join(terms)
        body = str(section) + "".join(
            f'<p data-pagefind-meta="{name}" data-pagefind-ignore>{escape(text)}</p>'
            for name, text in about.items()
        )
        yield section["id"], f'<html lang="en"><body>{body}</body></html>'


async def write_index(site: Path, docnames: list[str]) -> None:
    options = IndexConfig(
        output_path=str(site / "pagefind"), include_characters=ROOT_SIGN
    )
    glossary = site / "book/glossary.html"
    known = terms(read(glossary)) if glossary.exists() else {}
    async with PagefindIndex(options) as index:
        for name in docnames:
            stem = Path(name).name
            page = read(site / f"{name}.html")
            for place, text in entries(page, LISTS.get(stem, 1), known.get(stem, [])):
                await index.add_html_file(content=text, url=f"{name}.html#{place}")


def finish(app, exception) -> None:
    if not exception and app.builder.name == "html":
        asyncio.run(write_index(Path(app.outdir), sorted(app.env.found_docs)))


def setup(app) -> dict:
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
