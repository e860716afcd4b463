"""Compute the book's face: `python -m book._ext.face` writes the three drawings in
`_static`.

The cover is the book's one equation, token + position = input, for a sentence of seven
tokens. Each dot is one number: its area is the number's size, its colour the sign.
"""

import math
import random
from pathlib import Path

SENTENCE = ["Where", "·am", "·I", "·in", "·this", "·sentence", "?"]
STATIC = Path(__file__).parents[1] / "_static"
POSITIVE, NEGATIVE = "#d9772b", "#3b82b8"
INK = "#7d8590"  # readable on a white and on a dark page


def sinusoids(positions: int, dims: int, base: float) -> list[list[float]]:
    """Rows sin, cos, sin, cos, ... of ever slower waves (Vaswani et al. 2017, section
    3.5).
    """
    return [
        [
            math.sin(p / base ** (2 * (i // 2) / dims) + (i % 2) * math.pi / 2)
            for i in range(dims)
        ]
        for p in range(positions)
    ]


def dots(table: list[list[float]], x: float, y: float, step: float) -> str:
    """One circle a number, the largest of |2| just touching its neighbours."""
    circles = []
    for row, numbers in enumerate(table):
        for column, number in enumerate(numbers):
            radius = step / 2 * math.sqrt(min(abs(number), 2) / 2)
            cx, cy = x + (column + 0.5) * step, y + (row + 0.5) * step
            fill = POSITIVE if number > 0 else NEGATIVE
            circles.append(
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.2f}" fill="{fill}"/>'
            )
    return "\n".join(circles)


def drawing(width: int, height: int, title: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" fill="{INK}">\n'
        f"<title>{title}</title>\n{body}\n</svg>\n"
    )


def cover() -> str:
    rows, dims, step, top, left = len(SENTENCE), 16, 15, 40, 92
    draw = random.Random(2017)
    token = [[draw.gauss(0, 0.7) for _ in range(dims)] for _ in range(rows)]
    position = sinusoids(rows, dims, base=100)
    total = [
        [a + b for a, b in zip(*pair, strict=True)]
        for pair in zip(token, position, strict=True)
    ]
    body = []
    for row, word in enumerate(SENTENCE):
        y = top + (row + 0.5) * step + 5
        body.append(
            f'<text x="{left - 10}" y="{y}" font-size="14" '
            f'text-anchor="end">{word}</text>'
        )
    gap = 44
    panels = [
        ("token", token),
        ("position", position),
        ("what enters the model", total),
    ]
    for number, (name, table) in enumerate(panels):
        x = left + number * (dims * step + gap)
        middle = top + rows * step / 2
        body.append(dots(table, x, top, step))
        body.append(
            f'<text x="{x + dims * step / 2}" y="{top - 14}" font-size="16" '
            f'text-anchor="middle">{name}</text>'
        )
        if number < 2:
            body.append(
                f'<text x="{x + dims * step + gap / 2}" y="{middle + 9}" '
                f'font-size="28" text-anchor="middle">{"+="[number]}</text>'
            )
    width = left + 3 * dims * step + 2 * gap + 10
    title = (
        "Three grids of dots, a row for each token of the sentence: a random token "
        "vector, plus a wave-like position vector, equals the vector that enters the "
        "model."
    )
    return drawing(width, top + rows * step + 12, title, "\n".join(body))


def mark(positions: int) -> tuple[str, int]:
    """The cosines alone, as a square, and its side."""
    table = [row[1::2] for row in sinusoids(positions, 2 * positions, base=14)]
    doubled = [[2 * number for number in row] for row in table]
    return dots(doubled, 2, 2, 12), positions * 12 + 4


def faces() -> dict[str, str]:
    """File name -> content of every drawing."""
    small, small_side = mark(4)
    large, large_side = mark(8)
    words = "".join(
        f'<text x="{large_side + 14}" y="{y}" font-size="30" '
        f'font-weight="600">{line}</text>'
        for y, line in ((41, "How Text Enters"), (78, "a Language Model"))
    )
    title = "How Text Enters a Language Model"
    return {
        "cover.svg": cover(),
        "favicon.svg": drawing(small_side, small_side, title, small),
        "logo.svg": drawing(large_side + 330, large_side, title, large + words),
    }


if __name__ == "__main__":
    for name, content in faces().items():
        (STATIC / name).write_text(content, encoding="utf-8")
