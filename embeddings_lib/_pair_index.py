"""How often each pair of neighbouring tokens occurs, and where: BPE's bookkeeping."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise

GAP = -1  # between two words, and where a token was joined to the one before it


class PairIndex:
    """The pairs of neighbouring tokens in `words`, which holds how often each occurs.

    >>> pairs = PairIndex({"low": 2, "lower": 1}, order=lambda pair: pair)
    >>> pairs.most_frequent() == (ord("l"), ord("o"))
    True
    >>> pairs.join((ord("l"), ord("o")), new=256)
    >>> pairs.most_frequent() == (256, ord("w"))
    True

    Of equally frequent pairs the first in `order` is the most frequent.

    All words stand in one row of tokens, chained to their neighbours. A pair knows the
    places where it began; a place whose token has changed since is passed over. Each
    join takes a token away, so all of them together take time in proportion to the
    letters of the distinct words. The heap may hold an old count, never one too small:
    a pair's count grows only while its newer token is made.
    """

    def __init__(self, words: Mapping[str, int], order: Callable[[tuple], tuple]):
        self.order = order
        self.tokens, self.times = [GAP], [0]
        for word, times in words.items():
            letters = word.encode()
            self.tokens += [*letters, GAP]
            self.times += [times] * (len(letters) + 1)
        self.before = list(range(-1, len(self.tokens) - 1))
        self.after = list(range(1, len(self.tokens) + 1))
        self.counts, self.places = defaultdict(int), defaultdict(list)
        for place, pair in enumerate(pairwise(self.tokens)):
            if GAP not in pair:
                self.counts[pair] += self.times[place]
                self.places[pair].append(place)
        self.heap = [self._entry(pair) for pair in self.counts]
        heapq.heapify(self.heap)

    def most_frequent(self) -> tuple[int, int] | None:
        """The pair that occurs most often, or None if there is no pair."""
        while self.heap:
            count, _, pair = self.heap[0]
            if -count == self.counts[pair]:
                return pair if count else None
            heapq.heapreplace(self.heap, self._entry(pair))
        return None

    def join(self, pair: tuple[int, int], new: int) -> None:
        """Make each occurrence of `pair` the one token `new`, from left to right."""
        tokens, times, before, after = self.tokens, self.times, self.before, self.after
        counts, places = self.counts, self.places
        first, second = pair
        born = set()
        for place in places.pop(pair):
            gone = after[place]
            if tokens[place] != first or tokens[gone] != second:
                continue
            left, right = before[place], after[gone]
            tokens[place], tokens[gone] = new, GAP
            after[place], before[right] = right, place
            for old, fresh, start in (
                ((tokens[left], first), (tokens[left], new), left),
                ((second, tokens[right]), (new, tokens[right]), place),
            ):
                if GAP not in fresh:
                    counts[old] -= times[place]
                    counts[fresh] += times[place]
                    places[fresh].append(start)
                    born.add(fresh)
        del counts[pair]
        for pair in born:
            heapq.heappush(self.heap, self._entry(pair))

    def _entry(self, pair: tuple[int, int]) -> tuple:
        return -self.counts[pair], self.order(pair), pair
