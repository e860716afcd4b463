"""Odd inputs of every kind: each gives right numbers, or the error of its docstring.

Shapes go down to zero, numbers come in every floating-point format, and tensors lie in
memory in odd ways. What is right is computed anew in float64, one number at a time
where that is short.
"""

import math
import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    T5Bias,
    TokenEmbedding,
    WordVectors,
    alibi_bias,
    rotate,
    sinusoidal_encoding,
    to_halves,
    to_pairs,
    train_bpe,
)
from embeddings_lib.attention import attention, attention_weights
from embeddings_lib.attention_biases import alibi_slopes, t5_buckets
from embeddings_lib.exact_angles import ExactAngles, wave_rates
from embeddings_lib.experiments.cooccurrence import (
    cooccurrences,
    neighbour_pairs,
    positive_pmi,
    svd_table,
)
from embeddings_lib.rotary_scaling import dynamic_ntk, linear, llama3, ntk, yarn

pytestmark = pytest.mark.usefixtures("as_users_call_it")
fuzz = settings(max_examples=60)

# How far a number may be from the float64 one: a few steps of its format.
STEPS = {torch.float64: 1e-6, torch.float32: 1e-5, torch.float16: 4e-3}
STEPS[torch.bfloat16] = 3e-2
LAYOUTS = {
    "in a row": lambda x: x.contiguous(),
    "every other number": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "first axis last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "a window": lambda x: torch.cat([x, x, x], dim=-1)[
        ..., x.shape[-1] : 2 * x.shape[-1]
    ],
    "starting late": lambda x: torch.cat([x.new_ones(1), x.flatten()])[1:].view(
        x.shape
    ),
}
sizes = st.integers(0, 4)
batches = st.lists(sizes, max_size=2).map(tuple)
layouts = st.sampled_from(["halves", "pairs"])
generators = st.integers(0, 999).map(torch.Generator().manual_seed)


@st.composite
def floats(draw, shape, dtype=None):
    """Normal numbers of a shape, in any format, laid out in any way."""
    numbers = torch.randn(shape, generator=draw(generators), dtype=torch.float64)
    lay = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    return lay(numbers.to(dtype or draw(st.sampled_from(list(STEPS)))))


@st.composite
def ids(draw, shape, low, high):
    """Whole numbers of a shape, from low to high."""
    dtype = draw(st.sampled_from([torch.int64, torch.int32]))
    numbers = torch.randint(low, high + 1, shape, generator=draw(generators))
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](numbers.to(dtype))


def assert_right(found, exact, dtype=None):
    """The shape, the format, and each number as near as the format can say it."""
    exact = torch.as_tensor(exact, dtype=torch.float64)
    dtype = dtype or found.dtype
    assert found.dtype == dtype
    assert found.shape == exact.shape
    error = (found.double() - exact).abs() / (1 + exact.abs())
    assert error.numel() == 0 or error.max() <= STEPS[dtype]


@contextmanager
def refused(kind, when):
    """The block raises `kind`, with a rule and a value, just where `when`."""
    message = None
    try:
        yield
    except kind as error:
        message = str(error)
    assert (message is not None) == bool(when), message or "it was accepted"
    if when:
        assert re.search(r"(must|needs?) .*got ", message, re.DOTALL)


def outside(numbers, rows):
    return bool(((numbers < 0) | (numbers >= rows)).any())


@fuzz
@given(st.data())
def test_a_lookup(data):
    rows, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    which = data.draw(ids((*data.draw(batches), data.draw(sizes)), -1, rows))
    weight = data.draw(floats((rows, width)))
    with refused(IndexError, outside(which, rows)):
        table = TokenEmbedding(rows, width, dtype=weight.dtype)
        table.weight.data = weight
        found = table(which)
        one_hot = torch.nn.functional.one_hot(which.long(), rows).double()
        assert_right(found, one_hot @ weight.double(), weight.dtype)


@fuzz
@given(st.data())
def test_an_input_layer(data):
    vocab_size, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    width = 2 * data.draw(st.integers(1, 3))
    dtype = data.draw(st.sampled_from(list(STEPS)))
    learned = data.draw(st.booleans())
    table = TokenEmbedding(vocab_size, width, dtype=dtype)
    positions = (
        LearnedPositions(length, width, dtype=dtype)
        if learned
        else SinusoidalPositions(width)
    )
    scale = data.draw(st.sampled_from([None, 2.5]))
    layer = InputEmbedding(table, positions, scale=scale)
    which = data.draw(ids((*data.draw(batches), data.draw(sizes)), 0, vocab_size - 1))
    offset = data.draw(st.integers(-1, length))
    seq = which.shape[-1]
    far = offset < 0 or (learned and offset + seq > length)
    with refused(IndexError, far), torch.no_grad():
        found = layer(which, offset=offset)
        if learned:
            places = positions.weight[offset : offset + seq].double()
        else:
            places = sinusoids(range(offset, offset + seq), width, 10_000.0)
        rows = table.weight.double()[which.long()] * (scale or 1.0)
        assert_right(found, rows + places, dtype)


