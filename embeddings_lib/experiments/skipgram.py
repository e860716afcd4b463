"""A table learned from the company that words keep (chapter 3)."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.experiments.cooccurrence import neighbour_pairs
from embeddings_lib.token_embedding import TokenEmbedding
from embeddings_lib.training import train


class SkipGram(nn.Module):
    """Two tables, of words and of contexts, whose products tell true pairs from false.

    >>> model = SkipGram(vocab_size=6, embed_dim=4)
    >>> model(torch.tensor([0, 1]), torch.tensor([[2, 3, 4], [5, 0, 1]])).shape
    torch.Size([2, 3])

    Equation: score(w, c) = words[w] · contexts[c], and the loss of a pair is
    −ln σ(score(w, c)) − Σ ln σ(−score(w, c′)) over its negatives c′, where
    σ(x) = 1 / (1 + e^(−x)). The table to keep is `words`.

    Raises ValueError for a size below 1, and IndexError for an ID outside the tables.

    Source: Mikolov et al. 2013, equation 4.
    """

    def __init__(self, vocab_size: int, embed_dim: int, *, std: float = 0.1):
        super().__init__()
        self.words = TokenEmbedding(vocab_size, embed_dim, std=std)
        self.contexts = TokenEmbedding(vocab_size, embed_dim, std=std)

    def forward(
        self, word_ids: Int[Tensor, " pairs"], context_ids: Int[Tensor, "pairs m"]
    ) -> Float[Tensor, "pairs m"]:
        """The score of each word with its m contexts."""
        rows, columns = self.words(word_ids), self.contexts(context_ids)
        return (rows[:, None] * columns).sum(dim=-1)

    def loss(
        self,
        word_ids: Int[Tensor, " pairs"],
        context_ids: Int[Tensor, " pairs"],
        negative_ids: Int[Tensor, "pairs negatives"],
    ) -> Float[Tensor, ""]:
        """The mean over the pairs: near 0 if all scores tell true from false."""
        true = self(word_ids, context_ids[:, None])
        false = self(word_ids, negative_ids)
        return -(F.logsigmoid(true).sum() + F.logsigmoid(-false).sum()) / len(word_ids)


def train_skipgram(
    model: SkipGram,
    token_ids: Int[Tensor, "sentences seq"],
    *,
    window: int,
    steps: int = 1000,
    batch_size: int = 1024,
    negatives: int = 5,
    lr: float = 0.02,
    generator: torch.Generator,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Fit the model to the pairs of a text, by Adam with a rate that falls to 0.

    >>> generator = torch.Generator().manual_seed(0)
    >>> model = SkipGram(vocab_size=4, embed_dim=8)
    >>> text = torch.tensor([[0, 1], [2, 3]] * 50)  # 0 beside 1, and 2 beside 3
    >>> options = {"window": 1, "steps": 200, "negatives": 1, "generator": generator}
    >>> train_skipgram(model, text, **options)
    >>> scores = model(torch.tensor([0]), torch.tensor([[1, 3]]))[0]
    >>> (scores[0] > 0 > scores[1]).item()
    True

    Each step draws `batch_size` pairs, and for each pair `negatives` contexts of other
    pairs, all at random. `after_step(n)` is called when n steps are done.

    Raises ValueError for a window below 1, if steps, batch_size, negatives or lr is not
    above 0, or if the text has no pair.

    Source: Mikolov et al. 2013, section 2.2. They draw a negative with a probability
    proportional to its count to the power 3/4; here the power is 1, as in Levy and
    Goldberg 2014.
    """
    words, contexts = neighbour_pairs(token_ids, window=window)
    numbers = {"steps": steps, "batch_size": batch_size, "negatives": negatives}
    _guards.trainable(words, token_ids, **numbers, lr=lr)

    def draw(*shape: int) -> Int[Tensor, "..."]:
        return torch.randint(len(words), shape, generator=generator)

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for _ in range(steps):
            pair = draw(batch_size)
            others = contexts[draw(batch_size, negatives)]
            yield words[pair], contexts[pair], others

    train(model, batches(), lr=lr, decay_steps=steps, after_step=after_step)
