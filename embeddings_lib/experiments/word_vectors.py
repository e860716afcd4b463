"""Questions to a table: the nearest words, and analogies (chapters 3 and 4)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embeddings_lib import _guards

Question = tuple[str, str, str, str]
STEP = (-1.0, 1.0, 1.0)  # of a, b and c: the target is c + (b − a)


class WordVectors:
    """A table whose rows have names, ready to be asked.

    >>> table = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0],
    ...                       [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> vectors = WordVectors(["king", "queen", "man", "woman"], table)
    >>> vectors.analogy(
    ...     "man", "king", "woman", exclude_inputs=False, k=2
    ... )  # doctest: +ELLIPSIS
    [('queen', 0.958...), ('woman', 0.794...)]

    Likeness is the cosine of the angle between two rows, from −1 to 1; every row is
    first divided by its length. `unit_rows` holds the result.

    Raises ValueError if words and rows differ in number, if a word occurs twice, or if
    a row has no direction, because it is zero or not finite.

    Source: Mikolov, Yih and Zweig 2013 for the analogies.
    """

    def __init__(self, words: Sequence[str], table: Float[Tensor, "words dim"]):
        self.words = list(words)
        self.row_of = {word: row for row, word in enumerate(self.words)}
        table = table.detach()
        lengths = table.norm(dim=1, keepdim=True)
        _guards.named_directions(self.words, lengths)
        self.unit_rows = table / lengths

    def nearest(self, word: str, *, k: int = 5) -> list[tuple[str, float]]:
        """The k other words whose rows are most alike, with their cosines."""
        row = self._rows([word])
        return self._best(self.unit_rows[row[0]], without=row, k=k)

    def analogy(
        self, a: str, b: str, c: str, *, exclude_inputs: bool, k: int = 5
    ) -> list[tuple[str, float]]:
        """*a is to b as c is to …*: the k words nearest to c + (b − a).

        With `exclude_inputs=True` the words a, b and c cannot be answers. There is no
        default, because the two protocols answer two different questions.
        """
        rows = self._rows([a, b, c])
        target = self._targets(rows[None], STEP)[0]
        return self._best(target, without=rows if exclude_inputs else rows[:0], k=k)

    def accuracy(
        self,
        questions: Sequence[Question],
        *,
        exclude_inputs: bool,
        weights: tuple[float, float, float] = STEP,
    ) -> float:
        """The share of questions (a, b, c, d) whose first answer to c + (b − a) is d.

        `weights` are those of a, b and c in the target. With (0, 0, 1) the question is
        ignored, and c answers alone; with (0, 1, 1) nothing is subtracted. Both are
        controls: what a table gets right by mere likeness.
        """
        _guards.some_questions(questions)
        rows = torch.stack([self._rows(question) for question in questions])
        cosines = self._targets(rows[:, :3], weights) @ self.unit_rows.T
        if exclude_inputs:
            cosines.scatter_(1, rows[:, :3], -torch.inf)
        right = cosines.argmax(dim=1) == rows[:, 3]
        return right.sum().item() / len(questions)

    def _rows(self, words: Sequence[str]) -> Int[Tensor, " n"]:
        _guards.known_words(words, self.row_of)
        rows = [self.row_of[word] for word in words]
        return torch.tensor(rows, device=self.unit_rows.device)

    def _targets(
        self, rows: Int[Tensor, "n 3"], weights: tuple[float, float, float]
    ) -> Float[Tensor, "n dim"]:
        a, b, c = (self.unit_rows[rows[:, column]] for column in range(3))
        return weights[0] * a + weights[1] * b + weights[2] * c

    def _best(
        self, target: Float[Tensor, " dim"], without: Int[Tensor, " n"], k: int
    ) -> list[tuple[str, float]]:
        length = target.norm()
        _guards.answerable(k, len(self.words) - len(without), length)
        cosines = self.unit_rows @ (target / length)
        cosines[without] = -torch.inf
        values, found = cosines.topk(k)
        names = [self.words[row] for row in found.tolist()]
        return list(zip(names, values.tolist(), strict=True))
