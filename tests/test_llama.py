"""The Llama of the parts, against transformers: a real one, and small random ones."""

import pytest
import torch
import transformers
from torch.testing import assert_close

from chapters.assignments.grader.masters import Master
from embeddings_lib import Llama, ModelShape, RotaryPositions, load_llama, load_smollm2
from embeddings_lib.attention import attention
from embeddings_lib.downloads import fetch
from embeddings_lib.llama import _attention, left_pad
from tests import notebooks

# After each, 64 times, the likeliest next token is so by a score of 0.01 and more.
PROMPTS = [
    "The capital of France is",
    "Water boils at",
    "def add(a, b):\n    return",
    "Once upon a time there was a",
    "The opposite of hot is",
    "Dear Sir or Madam,\n",
    "In 1969, for the first time,",
    "import numpy as np\n",
    "She opened the door and",
    "Bread is made from flour,",
]


@pytest.fixture(scope="module")
def smollm2():
    return load_smollm2()


@pytest.fixture(scope="module")
def reference():
    """The same file, read and run by transformers."""
    transformers.utils.logging.disable_progress_bar()
    path = fetch("smollm2")
    return transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()


@pytest.fixture(scope="module")
def continued(smollm2):
    """The prompts in one batch, which tokens are real, and 64 tokens from our model."""
    model, encoding = smollm2
    token_ids, real = left_pad([encoding.encode(prompt) for prompt in PROMPTS])
    assert not real.all(), "some are shorter"
    return token_ids, real, model.generate(token_ids, 64, real=real)


@pytest.fixture(scope="module")
@torch.no_grad()
def read_by_both(continued, smollm2, reference):
    """The prompts and what our model wrote: tokens, which are real, both's scores."""
    token_ids, real, written = continued
    everything = torch.cat([token_ids, written], dim=1)
    real = torch.cat([real, torch.ones_like(written, dtype=torch.bool)], dim=1)
    positions = (real.cumsum(dim=1) - 1).clamp(min=0)
    ours = smollm2[0](everything, positions=positions, mask=real[:, None])
    theirs = reference(everything, attention_mask=real, position_ids=positions).logits
    return everything, real, ours, theirs


def test_the_real_model_continues_ten_texts_as_transformers_does(
    continued, read_by_both
):
    # Where the likeliest token after each is the next one, step by step they are the
    # continuation that greedy generation finds.
    _, _, written = continued
    *_, theirs = read_by_both
    assert torch.equal(theirs[:, -65:-1].argmax(dim=-1), written)


@torch.no_grad()
def test_its_scores_are_those_of_transformers_padded_or_not(
    continued, smollm2, read_by_both
):
    (model, _), (_, _, written) = smollm2, continued
    everything, real, ours, theirs = read_by_both
    assert_close(ours[real], theirs[real], rtol=0, atol=1e-3)
    # Without a cache, each next token is the one that was written with it.
    assert torch.equal(ours[:, -65:-1].argmax(dim=-1), written)
    rows = zip(everything, ours, real, written, strict=True)
    for text, among_others, is_real, continuation in rows:
        alone = model(text[is_real])
        assert_close(alone, among_others[is_real], rtol=0, atol=1e-3)
        # Without padding too.
        assert torch.equal(alone[-65:-1].argmax(dim=-1), continuation)


def test_its_queries_and_keys_are_stored_for_pairs(smollm2, reference):
    from embeddings_lib import to_halves

    model, _ = smollm2
    for ours, theirs in zip(model.blocks, reference.model.layers, strict=True):
        attention = theirs.self_attn
        assert torch.equal(to_halves(ours.q.weight, 64), attention.q_proj.weight)
        assert torch.equal(to_halves(ours.k.weight, 64), attention.k_proj.weight)
        assert torch.equal(ours.v.weight, attention.v_proj.weight)


def test_its_head_is_its_token_table(smollm2):
    model, _ = smollm2
    assert model.head.weight is model.token_table.weight
    assert sum(w.numel() for w in model.parameters()) == model.shape.total()
    assert model.shape.total() == 134_515_008


