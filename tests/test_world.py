import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embeddings_lib.experiments.world import CUES, KINDS, TOPICS, World, shuffled

seeds = st.integers(0, 2**31)
COUNT = 4000


@pytest.fixture(scope="module")
def world():
    return World(seed=3)


def subjects(sentence, world):
    """The words of KINDS in a sentence: what it is about."""
    spellings = {word.spelling for word in world.words}
    return [word for word in sentence.split() if word in spellings]


@given(seeds)
def test_a_sentence_is_about_exactly_one_word(seed):
    world = World(seed)
    for sentence in world.sentences(50, seed=seed):
        assert len(subjects(sentence, world)) == 1


def test_no_word_has_two_roles():
    roles = Counter(TOPICS)
    for cues in CUES.values():
        roles.update(cues.split())
    for kind in KINDS.values():
        roles.update(kind.lines.split())
    assert roles.most_common(1)[0][1] == 1


def test_every_sentence_follows_the_facts_and_the_cues(world):
    words = {word.spelling: word for word in world.words}
    for sentence in world.sentences(COUNT, seed=1):
        (subject,) = subjects(sentence, world)
        word = words[subject]
        slots = KINDS[word.kind].sentence.split()
        for slot, spoken in zip(slots, sentence.split(), strict=True):
            if slot == "TOPIC":
                assert spoken in world.topics[word.family]
            elif slot in word.values:
                assert spoken in CUES[word.values[slot]].split()
            elif slot == "gender":  # of a profession
                assert spoken in (CUES["he"] + " " + CUES["she"]).split()
            elif slot in CUES:
                assert spoken in CUES[slot].split()
            else:
                assert spoken == (subject if slot == "WORD" else slot)


def test_a_family_keeps_four_topics_and_a_ring_shares_two_with_the_next(world):
    for kind in ("people", "things", "places", "actions", "professions"):
        for line in KINDS[kind].lines.splitlines():
            assert len(set(world.topics[line.split()[0]])) == 4
    for kind in ("days", "months"):
        ring = KINDS[kind].lines.split()
        for here, there in zip(ring, ring[1:] + ring[:1], strict=True):
            common = set(world.topics[here]) & set(world.topics[there])
            assert len(common) == 2


def test_every_word_is_as_likely(world):
    counts = Counter(
        subjects(sentence, world)[0] for sentence in world.sentences(20_000, seed=2)
    )
    expected = 20_000 / len(world.words)
    assert len(counts) == len(world.words)
    assert max(abs(n - expected) for n in counts.values()) < 5 * math.sqrt(expected)


def test_professions_say_she_as_often_as_their_share(world):
    she, all_of_them = Counter(), Counter()
    words = {word.spelling: word for word in world.words}
    for sentence in world.sentences(40_000, seed=4):
        word = words[subjects(sentence, world)[0]]
        if word.kind == "professions":
            all_of_them[word.family] += 1
            she[word.family] += sentence.split()[-1] in CUES["she"].split()
    assert sorted(world.she_share.values()) == [0.2] * 4 + [0.5] * 4 + [0.8] * 4
    for family, share in world.she_share.items():
        spread = math.sqrt(share * (1 - share) / all_of_them[family])
        assert abs(she[family] / all_of_them[family] - share) < 5 * spread


@pytest.mark.parametrize("entangled", [0.0, 0.3, 1.0])
def test_entangled_is_the_share_of_values_told_by_the_familys_own_cues(entangled):
    world = World(seed=5, entangled=entangled)
    words = {word.spelling: word for word in world.words}
    own = total = 0
    for sentence in world.sentences(COUNT, seed=6):
        word = words[subjects(sentence, world)[0]]
        slots = KINDS[word.kind].sentence.split()
        for slot, spoken in zip(slots, sentence.split(), strict=True):
            if slot in word.values:
                total += 1
                if spoken in world.own_cues[word.family, word.values[slot]]:
                    own += 1
                else:
                    assert spoken in CUES[word.values[slot]].split()
    spread = math.sqrt(entangled * (1 - entangled) / total)
    assert abs(own / total - entangled) <= 5 * spread


