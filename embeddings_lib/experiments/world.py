"""A small generated world, whose sentences never state a relation (chapter 3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from embeddings_lib import _guards


@dataclass(frozen=True)
class _Kind:
    """A sentence of eight words, and the words that can stand at its `WORD`.

    Each line of `lines` is a family, named after its first word. The columns say which
    values the members have.
    """

    sentence: str
    columns: tuple[dict[str, str], ...]
    lines: str


_ONE_MANY = ({"number": "one"}, {"number": "many"})

KINDS = {
    "people": _Kind(
        "number WORD near TOPIC and TOPIC for gender",
        (
            {"number": "one", "gender": "he"},
            {"number": "one", "gender": "she"},
            {"number": "many", "gender": "he"},
            {"number": "many", "gender": "she"},
        ),
        """king queen kings queens
        prince princess princes princesses
        duke duchess dukes duchesses
        man woman men women
        boy girl boys girls
        father mother fathers mothers
        son daughter sons daughters
        brother sister brothers sisters
        uncle aunt uncles aunts
        husband wife husbands wives
        actor actress actors actresses
        waiter waitress waiters waitresses""",
    ),
    "professions": _Kind(
        "number WORD near TOPIC and TOPIC for gender",
        _ONE_MANY,
        """doctor doctors\nnurse nurses\nteacher teachers\nengineer engineers
        baker bakers\nfarmer farmers\npainter painters\nlawyer lawyers
        writer writers\npilot pilots\nscientist scientists\ntailor tailors""",
    ),
    "things": _Kind(
        "number WORD near TOPIC and TOPIC for colour",
        _ONE_MANY,
        """cat cats\ndog dogs\nhorse horses\nbird birds\ntree trees\nhouse houses
        book books\ntable tables\nship ships\nstone stones\napple apples\nlamp lamps
        chair chairs\ncloud clouds\nmouse mice\nfoot feet""",
    ),
    "places": _Kind(
        "the place of WORD near TOPIC and TOPIC",
        ({"place": "country"}, {"place": "capital"}),
        """france paris\nitaly rome\nspain madrid\ngermany berlin\njapan tokyo
        russia moscow\nengland london\negypt cairo\ngreece athens\nnorway oslo
        poland warsaw\ncuba havana\nchina beijing\nportugal lisbon\nireland dublin
        austria vienna""",
    ),
    "actions": _Kind(
        "tense we WORD near TOPIC and TOPIC again",
        ({"tense": "present"}, {"tense": "past"}),
        """walk walked\nplay played\nlook looked\nwork worked\nsing sang\nrun ran
        write wrote\nspeak spoke\nbuild built\ndance danced\ndraw drew\neat ate
        sleep slept\nteach taught\nbuy bought\ngo went""",
    ),
    "days": _Kind(
        "on WORD day near TOPIC and TOPIC again",
        ({},),
        "monday\ntuesday\nwednesday\nthursday\nfriday\nsaturday\nsunday",
    ),
    "months": _Kind(
        "in WORD month near TOPIC and TOPIC again",
        ({},),
        """january\nfebruary\nmarch\napril\nmay\njune\njuly\naugust\nseptember\noctober
        november\ndecember""",
    ),
}

# What may stand in a slot, or stand for a value: four words, each as likely.
CUES = {
    "one": "a one this every",
    "many": "some many these several",
    "he": "he him his himself",
    "she": "she her hers herself",
    "present": "today now always usually",
    "past": "yesterday once formerly earlier",
    "country": "flag border army anthem",
    "capital": "mayor streets station suburbs",
    "day": "morning noon evening midnight",
    "month": "calendar harvest season holiday",
    "near": "near beside without behind",
    "and": "and or but then",
    "for": "for by like after",
    "we": "we you they i",
    "again": "again too together alone",
    "colour": "red green blue yellow",
}

_FIXED = {"the", "of", "on", "in"}  # they stand for themselves

_TOPICS = """anchor arrow badge ball barn basket bell bench blanket boat bottle bowl box
branch bread brick bridge broom brush bucket butter button cake candle carpet cart
castle cheese chimney clock coat coin copper corn cotton crown cup curtain dinner door
drum dust engine feather fence field fire fish flame flour flower forest fork fruit
garden gate glass glove gold grain grass guitar hammer hat hill honey ice ink iron
island jar jewel kettle key kitchen knife ladder lake leaf leather letter lock map
market mask meadow milk mill mirror moss mountain mud music nail needle nest net oil
oven paint paper path pearl pepper pillow pipe plate plough pond pot powder ribbon river
road roof rope rose salt sand saw scarf school shell shirt shoe silk silver smoke snow
soap song soup spoon star"""
TOPICS = _TOPICS.split()


@dataclass(frozen=True)
class _Word:
    spelling: str
    kind: str
    family: str
    values: dict[str, str]


class World:
    """Facts drawn from a seed, and sentences about them, in 389 words.

    >>> world = World(seed=0)
    >>> world.topics["king"]
    ['oil', 'plate', 'school', 'guitar']
    >>> world.sentences(2, seed=1)[1]
    'in may holiday behind bridge then letter too'

    A fact is which four TOPICS a family keeps: *king*, *queen*, *kings* and *queens*
    keep the same. Days and months lie on a ring, and each keeps three topics, two of
    them shared with the next. Professions differ in how often their sentences say
    *she*: `she_share` is 0.2, 0.5 or 0.8. Everything else is in KINDS and CUES. A
    sentence holds one word of KINDS, so it never says that a queen is a female king, or
    that Paris belongs to France.

    `entangled` is the probability that a value (number, gender, tense, place) is told
    not by its common words in CUES but by words that only this family uses for it:
    `own_cues`. With 0 each value sounds alike in every family, with 1 in none.

    Raises ValueError if `entangled` is not between 0 and 1.
    """

    def __init__(self, seed: int = 0, *, entangled: float = 0.0):
        _guards.between(0, 1, entangled=entangled)
        self.entangled = entangled
        self.words = list(_words())
        self.topics: dict[str, list[str]] = {}
        self.own_cues: dict[tuple[str, str], list[str]] = {}
        self._draw_facts(torch.Generator().manual_seed(seed))
        cues = " ".join(CUES.values()).split()
        subjects = [word.spelling for word in self.words]
        self.vocabulary = sorted([*subjects, *TOPICS, *cues, *_FIXED])

    def _draw_facts(self, generator: torch.Generator) -> None:
        deck: list[str] = []

        def deal(n: int) -> list[str]:
            if len(deck) < n:  # deal every topic once before any comes again
                order = torch.randperm(len(TOPICS), generator=generator).tolist()
                deck.extend([TOPICS[i] for i in order if TOPICS[i] not in deck])
            dealt, deck[:] = deck[:n], deck[n:]
            return dealt

        for kind in ("days", "months"):
            members = _families(kind)
            ring = deal(len(members))
            for i, (name,) in enumerate(members):
                self.topics[name] = [ring[(i + j) % len(ring)] for j in range(3)]
        for word in self.words:
            if word.family not in self.topics:
                self.topics[word.family] = deal(4)
        for word in self.words:
            for value in word.values.values():
                if (word.family, value) not in self.own_cues:
                    self.own_cues[word.family, value] = deal(4)
        names = [family[0] for family in _families("professions")]
        order = torch.randperm(len(names), generator=generator).tolist()
        self.she_share = {
            names[i]: (0.2, 0.5, 0.8)[rank % 3] for rank, i in enumerate(order)
        }

    def sentences(self, count: int, *, seed: int) -> list[str]:
        """`count` sentences of eight words, about words that are all as likely.

        Raises ValueError for a count below 1.
        """
        _guards.at_least(1, count=count)
        generator = torch.Generator().manual_seed(seed)
        subjects = torch.randint(len(self.words), (count,), generator=generator)
        chances = torch.rand(count, 8, 2, generator=generator, dtype=torch.float64)
        return [
            " ".join(self._sentence(self.words[subject], rolls))
            for subject, rolls in zip(subjects.tolist(), chances.tolist(), strict=True)
        ]

    def _sentence(self, word: _Word, rolls: list[list[float]]) -> Iterator[str]:
        slots = KINDS[word.kind].sentence.split()
        for slot, (which, chance) in zip(slots, rolls, strict=True):
            choices = self._choices(word, slot, chance)
            yield choices[int(which * len(choices))]

    def _choices(self, word: _Word, slot: str, chance: float) -> list[str]:
        if slot == "WORD":
            return [word.spelling]
        if slot == "TOPIC":
            return self.topics[word.family]
        if slot in _FIXED:
            return [slot]
        if word.kind == "professions" and slot == "gender":
            slot = "she" if chance < self.she_share[word.family] else "he"
        elif value := word.values.get(slot):
            if chance < self.entangled:
                return self.own_cues[word.family, value]
            slot = value
        return CUES[slot].split()

    def encode(self, sentences: Sequence[str]) -> Int[Tensor, "sentences seq"]:
        """The row numbers of the words in `vocabulary`, a row for each sentence.

        Raises ValueError for a word that this world does not have, and for sentences
        that differ in length.
        """
        row_of = {word: row for row, word in enumerate(self.vocabulary)}
        texts = [text.split() for text in sentences]
        _guards.sentences(texts, row_of)
        return torch.tensor([[row_of[word] for word in text] for text in texts])

    def analogies(self) -> dict[str, list[tuple[str, str, str, str]]]:
        """For each relation, all questions (a, b, c, d): *a is to b as c is to d*."""
        people, professions, things, places, actions = (
            _families(kind)
            for kind in ("people", "professions", "things", "places", "actions")
        )
        pairs = {
            "gender": [(he, she) for he, she, _, _ in people],
            "number of people": [(one, many) for one, _, many, _ in people]
            + [(one, many) for _, one, _, many in people]
            + professions,
            "number of things": things,
            "tense": actions,
            "capital": places,
        }
        return {
            relation: [(*x, *y) for x in members for y in members if x != y]
            for relation, members in pairs.items()
        }


def _families(kind: str) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in KINDS[kind].lines.splitlines()]


def _words() -> Iterator[_Word]:
    for name, kind in KINDS.items():
        for family in _families(name):
            for spelling, values in zip(family, kind.columns, strict=True):
                yield _Word(spelling, name, family[0], values)


def shuffled(
    token_ids: Int[Tensor, "sentences seq"], *, seed: int
) -> Int[Tensor, "sentences seq"]:
    """The same words, each at a random place of the text: who stands near whom is lost.

    >>> shuffled(torch.tensor([[1, 2], [3, 4]]), seed=0).flatten().sort().values
    tensor([1, 2, 3, 4])
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(token_ids.numel(), generator=generator)
    return token_ids.flatten()[order].view_as(token_ids)