# Small random models

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def small(tmp_path, kind=transformers.LlamaConfig, **options):
    """A random model of transformers, in float64, and ours from its folder."""
    torch.manual_seed(0)
    config = kind(**SIZES | options)
    theirs = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    with torch.no_grad():
        for weight in theirs.parameters():  # norms too, which start as ones
            weight.normal_(std=0.3)
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    return load_llama(tmp_path), theirs


def text(*shape, seed=0):
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(seed))


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_word_embeddings": True},
        {"head_dim": 10},
        {"num_key_value_heads": 4},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
        {"rope_parameters": LLAMA3},
        {"kind": transformers.MistralConfig, "sliding_window": None},
    ],
    ids=str,
)
def test_any_llama_of_transformers_is_ours(tmp_path, options):
    ours, theirs = small(tmp_path, **options)
    token_ids = text(3, 50)
    # Their angles are of float32.
    assert_close(ours(token_ids), theirs(token_ids).logits, rtol=0, atol=1e-3)


def test_read_in_parts_with_a_cache_it_is_read_at_once(tmp_path):
    model, _ = small(tmp_path)
    token_ids, cache = text(2, 9), []
    parts = [model(part, cache=cache) for part in token_ids.split([3, 1, 4, 1], dim=1)]
    assert_close(torch.cat(parts, dim=1), model(token_ids))
    assert [tuple(k.shape) for k, v in cache] == [(2, 9, 2, 6)] * 2


def test_packed_texts_are_read_as_each_alone(tmp_path):
    model, _ = small(tmp_path)
    texts = [text(length, seed=length) for length in (4, 1, 6)]
    number = torch.tensor([0] * 4 + [1] + [2] * 6)
    packed = model(
        torch.cat(texts),
        positions=torch.cat([torch.arange(len(one)) for one in texts]),
        mask=number[:, None] == number,
    )
    assert_close(packed, torch.cat([model(one) for one in texts]))


def test_a_padded_text_is_continued_as_alone(tmp_path):
    model, _ = small(tmp_path)
    texts = [text(length, seed=length).tolist() for length in (7, 2, 4)]
    token_ids, real = left_pad(texts, pad_id=39)
    together = model.generate(token_ids, 12, real=real)
    for one, continuation in zip(texts, together, strict=True):
        alone = model.generate(torch.tensor(one), 12)
        assert alone.tolist() == continuation.tolist()


def test_a_text_ends_at_its_first_stop(tmp_path):
    model, _ = small(tmp_path)
    free = model.generate(text(20, 3), 8)
    stop = free[0, 2].item()
    for whole, cut in zip(free, model.generate(text(20, 3), 8, stop=stop), strict=True):
        before = whole.tolist()
        if stop in before:
            before = before[: before.index(stop)]
        assert cut.tolist() == before + [stop] * (8 - len(before))


def test_a_token_is_drawn_as_often_as_its_probability_says(tmp_path):
    model, _ = small(tmp_path)
    prompt = text(5)
    generator = torch.Generator().manual_seed(0)
    drawn = model.generate(prompt.expand(20_000, 5), 1, generator=generator)
    chances = model(prompt)[-1].softmax(dim=0)
    found = drawn.flatten().bincount(minlength=40) / len(drawn)
    # Three standard deviations, for the forty together.
    assert ((found - chances) ** 2).sum() < 3 * (chances * (1 - chances)).sum() / 20_000
    assert (found > 0).sum() > 10