def test_each_value_of_a_family_has_four_cues_of_its_own(world):
    for cues in world.own_cues.values():
        assert len(set(cues)) == 4
        assert set(cues) <= set(TOPICS)


def test_a_seed_stands_for_the_same_facts_always():
    """The chapters tell them."""
    topics = World().topics
    assert topics["monday"] == ["ice", "lock", "mud"]
    assert topics["france"] == ["iron", "brush", "needle", "cotton"]
    assert World().own_cues["go", "past"] == ["feather", "song", "meadow", "bowl"]


def test_one_sentence_is_a_text_too(world):
    (alone,) = world.sentences(1, seed=3)
    assert len(alone.split()) == 8


def test_facts_and_sentences_have_seeds_of_their_own():
    assert World(1).topics == World(1).topics != World(2).topics
    assert World(1).sentences(9, seed=1) == World(1).sentences(9, seed=1)
    assert World(1).sentences(9, seed=1) != World(1).sentences(9, seed=2)


def test_encoding_is_undone_by_the_vocabulary(world):
    sentences = world.sentences(100, seed=7)
    ids = world.encode(sentences)
    assert ids.shape == (100, 8)
    decoded = [" ".join(world.vocabulary[i] for i in row) for row in ids.tolist()]
    assert decoded == sentences


@given(seeds)
def test_every_topic_is_kept_by_some_family_and_none_by_many(seed):
    kept = Counter(topic for topics in World(seed).topics.values() for topic in topics)
    assert set(kept) == set(TOPICS)
    assert max(kept.values()) <= 6  # three members of a ring, and three deals


def test_a_long_text_says_every_word_of_the_vocabulary(world):
    ids = world.encode(world.sentences(20_000, seed=8))
    assert ids.unique().tolist() == list(range(len(world.vocabulary)))


def test_questions_ask_for_one_change_of_value(world):
    words = {word.spelling: word for word in world.words}
    sizes = {}
    for relation, questions in world.analogies().items():
        sizes[relation] = len(questions)
        assert len(set(questions)) == len(questions)
        for a, b, c, d in questions:
            assert len({a, b, c, d}) == 4
            assert words[a].family == words[b].family
            assert words[c].family == words[d].family
            one = words[b].values.items() - words[a].values.items()
            other = words[d].values.items() - words[c].values.items()
            assert len(one) == 1
            assert one == other
    assert sizes == {
        "gender": 12 * 11,
        "number of people": 36 * 35,
        "number of things": 16 * 15,
        "tense": 16 * 15,
        "capital": 16 * 15,
    }
    assert ("man", "king", "woman", "queen") not in world.analogies()["gender"]
    assert ("man", "woman", "king", "queen") in world.analogies()["gender"]


@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_shuffling_keeps_the_words_and_the_shape(seed, rows, columns):
    ids = torch.arange(rows * columns).view(rows, columns)
    mixed = shuffled(ids, seed=seed)
    assert mixed.shape == ids.shape
    assert torch.equal(mixed.flatten().sort().values, ids.flatten())


def test_shuffling_sends_a_word_anywhere():
    ids = torch.arange(8).view(2, 4)
    places = Counter(
        (shuffled(ids, seed=seed) == 0).nonzero()[0].tolist()[1] for seed in range(400)
    )
    assert all(abs(n - 100) < 5 * math.sqrt(100) for n in places.values())


@pytest.mark.parametrize("entangled", [-0.1, 1.1, math.nan])
def test_a_probability_that_is_none_is_refused(entangled):
    with pytest.raises(ValueError, match=f"entangled must be 0 to 1.*got {entangled}"):
        World(entangled=entangled)


def test_no_sentences_are_refused(world):
    with pytest.raises(ValueError, match=r"count must be at least 1.*got 0"):
        world.sentences(0, seed=0)


def test_an_unknown_word_is_named(world):
    with pytest.raises(ValueError, match=r"among the 389.*got 'unicorn': check"):
        world.encode(["a unicorn"])


@pytest.mark.parametrize("sentences", [["a king", "a"], []])
def test_sentences_of_different_lengths_are_refused(world, sentences):
    with pytest.raises(ValueError, match=r"same number of words.*got the lengths"):
        world.encode(sentences)