def sinusoids(positions, width, base):
    rows = np.zeros((len(positions), width))
    for row, position in zip(rows, positions, strict=True):
        for i in range(width // 2):
            angle = position / base ** (2 * i / width)
            row[2 * i], row[2 * i + 1] = math.sin(angle), math.cos(angle)
    return torch.from_numpy(rows)


@fuzz
@given(st.data())
def test_sinusoids(data):
    width = data.draw(st.integers(-1, 6))
    base = data.draw(st.sampled_from([1.5, 100.0, 10_000.0]))
    places = data.draw(ids((data.draw(sizes),), 0, 2**20 - 1))
    with refused(ValueError, width < 2 or width % 2):
        found = sinusoidal_encoding(places, width, base=base)
        exact = sinusoids(places.tolist(), width, base)
        assert_right(found, exact)
        assert_right(SinusoidalPositions(width, base=base)(places), exact)


@fuzz
@given(st.data())
def test_waves(data):
    rates = data.draw(floats((data.draw(sizes),), torch.float64))
    start, radius = data.draw(st.floats(-4, 4)), data.draw(st.floats(0, 4))
    offset, seq = data.draw(st.integers(-1, 3000)), data.draw(st.integers(0, 3000))
    with refused(ValueError, len(rates) == 0):
        waves = ExactAngles(rates, start=start, radius=radius)
    if len(rates) == 0:
        return
    with refused(IndexError, offset < 0):
        found = waves.span(seq, offset)
        angles = start + rates * torch.arange(offset, offset + seq)[:, None]
        exact = radius * torch.stack([angles.cos(), angles.sin()], dim=-1)
        assert_right(found, exact.flatten(-2), torch.float32)


def turned(x, angles, layout):
    """The equation of `rotate`, a pair at a time."""
    out = x.clone()
    pairs = angles.shape[-1]
    for i in range(pairs):
        a, b = (2 * i, 2 * i + 1) if layout == "pairs" else (i, i + pairs)
        cos, sin = angles[..., None, i].cos(), angles[..., None, i].sin()
        out[..., a] = x[..., a] * cos - x[..., b] * sin
        out[..., b] = x[..., b] * cos + x[..., a] * sin
    return out


@fuzz
@given(st.data())
def test_a_rotation(data):
    batch, seq, heads = data.draw(batches), data.draw(sizes), data.draw(sizes)
    pairs, width = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 7))
    x = data.draw(floats((*batch, seq, heads, width)))
    angles = data.draw(
        floats((seq, pairs), data.draw(st.sampled_from([x.dtype, torch.float32])))
    )
    layout = data.draw(layouts)
    with refused(ValueError, 2 * pairs > width):
        found = rotate(x, angles, layout=layout)
        assert_right(found, turned(x.double(), angles.double(), layout), x.dtype)


