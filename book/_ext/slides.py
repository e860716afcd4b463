"""Slides for a lecture: the figures of chapters, each under the heading of its section.

    python -m book._ext.slides chapters/05_attention_is_blind.ipynb > slides.html

One file that needs no network. A browser turns the pages with the space bar, and prints
one slide to a page. Below each figure stands what it shows, in words.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2
import markdown_it
import markupsafe
import nbformat

HEADING = re.compile(r"^#{1,2} (.+)", re.MULTILINE)
DECK = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{ slides[0].heading }}</title>
<style>
  html { scroll-snap-type: y mandatory; font: 2.4vmin/1.4 system-ui, sans-serif; }
  body { margin: 0; }
  section { height: 100vh; scroll-snap-align: start; break-after: page;
    box-sizing: border-box; padding: 4vmin 8vmin; display: flex; flex-flow: column; }
  h2 { font-size: 5vmin; line-height: 1.2; margin: 0 0 2vmin; }
  img { flex: 1; min-height: 0; object-fit: contain; }
  p { color: #555; margin: 2vmin 0 0; }
  @page { size: landscape; margin: 0; }
</style>
{% for slide in slides %}
<section>
<h2>{{ slide.heading }}</h2>
<img src="data:image/png;base64,{{ slide.image }}" alt="">
<p>{{ slide.words }}</p>
</section>
{% endfor %}
</html>
""")


def slides(chapter: nbformat.NotebookNode) -> Iterator[dict]:
    """One for each figure: its heading, the image in base64, and its words."""
    heading = ""
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *HEADING.findall(cell.source)][-1]
        for output in cell.get("outputs", []):
            if image := output.get("data", {}).get("image/png"):
                words = cell.metadata.mystnb.image.alt
                title = markupsafe.Markup(
                    markdown_it.MarkdownIt().renderInline(heading)
                )
                yield {"heading": title, "image": image.strip(), "words": words}


def deck(paths: list[Path]) -> str:
    """One HTML file with the figures of all these chapters."""
    chapters = (nbformat.read(path, as_version=4) for path in paths)
    return DECK.render(slides=[each for one in chapters for each in slides(one)])


if __name__ == "__main__":
    sys.stdout.buffer.write(deck([Path(name) for name in sys.argv[1:]]).encode())
