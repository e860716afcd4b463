"""The map of the book: the directive `chapter-map`.

Each chapter is a box, with its link and the time that it takes. Lines lead to it from
the chapters that it builds on, unless another line already leads there through a third
chapter. The map is drawn twice, for wide and for narrow pages. `chapters/chapters.yml`
says where each box stands.
"""

import html
import textwrap
from dataclasses import dataclass
from functools import cached_property

from docutils import nodes
from docutils.parsers.rst import Directive

from book._ext.chapters import Chapter, chapters


@dataclass(frozen=True)
class Layout:
    """One of the two maps, and its sizes in pixels."""

    name: str
    cell: tuple[int, int]
    box: tuple[int, int]

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """Where each chapter stands, as (column, row)."""
        return {chapter.number: chapter.place(self.name) for chapter in chapters()}


WIDE = Layout("wide", cell=(160, 118), box=(146, 86))
NARROW = Layout("narrow", cell=(180, 110), box=(152, 86))


def edges() -> list[tuple[int, int]]:
    """Pairs of a chapter and one that needs it directly, not only through a third."""
    needs = {chapter.number: chapter.needs for chapter in chapters()}

    def all_needs(number: int) -> set[int]:
        return needs[number].union(*map(all_needs, needs[number]))

    return [
        (first, then)
        for then, before in needs.items()
        for first in sorted(before)
        if not any(first in all_needs(other) for other in before)
    ]


def line(layout: Layout, first: int, then: int) -> str:
    """The path of a line: straight where nothing stands between, or else through the
    gaps between the boxes.
    """
    (column, row), (to_column, to_row) = layout.places[first], layout.places[then]
    (width, height), (box_width, box_height) = layout.cell, layout.box
    x, y = (column + 0.5) * width, (row + 0.5) * height
    to_x, to_y = (to_column + 0.5) * width, (to_row + 0.5) * height
    top, left = to_y - box_height / 2, to_x - box_width / 2
    gap = (row + 1) * height
    between = {(column, other) for other in range(row + 1, to_row)}
    if row == to_row:
        beside = {(other, row) for other in range(column + 1, to_column)}
        if beside.isdisjoint(layout.places.values()):
            return f"M{x:g} {y:g} H{left:g}"
        return f"M{x:g} {y:g} V{row * height:g} H{to_x:g} V{top:g}"
    if column != to_column:
        return f"M{x:g} {y:g} V{gap:g} H{to_x:g} V{top:g}"
    if between.isdisjoint(layout.places.values()):
        return f"M{x:g} {y:g} V{top:g}"
    return f"M{x:g} {y:g} V{gap:g} H{column * width:g} V{to_y:g} H{left:g}"


def box(layout: Layout, chapter: Chapter, part: int, target: str) -> str:
    column, row = layout.places[chapter.number]
    (width, height), (box_width, box_height) = layout.cell, layout.box
    x = (column + 0.5) * width - box_width / 2
    y = (row + 0.5) * height - box_height / 2
    label = f"Chapter {chapter.number}, {chapter.title}, {chapter.minutes} minutes"
    text = "".join(
        f'<tspan x="{x + 14:g}" dy="{18 if i else 0}">{html.escape(words)}</tspan>'
        for i, words in enumerate(textwrap.wrap(chapter.title, 17))
    )
    return (
        f'<a xlink:href="{target}" href="{target}" class="map-part-{part}">'
        f"<title>{html.escape(label)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{box_width}" height="{box_height}" rx="6" />'
        f'<rect x="{x:g}" y="{y:g}" width="5" height="{box_height}" rx="2" '
        f'class="map-side" />'
        f'<text x="{x + 14:g}" y="{y + 19:g}" class="map-time">'
        f"{chapter.number} · {chapter.minutes} min</text>"
        f'<text y="{y + 38:g}">{text}</text></a>'
    )


def drawing(layout: Layout, targets: dict[str, str]) -> str:
    """One map; `targets` has the address of each chapter's page."""
    parts = list(dict.fromkeys(chapter.part for chapter in chapters()))
    width = (1 + max(x for x, _ in layout.places.values())) * layout.cell[0]
    height = (1 + max(y for _, y in layout.places.values())) * layout.cell[1]
    lines = "".join(
        f'<path d="{line(layout, *edge)}" marker-end="url(#map-{layout.name})" />'
        for edge in edges()
    )
    boxes = "".join(
        box(layout, chapter, parts.index(chapter.part), targets[chapter.docname])
        for chapter in chapters()
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" class="map map-{layout.name}" '
        'font-size="14" fill="none">'
        f'<defs><marker id="map-{layout.name}" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 Z" class="map-head" /></marker></defs>'
        f'<g class="map-lines" stroke="#6b7480">{lines}</g>{boxes}</svg>'
    )


def legend() -> str:
    parts: dict[str, list[int]] = {}
    for chapter in chapters():
        parts.setdefault(chapter.part, []).append(chapter.number)
    items = "".join(
        f'<li class="map-part-{i}">{html.escape(part)} ({span(numbers)})</li>'
        for i, (part, numbers) in enumerate(parts.items())
    )
    return f'<ul class="map-legend">{items}</ul>'


def span(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{first}" if first == last else f"{first} to {last}"


class Map(nodes.General, nodes.Element):
    """Its place on the page; drawn when the addresses of the pages are known."""


class MapDirective(Directive):
    def run(self) -> list[nodes.Node]:
        return [Map()]


def draw(app, doctree, docname) -> None:
    targets = {
        chapter.docname: app.builder.get_relative_uri(docname, chapter.docname)
        for chapter in chapters()
    }
    # An ePub reader may not know which of the two to hide.
    layouts = (WIDE,) if app.builder.name == "epub" else (WIDE, NARROW)
    for place in list(doctree.findall(Map)):
        maps = "".join(drawing(layout, targets) for layout in layouts)
        content = f'{legend()}<nav aria-label="Map of the chapters">{maps}</nav>'
        place.replace_self(nodes.raw("", content, format="html"))


def setup(app) -> dict:
    app.add_directive("chapter-map", MapDirective)
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
