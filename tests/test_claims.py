"""Each number of the text is one that a cell shows, or that the ledger carries."""

import nbformat.v4 as v4
import pytest

from book._ext.chapters import chapters
from tests import claims

BY_NUMBER = {chapter.number: chapter for chapter in chapters()}
SUMS = [
    (chapter, text, carrier)
    for chapter, entries in claims.ledger().items()
    for text, carrier in entries.items()
    if carrier.startswith("=")
]


class Page:
    """A chapter of a cell of text and a cell of code."""

    def __init__(self, text, code="", printed=""):
        output = v4.new_output("stream", text=printed)
        self.cells = [v4.new_markdown_cell(text)]
        self.cells.append(v4.new_code_cell(code, outputs=[output]))


@pytest.mark.parametrize("number", BY_NUMBER)
def test_each_number_of_the_text_is_carried(number):
    entries = claims.ledger().get(number, {})
    missing = [n for n in claims.loose(BY_NUMBER[number]) if n not in entries]
    assert not missing, f"chapter {number}: say in claims.yml what carries {missing}"


@pytest.mark.parametrize("number", BY_NUMBER)
def test_the_ledger_carries_nothing_that_is_not_said(number):
    loose = claims.loose(BY_NUMBER[number])
    assert [n for n in claims.ledger().get(number, {}) if n not in loose] == []


@pytest.mark.parametrize(("chapter", "text", "carrier"), SUMS)
def test_a_sum_comes_to_the_number(chapter, text, carrier):
    assert claims.comes_to(text, carrier)


@pytest.mark.parametrize(
    ("text", "carrier", "right"),
    [
        ("1.37", "= 0.1 * log(40) + 1", True),
        ("1.36", "= 0.1 * log(40) + 1", False),
        ("160,000", "= 162_754", True),
        ("160,000", "= 154_000", False),
        ("46,080", "= 46_086", False),
    ],
)
def test_a_number_is_right_to_its_last_digit(text, carrier, right):
    assert claims.comes_to(text, carrier) == right


def test_numbers_stand_in_the_prose_and_not_in_its_names():
    text = "About 3,000 of 40.5 words ([Nobody 1987](https://1234.org)).\n\n## 99 rows"
    assert claims.said(
        Page(f"{text}\n\nChapters 14 and 15 need `77`, 12 of $50{{,}}257$")
    ) == ["3,000", "40.5", "50,257"]


def test_a_cell_shows_what_it_says_and_what_it_prints():
    page = Page("It takes 1,024 rows, 7.5 seconds, and 900 steps.", "1_024", "7.50")
    assert claims.loose(page) == ["900"]


def test_a_claim_has_a_number_a_comparison_or_a_cause():
    page = Page("A table. It is larger than a row. It has\n30 rows! Why? Because.")
    assert claims.claims(page) == ["It is larger than a row.", "It has 30 rows!"]
