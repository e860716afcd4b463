"""What the chapters say, and what carries it.

python -m tests.claims           # how much each chapter says, and what nothing carries
python -m tests.claims 13        # each sentence of a chapter that says something

A *claim* is a sentence with a number, a comparison or a cause. The cells beside it
carry most of them, and no program can judge that. Numbers can be found, though. Each
number of the text must stand in a cell of its chapter, in its code or its outputs, or
it has a line in `claims.yml`, which says what carries it: a sum, which is computed
here, or in words a source, what is given in an exercise, or a run beside the book.
"""

import html
import math
import re
import sys
from functools import cache
from pathlib import Path

import yaml
from nbformat import NotebookNode

from book._ext.chapters import Chapter, chapters

LEDGER = Path(__file__).with_name("claims.yml")
# Names rather than numbers: code, links, minutes, headings, years, and places.
ASIDE = re.compile(
    r"```.*?```|`[^`\n]*`|\[[^\]\n]*\]\([^)\n]*\)|^\*About \d+ minutes.*?$|^#+ .*?$"
    r"|<[^>\n]+>|\b(?:19|20)\d\d\b|\b(?:[Cc]hapter|[Ss]ection|[Ee]xhibit|[Tt]able|"
    r"Figure)s? [\d.]+(?:(?:, | and | to )[\d.]+)*",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w.,/])\d[\d,]*(?:\.\d+)?(?![\w/])")
SAYS = re.compile(
    r"\d|\b(?:because|since|therefore|than|more|most|less|least|fewer|better|worse|"
    r"best|worst|always|never|nearly|half|twice|times|only)\b"
)
SMALL = 12  # a whole number up to here is a word


def number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


def prose(chapter: Chapter) -> list[str]:
    """The text of each cell of text, without what is no number in it."""
    return [
        ASIDE.sub(" ", cell.source).replace("{,}", ",")
        for cell in chapter.cells
        if cell.cell_type == "markdown"
    ]


def claims(chapter: Chapter) -> list[str]:
    paragraphs = re.split(r"\n\s*\n|\n(?=[-|])", "\n\n".join(prose(chapter)))
    sentences = [
        " ".join(sentence.split())
        for paragraph in paragraphs
        for sentence in re.split(r"(?<=[.!?])\s+", paragraph)
    ]
    return [sentence for sentence in sentences if SAYS.search(sentence)]


def said(chapter: Chapter) -> list[str]:
    """Each number of the text, as it is written, once."""
    found = (
        match.group().rstrip(",")
        for text in prose(chapter)
        for match in NUMBER.finditer(text)
    )
    return [
        each for each in dict.fromkeys(found) if "." in each or number(each) > SMALL
    ]


def shown(chapter: Chapter) -> set[float]:
    """The numbers of all cells of code and what they print, and of code in the text."""
    texts = []
    for cell in chapter.cells:
        if cell.cell_type == "code":
            texts += [cell.source, *map(printed, cell.outputs)]
        else:
            texts += re.findall(r"```.*?```|`[^`\n]*`", cell.source, re.DOTALL)
    return {
        number(each) for each in re.findall(r"\d[\d,_]*(?:\.\d+)?", " ".join(texts))
    }


def printed(output: NotebookNode) -> str:
    kinds = output.get("data", {})
    texts = [kinds[kind] for kind in kinds if kind.startswith("text/")]
    return html.unescape(" ".join([output.get("text", ""), *texts]))


def loose(chapter: Chapter) -> list[str]:
    """The numbers of the text that no cell shows."""
    here = shown(chapter)
    return [each for each in said(chapter) if number(each) not in here]


@cache
def ledger() -> dict[int, dict[str, str]]:
    """For each chapter: a number as it is written, and what carries it."""
    return yaml.safe_load(LEDGER.read_text("utf-8"))


def comes_to(text: str, carrier: str) -> bool:
    """Whether a carrier that is a sum gives the number, to its last digit."""
    value = eval(carrier.removeprefix("="), vars(math))
    digits = text.replace(",", "")
    places = len(digits.partition(".")[2])
    zeros = 0 if places else len(digits) - len(digits.rstrip("0"))
    return abs(value - number(text)) <= 0.5 * 10.0 ** (zeros - places) * (1 + 1e-9)


def main() -> None:
    wanted = [int(each) for each in sys.argv[1:]]
    for chapter in chapters():
        if chapter.number in wanted:
            print(*claims(chapter), sep="\n")
        if not wanted:
            entries = ledger().get(chapter.number, {})
            numbers, open_ones = said(chapter), loose(chapter)
            print(
                f"chapter {chapter.number:2}: {len(claims(chapter)):4} claims, "
                f"{len(numbers):4} numbers, {len(open_ones):3} of them in no cell; "
                f"carried by nothing: "
                + (", ".join(set(open_ones) - entries.keys()) or "none")
            )


if __name__ == "__main__":
    main()
