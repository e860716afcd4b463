"""Texts, made so that we know what a model needs to predict them (chapter 13)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class MarkovText:
    """A text in which each letter depends on the two before it, and on nothing else.

    >>> text = MarkovText(letters=12)
    >>> ids = text.sample(4, 10, torch.Generator().manual_seed(0))
    >>> ids.shape, text.losses(ids).shape
    (torch.Size([4, 10]), torch.Size([4, 8]))

    `chances[a, b]` holds the chance of each letter after a and b. They come from one
    draw, which `seed` fixes, and a text starts with two random letters.
    """

    def __init__(self, letters: int = 12, *, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        chances = torch.rand(letters, letters, letters, generator=generator) ** 6
        self.chances = chances / chances.sum(dim=-1, keepdim=True)

    def sample(
        self, texts: int, seq: int, generator: torch.Generator
    ) -> Int[Tensor, "texts seq"]:
        """Draw so many texts of `seq` letters."""
        letters = len(self.chances)
        ids = torch.randint(letters, (texts, seq), generator=generator)
        draws = torch.rand(texts, seq, 1, generator=generator)
        up_to = self.chances.cumsum(dim=-1)
        for t in range(2, seq):
            passed = draws[:, t] > up_to[ids[:, t - 2], ids[:, t - 1]]
            ids[:, t] = passed.sum(dim=-1).clamp(max=letters - 1)
        return ids

    def losses(self, ids: Int[Tensor, "texts seq"]) -> Float[Tensor, "texts seq-2"]:
        """The loss, in nats, of a model that knows the chances: none can do better."""
        chances = self.chances[ids[:, :-2], ids[:, 1:-1]]
        return -chances.gather(-1, ids[:, 2:, None]).squeeze(-1).log()


def repeated_blocks(
    blocks: Int[Tensor, " texts"],
    seq: int,
    *,
    letters: int,
    generator: torch.Generator,
) -> Int[Tensor, "texts seq"]:
    """Texts that each repeat a block of different letters, as many as `blocks` says.

    >>> generator = torch.Generator().manual_seed(0)
    >>> repeated_blocks(torch.tensor([2, 3]), 7, letters=9, generator=generator)
    tensor([[2, 3, 2, 3, 2, 3, 2],
            [3, 4, 5, 3, 4, 5, 3]])

    From the second time on, the next letter is known: it is the one that followed the
    present letter the last time.
    """
    order = torch.rand(len(blocks), letters, generator=generator).argsort(dim=1)
    return order.gather(1, torch.arange(seq) % blocks[:, None])


def with_keys(
    ids: Int[Tensor, "texts seq"],
    generator: torch.Generator,
    *,
    letters: int,
    keys: int = 8,
    far: bool = False,
) -> Int[Tensor, "texts seq"]:
    """The texts with a key in each, and somewhere later a question and the key again.

    >>> text = torch.zeros(2, 7).long()
    >>> with_keys(text, torch.Generator().manual_seed(1), letters=1, keys=3, far=True)
    tensor([[2, 0, 0, 0, 0, 4, 2],
            [3, 0, 0, 0, 0, 4, 3]])

    A key is an ID from `letters` on, the question is the ID `letters + keys`. With
    `far` the key comes first and the question is as late as it can be; otherwise both
    places are drawn. To answer, a model must have the key in sight.
    """
    texts, seq = ids.shape
    key = letters + torch.randint(keys, (texts,), generator=generator)
    places = torch.rand(texts, seq - 2, generator=generator).argsort(dim=1)[:, :2]
    hidden, asked = places.sort(dim=1).values.T
    if far:
        hidden, asked = torch.zeros_like(hidden), torch.full_like(asked, seq - 3)
    ids, row = ids.clone(), torch.arange(texts)
    ids[row, hidden] = key
    ids[row, asked + 1] = letters + keys
    ids[row, asked + 2] = key
    return ids
