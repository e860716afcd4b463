"""What leads through the book and out of it: the library's page, the map, the PDF and
the ePub.
"""

import importlib
import inspect
import re
from itertools import pairwise

import pytest
from bs4 import BeautifulSoup

import embeddings_lib
from book._ext import chapter_map, library, pdf
from book._ext.chapters import chapters
from tests.notebooks import ROOT


@pytest.fixture(scope="module")
def page(site):
    def parsed(name):
        text = (site / f"{name}.html").read_text("utf-8")
        return BeautifulSoup(text, "html.parser")

    return parsed


def test_the_library_page_holds_every_line_of_the_library():
    for module in library.modules():
        text = module.path.read_text("utf-8")
        shown = [module.opening, *(name.source for name in module.names)]
        lines = [line for part in shown for line in part.splitlines() if line]
        assert lines == [line for line in text.splitlines() if line]


def test_every_module_is_on_the_library_page_once():
    files = sorted((ROOT / "embeddings_lib").rglob("*.py"))
    shown = sorted(module.path for module in library.modules())
    assert [ROOT / "embeddings_lib/__init__.py", *shown] == sorted(files)


def test_only_helpers_stand_aside():
    aside = {name.rpartition(".")[2] for name in library.aside()}
    assert {name for name in aside if name[0] != "_"} == {"downloads", "notebook"}


def test_the_modules_stand_in_the_order_of_their_chapters():
    """A module is from the first chapter that its docstring names."""
    docstrings = (
        (name, importlib.import_module(f"embeddings_lib.{name}").__doc__)
        for name in library.taught()
    )
    numbers = [
        int(found.group(1))
        for _, text in docstrings
        if (found := re.search(r"chapters? (\d+)", text))
    ]
    assert len(numbers) > 10
    assert numbers == sorted(numbers)


def test_every_public_name_has_its_anchor_and_its_chapter(page):
    shown = page("book/library")
    for module in library.modules():
        loaded = importlib.import_module(f"embeddings_lib.{module.name}")
        public = {
            name
            for name, thing in inspect.getmembers(loaded)
            if getattr(thing, "__module__", "") == loaded.__name__ and name[0] != "_"
            if inspect.isclass(thing) or inspect.isfunction(thing)
        }
        assert public <= {name.name for name in module.names}
        for name in module.names:
            place = shown.find(id=name.anchor)
            section = place if place.name == "section" else place.find_parent("section")
            if module.name not in library.aside():
                assert section.select_one("p a[href*='chapters/']"), name


def test_a_chapter_ends_with_what_it_built_and_its_tests(page):
    box = page("chapters/08_rotary_positions").select_one(".built-here")
    links = [link["href"] for link in box.select("a")]
    assert "../book/library.html#library-rotary-positions-rotate" in links
    assert "../book/proof.html#proof-test-rotary-positions" in links
    for chapter in chapters():
        assert page(chapter.docname).select_one(".built-here a"), chapter.docname


def test_the_map_leads_to_every_chapter_once_on_each_width(page):
    for drawing in page("book/intro").select("svg.map"):
        links = [link["href"] for link in drawing.select("a")]
        assert links == [f"../{chapter.docname}.html" for chapter in chapters()]


def test_every_chapter_has_a_place_of_its_own_on_both_maps():
    for layout in (chapter_map.WIDE, chapter_map.NARROW):
        places = [chapter.place(layout.name) for chapter in chapters()]
        assert len(set(places)) == len(places)


def corners(path):
    """Where a line of upright and level parts begins, turns and ends."""
    x = y = None
    for letter, numbers in re.findall(r"([MHV])([\d. ]+)", path):
        values = list(map(float, numbers.split()))
        x = values[0] if letter in "MH" else x
        y = values[-1] if letter in "MV" else y
        yield x, y


def boxes_crossed(layout, path):
    """The chapters whose boxes a line runs through."""
    for number, place in layout.places.items():
        low, high = (
            [(at + 0.5) * cell + side * box / 2 for at, cell, box in sizes]
            for side in (-1, 1)
            for sizes in [list(zip(place, layout.cell, layout.box, strict=True))]
        )
        for ends in pairwise(corners(path)):
            if all(
                min(along) < high[axis] and max(along) > low[axis]
                for axis, along in enumerate(zip(*ends, strict=True))
            ):
                yield number


def test_no_line_of_the_map_runs_through_a_box():
    for layout in (chapter_map.WIDE, chapter_map.NARROW):
        for edge in chapter_map.edges():
            crossed = boxes_crossed(layout, chapter_map.line(layout, *edge))
            assert set(crossed) == {edge[0]}, (layout.name, edge)  # from its middle


def test_the_lines_of_the_map_hold_all_that_a_chapter_needs():
    reached = {chapter.number: set() for chapter in chapters()}
    for first, then in sorted(chapter_map.edges(), key=lambda edge: edge[1]):
        reached[then] |= {first} | reached[first]
    for chapter in chapters():
        assert chapter.needs <= reached[chapter.number], chapter.number


def test_figures_and_equations_are_numbered_in_order(page):
    for chapter in chapters():
        shown = page(chapter.docname)
        for kind in ("figure", "equation"):
            places = shown.find_all(id=re.compile(f"^{kind}-"))
            expected = range(1, len(places) + 1)
            names = [f"{kind}-{chapter.number}-{i}" for i in expected]
            assert [place["id"] for place in places] == names


def test_the_index_lists_the_glossary_and_the_library(page):
    links = {link.get_text() for link in page("genindex").select("article a")}
    assert {
        "Embedding",
        "rotate (rotary_positions)",
        "TokenEmbedding (token_embedding)",
        "World (experiments.world)",
    } <= links


def test_what_changed_begins_with_this_version():
    text = (ROOT / "book/changes.md").read_text("utf-8")
    newest = re.search(r"^## (\S+),", text, re.MULTILINE).group(1)
    assert newest == embeddings_lib.__version__


def test_without_a_browser_a_pdf_is_refused_and_nothing_is_written(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs Chromium or Chrome, because"):
        pdf.find_browser(str(ROOT / "no such browser"))