def test_the_same_generator_draws_the_same(tmp_path):
    model, _ = small(tmp_path)
    first, second, other = (
        model.generate(text(5), 20, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("seq_q", "seq_k"), [(5, 5), (1, 6), (3, 6)])
@pytest.mark.parametrize("masked", [False, True])
def test_its_attention_is_that_of_the_chapters(seq_q, seq_k, masked):
    torch.manual_seed(0)
    q = torch.randn(2, seq_q, 6, 8, dtype=torch.float64)
    k, v = torch.randn(2, 2, seq_k, 3, 8, dtype=torch.float64)
    mask = torch.rand(2, seq_q, seq_k) < 0.7 if masked else None
    per_head = mask.unsqueeze(-3) if masked else None
    assert_close(_attention(q, k, v, mask), attention(q, k, v, mask=per_head))
    if masked:  # the same for every text and query
        keys = mask[0, 0]
        assert_close(_attention(q, k, v, keys), attention(q, k, v, mask=keys))
    alone = _attention(q[0], k[0], v[0], mask[0] if masked else None)
    assert_close(alone, _attention(q, k, v, mask)[0])


def test_a_padded_text_teaches_as_it_would_alone(tmp_path):
    model, _ = small(tmp_path)
    texts = [text(length, seed=length) for length in (7, 2)]
    token_ids, real = left_pad([one.tolist() for one in texts], pad_id=39)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    together = model(token_ids, positions=positions, mask=real[:, None])
    sums = (
        together[real].square().sum(),
        sum(model(one).square().sum() for one in texts),
    )
    weights = list(model.parameters())
    grads = [torch.autograd.grad(x, weights) for x in sums]
    for found, alone in zip(*grads, strict=True):
        assert_close(found, alone)


def test_its_losses_are_the_cross_entropy_of_each_next_token(tmp_path):
    model, theirs = small(tmp_path)
    token_ids = text(3, 9)
    each = torch.stack([model.losses(one) for one in token_ids])
    assert_close(model.losses(token_ids), each)
    expected = theirs(token_ids, labels=token_ids).loss.double()
    assert_close(each.mean(), expected, rtol=0, atol=1e-3)  # their angles are float32
    hidden = torch.arange(8) != 2
    assert_close(
        model.losses(token_ids, positions=torch.arange(5, 13), mask=hidden)[:, -1],
        -model(token_ids[:, :-1], mask=hidden)[:, -1]
        .log_softmax(dim=-1)
        .gather(1, token_ids[:, -1:])[:, 0],
    )


def test_it_learns(tmp_path):
    model, theirs = small(tmp_path)
    token_ids = text(2, 6)
    model(token_ids).square().mean().backward()
    theirs(token_ids).logits.square().mean().backward()
    assert_close(
        model.token_table.weight.grad,
        theirs.model.embed_tokens.weight.grad,
        rtol=1e-3,
        atol=1e-5,
    )


def test_a_shape_that_is_not_a_llamas_is_refused():
    shape = ModelShape(vocab_size=9, embed_dim=8, layers=1, heads=2)
    with pytest.raises(ValueError, match=r"gated MLP.*got gated=False, biases='all'"):
        Llama(shape, RotaryPositions(4))


@torch.no_grad()
def test_the_head_without_a_label_of_assignment_4_is_one_of_the_real_model(smollm2):
    """Queries and keys as they are before they are turned, and the scores after."""
    given = {"__name__": "__main__"}
    for source in Master(notebooks.ASSIGNMENTS[3]).given:
        exec(source, given)
    model, encoding = smollm2
    token_ids = torch.tensor(encoding.encode("Rome is in Italy,"))
    x, positions = model.token_table(token_ids), torch.arange(len(token_ids))
    for block in model.blocks[:11]:
        x, _ = block(x, model.rotary, positions)
    block = model.blocks[11]
    q, k = (
        part(block.norm_1(x)).unflatten(-1, (-1, block.head_dim))
        for part in (block.q, block.k)
    )
    assert_close(q[:, 1], given["Q"], atol=0.006, rtol=0)
    assert_close(k[:, 0], given["K"], atol=0.006, rtol=0)
    turned_q, turned_k = model.rotary(q, k)
    scores = turned_q[:, 1] @ turned_k[:, 0].T
    assert_close(scores, given["SCORES"], atol=0.06, rtol=0)