@fuzz
@given(st.data())
def test_rotary_positions(data):
    batch, seq = data.draw(batches), data.draw(sizes)
    q_heads, k_heads = data.draw(sizes), data.draw(sizes)
    head_dim = 2 * data.draw(st.integers(1, 4))
    rotary_dim = 2 * data.draw(st.integers(1, head_dim // 2))
    layout, inplace = data.draw(layouts), data.draw(st.booleans())
    q = data.draw(floats((*batch, seq, q_heads, head_dim)))
    k = data.draw(floats((*batch, seq, k_heads, head_dim), q.dtype))
    shape = data.draw(st.sampled_from([(seq,), (*batch, seq)]))
    places = data.draw(ids(shape, -1, 2**20 - 1))
    rotary = RotaryPositions(head_dim, rotary_dim=rotary_dim, layout=layout)
    angles = places.double()[..., None] * wave_rates(rotary_dim)
    exact = [turned(x.double(), angles, layout) for x in (q, k)]
    train = data.draw(st.booleans()) and not inplace
    with refused(IndexError, outside(places, 2**20)):
        q, k = (x.requires_grad_(train) for x in (q, k))
        found = rotary(q, k, places, inplace=inplace)
        for ours, right in zip(found, exact, strict=True):
            assert_right(ours.detach(), right, q.dtype)


@fuzz
@given(st.data())
def test_the_reordering_of_projections(data):
    heads, head_dim = data.draw(sizes), 2 * data.draw(st.integers(1, 4))
    rows = heads * head_dim + data.draw(st.sampled_from([0, 0, 1]))
    weight = data.draw(floats((rows, *data.draw(batches))))
    with refused(ValueError, rows % head_dim):
        pairs = to_pairs(weight, head_dim)
        order = [
            head * head_dim + i + part * head_dim // 2
            for head in range(heads)
            for i in range(head_dim // 2)
            for part in (0, 1)
        ]
        assert torch.equal(pairs, weight[order])
        assert torch.equal(to_halves(pairs, head_dim), weight)


@fuzz
@given(st.data())
def test_attention(data):
    batch, heads = data.draw(batches), data.draw(st.integers(1, 3))
    seq_q, seq_k = data.draw(sizes), data.draw(sizes)
    dim, causal = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    q = data.draw(floats((*batch, seq_q, heads, dim)))
    k = data.draw(floats((*batch, seq_k, heads, dim), q.dtype))
    v = data.draw(floats((*batch, seq_k, heads, data.draw(sizes)), q.dtype))
    bias = data.draw(st.none() | floats((heads, seq_q, seq_k)))
    scale = data.draw(st.sampled_from([None, 0.0, 0.3]))
    mask = data.draw(st.none() | ids((seq_q, seq_k), 0, 1))
    mask = None if mask is None else mask.bool()
    hidden = data.draw(st.booleans())
    if hidden and bias is not None:
        bias = bias.masked_fill(bias > 0, -math.inf)
    options = {"causal": causal, "bias": bias, "scale": scale, "mask": mask}
    with refused(ValueError, causal and seq_q > seq_k):
        weights = attention_weights(q, k, **options)
        scores = torch.einsum("...qhd,...khd->...hqk", q.double(), k.double())
        scores = scores * (1 / math.sqrt(dim) if scale is None else scale)
        scores = scores + (0 if bias is None else bias.double())
        for m in range(seq_q):
            for n in range(seq_k):
                ahead = causal and n > m + seq_k - seq_q
                if ahead or (mask is not None and not mask[m, n]):
                    scores[..., m, n] = -math.inf
        exact = scores.exp() / scores.exp().sum(-1, keepdim=True)
        exact = exact.nan_to_num()  # 0 / 0, where a query may look nowhere
        assert_right(weights, exact, q.dtype)
        means = torch.einsum("...hqk,...khd->...qhd", exact, v.double())
        assert_right(attention(q, k, v, **options), means, q.dtype)


@fuzz
@given(
    heads=st.integers(-1, 40),
    seq_q=st.integers(-1, 5),
    seq_k=st.none() | st.integers(-1, 5),
)
def test_alibi(heads, seq_q, seq_k):
    keys = seq_q if seq_k is None else seq_k
    with refused(ValueError, heads < 1 or not 0 <= seq_q <= keys):
        found = alibi_bias(heads, seq_q, seq_k)
        slopes = alibi_slopes(heads).double()
        behind = [
            [max(0, m + keys - seq_q - n) for n in range(keys)] for m in range(seq_q)
        ]
        distances = torch.tensor(behind, dtype=torch.float64).reshape(seq_q, keys)
        exact = -slopes[:, None, None] * distances
        assert_right(found, exact, torch.float32)


@fuzz
@given(st.data())
def test_t5(data):
    buckets, most = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 200))
    distances = data.draw(ids((data.draw(sizes),), 0, 300))
    half = buckets // 2
    with refused(ValueError, not 1 <= half < most):
        found = t5_buckets(distances, buckets=buckets, max_distance=most)
        for distance, bucket in zip(distances.tolist(), found.tolist(), strict=True):
            exact = float(distance)
            if distance >= half:
                steps = math.log(distance / half) / math.log(most / half)
                exact = min(half + steps * (buckets - half), buckets - 1)
            # Where the formula gives a whole number, rounding may fall on either side.
            assert bucket in {math.floor(exact + by) for by in (-1e-5, 1e-5)}


@fuzz
@given(seq_q=st.integers(-1, 5), seq_k=st.none() | st.integers(-1, 5))
def test_t5_bias(seq_q, seq_k):
    bias = T5Bias(2, buckets=4, max_distance=8)
    torch.nn.init.normal_(bias.weight)
    keys = seq_q if seq_k is None else seq_k
    with refused(ValueError, not 0 <= seq_q <= keys), torch.no_grad():
        found = bias(seq_q, seq_k)
        assert found.shape == (2, seq_q, keys)
        for m in range(seq_q):
            for n in range(keys):
                behind = torch.tensor([max(0, m + keys - seq_q - n)])
                (row,) = t5_buckets(behind, buckets=4, max_distance=8)
                assert torch.equal(found[:, m, n], bias.weight[row])


@fuzz
@given(st.data())
def test_slower_rates(data):
    rates = wave_rates(2 * data.draw(st.integers(2, 16)), data.draw(st.floats(2, 1e6)))
    factor = data.draw(st.sampled_from([0.5, 1.0, 1.5, 8.0, math.inf, math.nan]))
    length = data.draw(st.integers(0, 10_000))
    known = {"factor": factor, "original_length": length}
    with refused(ValueError, not 1 <= factor < math.inf):
        for slower in (linear(rates, factor=factor), ntk(rates, factor=factor)):
            assert_between(slower, rates / factor, rates)
    with refused(ValueError, not 1 <= factor < math.inf or length < 1):
        for scaling in (yarn, llama3):
            assert_between(scaling(rates, **known), rates / factor, rates)
        seq = data.draw(st.integers(0, 20_000))
        grown = factor * max(1, seq / length) - (factor - 1)
        slower = dynamic_ntk(rates, **known, seq=seq)
        assert_between(slower, rates / grown, rates)


def assert_between(found, low, high):
    assert bool(((low * (1 - 1e-9) <= found) & (found <= high * (1 + 1e-9))).all())


@fuzz
@given(st.data())
def test_neighbours(data):
    text = data.draw(ids((data.draw(sizes), data.draw(sizes)), -1, 3))
    vocab_size, window = data.draw(sizes), data.draw(st.integers(0, 5))
    wrong = window < 1 or outside(text, vocab_size)
    with refused((IndexError, ValueError), wrong):
        counts = cooccurrences(text, vocab_size, window=window)
        exact = torch.zeros(vocab_size, vocab_size)
        pairs = 0
        for sentence in text.tolist():
            for i, word in enumerate(sentence):
                for j, context in enumerate(sentence):
                    if i != j and abs(i - j) <= window:
                        exact[word, context] += 1
                        pairs += 1
        assert torch.equal(counts, exact.long())
        assert len(neighbour_pairs(text, window=window)[0]) == pairs


@fuzz
@given(st.data())
def test_pmi(data):
    counts = data.draw(ids((data.draw(sizes), data.draw(sizes)), -1, 3))
    n = counts.double()
    with refused(ValueError, bool((n < 0).any()) or n.sum() == 0):
        found = positive_pmi(counts)
        exact = torch.zeros_like(n)
        for w, c in n.nonzero().tolist():
            chance = n[w].sum() * n[:, c].sum() / n.sum()
            exact[w, c] = max(0.0, math.log(n[w, c] / chance))
        assert_right(found, exact)


@fuzz
@given(st.data())
def test_the_best_table_of_a_width(data):
    shape, width = (data.draw(sizes), data.draw(sizes)), data.draw(sizes)
    matrix = data.draw(floats(shape, torch.float64))
    with refused(ValueError, not 1 <= width <= min(shape)):
        table = svd_table(matrix, width)
        # U √S times its own transpose is the square root of matrix · matrixᵀ, cut.
        values, vectors = torch.linalg.eigh(matrix @ matrix.T)
        values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        assert_right(table @ table.T, root)


@fuzz
@given(st.data())
def test_nearest_words(data):
    rows, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    table = data.draw(floats((rows, width), torch.float64))
    vectors = WordVectors([f"word {i}" for i in range(rows)], table)
    k = data.draw(st.integers(0, 5))
    with refused(ValueError, not 1 <= k <= rows - 1):
        lengths = table.norm(dim=1)
        cosines = (table @ table[0] / lengths / lengths[0])[1:].sort(descending=True)
        names, found = zip(*vectors.nearest("word 0", k=k), strict=True)
        assert_right(torch.tensor(found, dtype=torch.float64), cosines.values[:k])
        assert len(set(names)) == k
        assert "word 0" not in names


@fuzz
@given(text=st.text(max_size=40), more=st.integers(-3, 20))
def test_a_trained_tokenizer_gives_the_text_back(text, more):
    try:
        encoding = train_bpe(text, 256 + more)
    except ValueError as error:
        if more < 0:
            return
        most = int(re.search(r"ask for at most (\d+)", str(error))[1])
        assert 256 <= most < 256 + more
        encoding = train_bpe(text, most)
    else:
        assert more >= 0
    assert encoding.decode(encoding.encode(text)) == text
