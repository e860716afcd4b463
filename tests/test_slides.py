"""A deck for lectures has every figure of a chapter, and needs nothing else."""

import re

import pytest
from bs4 import BeautifulSoup

from book._ext.slides import deck
from tests import notebooks

by_name = pytest.mark.parametrize(
    "path", notebooks.CHAPTERS, ids=lambda path: path.stem
)


@by_name
def test_each_figure_has_a_slide_with_a_heading_and_words_and_its_own_image(path):
    page = BeautifulSoup(deck([path]), "html.parser")
    found = page.find_all("section")
    assert len(found) == path.read_text("utf-8").count('"image/png": ') > 0
    texts = [each.source for each in notebooks.read(path).cells if "# " in each.source]
    lines = "\n".join(texts).replace("*", "").splitlines()
    headings = {line.lstrip("# ") for line in lines}
    for slide in found:
        assert slide.h2.text in headings
        assert slide.p.text
        assert slide.img["src"].startswith("data:image/png;base64,iVBOR")
    assert not re.search(r"https?://|<script|<link", str(page))


def test_chapters_follow_one_another_in_one_deck():
    first, second = notebooks.CHAPTERS[:2]
    both = deck([first, second]).count("<section>")
    assert both == deck([first]).count("<section>") + deck([second]).count("<section>")
