"""The whole book as one PDF: `python -m book._ext.pdf SITE FILE`.

The pages of a built site become one page, which Chromium prints: links between chapters
lead through the PDF, headings become its outline, and folded answers are open. A first
print says on which page each chapter starts, and the second has a table of contents.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pikepdf
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, sync_playwright
from sphinx_external_toc.parsing import SiteMap, parse_toc_yaml

from chapters.assignments.grader.files import replacing

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 600_000  # milliseconds


def contents(toc: SiteMap) -> list[tuple[str, list[str]]]:
    """The parts of the book, each with the names of its pages."""
    parts = [(part.caption, list(part.items)) for part in toc.root.subtrees]
    return [("", [toc.root.docname]), *parts]


def anchor(docname: str, place: str = "") -> str:
    """The place of a page, or of a place on it, in the one page."""
    return (
        f"{docname.replace('/', '-')}--{place}" if place else docname.replace("/", "-")
    )


def read(file: Path) -> BeautifulSoup:
    """A page of the site, its addresses made absolute."""
    page = BeautifulSoup(file.read_text("utf-8"), "html.parser")
    for attribute in ("href", "src"):
        for element in page.select(f"[{attribute}]"):
            element[attribute] = urljoin(file.as_uri(), element[attribute])
    return page


def title(page: BeautifulSoup) -> str:
    return page.select_one("article h1").find(string=True).strip()


def styles(pages: Iterable[BeautifulSoup]) -> str:
    """The styles of all pages, each once."""
    links = (page.select("link[rel=stylesheet]") for page in pages)
    return "".join(dict.fromkeys(str(link) for each in links for link in each))


def article(page: BeautifulSoup, docname: str, site: Path, docnames: set[str]) -> str:
    """A page's content, ready to stand beside that of others."""
    content = page.select_one("article")
    for rest in content.select(
        "a.headerlink, script, button, .map-narrow, details.explorer-folded"
    ):
        rest.decompose()
    for answer in content.select("details"):
        answer["open"] = ""
    for figure in content.select("img[loading]"):
        del figure["loading"]  # nobody scrolls to it
    for element in content.select("[id]:not(svg [id])"):
        element["id"] = anchor(docname, element["id"])
    for link in content.select("a[href]"):
        address, place = urldefrag(link["href"])
        if urlsplit(address).scheme == "file":
            target = Path(unquote(urlsplit(address).path)).with_suffix("")
            name = target.relative_to(site).as_posix()
            if name in docnames:
                link["href"] = "#" + anchor(name, place)
            else:
                del link["href"]  # only the site has this page
    return content.decode_contents()


class Book:
    """The book as one page of HTML."""

    def __init__(self, site: Path, toc: SiteMap):
        self.parts = contents(toc)
        names = [name for _, names in self.parts for name in names]
        pages = {name: read(site / f"{name}.html") for name in names}
        self.head = styles(pages.values())
        self.titles = {name: title(page) for name, page in pages.items()}
        self.articles = {
            name: article(page, name, site, set(names)) for name, page in pages.items()
        }

    def contents(self, starts: dict[str, int]) -> str:
        """The table of contents; `starts` says on which page a place is."""
        body = "<h1>Contents</h1>"
        for caption, names in self.parts[1:]:
            body += f"<h2>{escape(caption)}</h2>"
            for name in names:
                body += (
                    f'<a href="#{anchor(name)}"><span>{escape(self.titles[name])}'
                    f"</span><span>{starts.get(anchor(name), '')}</span></a>"
                )
        return body

    def html(self, starts: dict[str, int]) -> str:
        first, *others = self.articles
        style = Path(__file__).with_suffix(".css").read_text("utf-8")
        for name in others:
            text = self.titles[name].replace("\\", "\\\\").replace('"', '\\"')
            style += f'@page {anchor(name)} {{ @top-left {{ content: "{text}" }} }}\n'
        sheets = {anchor(name): content for name, content in self.articles.items()}
        opening = {anchor(first): sheets.pop(anchor(first))}
        sheets = opening | {"contents": self.contents(starts)} | sheets
        body = "".join(
            f'<section id="{name}" class="sheet" style="page: {name}">'
            f"{content}</section>"
            for name, content in sheets.items()
        )
        return (
            '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light">'
            f'<head><meta charset="utf-8"><title>{escape(self.titles[first])}</title>'
            f"{self.head}<style>{style}</style></head><body>"
            '<div class="bd-main"><div class="bd-content">'
            '<div class="bd-article-container"><article class="bd-article">'
            f"{body}</article></div></div></div></body></html>"
        )


def print_page(browser: Browser, content: str, folder: Path) -> Path:
    source, printed = folder / "book.html", folder / "book.pdf"
    source.write_text(content, "utf-8")
    page = browser.new_context(color_scheme="light").new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(source.as_uri(), wait_until="load")
    page.evaluate("() => document.fonts.ready.then(() => null)")
    page.pdf(
        path=printed,
        prefer_css_page_size=True,
        print_background=True,
        outline=True,
        tagged=True,
    )
    page.close()
    return printed


def starts_of(printed: Path) -> dict[str, int]:
    """The number of the page where each place of a printed book is."""
    with pikepdf.open(printed) as file:
        numbers = {page.objgen: i for i, page in enumerate(file.pages, start=1)}
        return {
            str(name).removeprefix("/"): numbers[place[0].objgen]
            for name, place in file.Root.Dests.items()
        }


def find_browser(offered: str) -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), offered)
    if not Path(path).exists():
        sys.exit(
            "A PDF needs Chromium or Chrome, because a browser prints it; found none. "
            "Install it (on Debian: apt-get install -y chromium; elsewhere: python -m "
            "playwright install chromium). Nothing was written."
        )
    return path


def make(site: Path, file: Path) -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = find_browser(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        book, starts = Book(site, parse_toc_yaml(ROOT / "_toc.yml")), {}
        for _ in range(2):
            printed = print_page(browser, book.html(starts), Path(folder))
            starts = starts_of(printed)
        browser.close()
        small = pikepdf.ObjectStreamMode.generate
        with replacing(file) as new, pikepdf.open(printed) as book:
            book.save(new, object_stream_mode=small)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
