"""Slower rates, so that RoPE reaches beyond the length of training (chapter 13)."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from embeddings_lib import _guards
from embeddings_lib._configurations import rotation_of
from embeddings_lib.rotary_positions import RotaryPositions

Rates = Float[Tensor, " pairs"]


def linear(rates: Rates, *, factor: float) -> Rates:
    """Position interpolation: every pair turns `factor` times slower.

    >>> linear(torch.tensor([1.0, 0.1, 0.01]), factor=4.0)
    tensor([0.2500, 0.0250, 0.0025])

    Equation: rate / factor, in radians per token. Token 4,000 stands where token 1,000
    stood in training, for factor 4.

    Raises ValueError for a factor below 1.

    Source: Chen et al. 2023, section 2.
    """
    _guards.slower(factor)
    return rates / factor


def ntk(rates: Rates, *, factor: float) -> Rates:
    """NTK-aware scaling: the slowest pair slows down by `factor`, the fastest not.

    >>> ntk(torch.tensor([1.0, 0.1, 0.01]), factor=4.0)
    tensor([1.0000, 0.0500, 0.0025])

    Equation: rate_i · factor^(-i / (pairs - 1)). That is a larger base: base ·
    factor^(dim / (dim - 2)), with dim = 2 · pairs.

    Raises ValueError for a factor below 1, or fewer than two pairs.

    Source: bloc97 2023, "NTK-aware scaled RoPE", as in Peng et al. 2023, section 3.
    """
    _guards.slowed(rates, factor)
    share = torch.linspace(0, 1, len(rates), dtype=rates.dtype, device=rates.device)
    return rates * factor**-share


def dynamic_ntk(
    rates: Rates, *, factor: float, original_length: int, seq: int
) -> Rates:
    """NTK-aware scaling by as much as a text of `seq` tokens asks for.

    >>> rates = torch.tensor([1.0, 0.1, 0.01])
    >>> dynamic_ntk(rates, factor=2.0, original_length=512, seq=512)
    tensor([1.0000, 0.1000, 0.0100])
    >>> dynamic_ntk(rates, factor=2.0, original_length=512, seq=1024)
    tensor([1.0000, 0.0577, 0.0033])

    Equation: `ntk` with factor · seq / original_length - (factor - 1), and nothing up
    to the original length. Keys that a cache turned earlier, with other rates, do not
    fit the new ones.

    Raises ValueError for a factor or a length below 1, or fewer than two pairs.

    Source: emozilla 2023, "Dynamically scaled RoPE", as in Peng et al. 2023.
    """
    _guards.slower(factor, original_length)
    grown = max(seq, original_length) / original_length
    return ntk(rates, factor=factor * grown - (factor - 1))


def yarn(
    rates: Rates,
    *,
    factor: float,
    original_length: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
) -> Rates:
    """YaRN: keep pairs that turn often, interpolate those that hardly turn.

    >>> from embeddings_lib.exact_angles import wave_rates
    >>> rates = wave_rates(8, base=10_000.0)
    >>> rates / yarn(rates, factor=4.0, original_length=4096)
    tensor([1.0000, 1.0000, 1.6000, 4.0000], dtype=torch.float64)

    Equation: rate · (1 - share) + rate / factor · share. The share rises from 0 to 1 in
    equal steps from pair to pair: from the pair that makes `beta_fast` turns in
    `original_length` tokens (`original_max_position_embeddings`) to the one that makes
    `beta_slow`; where they are equal, it is a step. `truncate` takes whole pairs for
    both ends. The paper's own share, linear in the turns, is that of `llama3`; its
    released code has this one. Queries and keys also grow, by `yarn_attention_factor`.

    Raises ValueError for a factor below 1, beta_slow above beta_fast or not above 0,
    fewer than two pairs, or a length below 1.

    Source: Peng et al. 2023, section 3, and the code released with it.
    """
    _guards.yarn(rates, factor, original_length, beta_slow, beta_fast)
    step = math.log(rates[0] / rates[1])

    def pair_with(turns: float) -> float:
        return math.log(rates[0] * original_length / (2 * math.pi * turns)) / step

    first, last = pair_with(beta_fast), pair_with(beta_slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * len(rates) - 1)
    pairs = torch.arange(len(rates), dtype=rates.dtype, device=rates.device)
    share = ((pairs - first) / max(last - first, 1e-3)).clamp(0, 1)
    return rates * (1 - share) + rates / factor * share


def yarn_attention_factor(
    factor: float, *, mscale: float | None = None, mscale_all_dim: float | None = None
) -> float:
    """By how much YaRN enlarges rotated queries and keys, so that scores stay sharp.

    >>> round(yarn_attention_factor(8.0), 4)
    1.2079
    >>> yarn_attention_factor(40.0, mscale=1.0, mscale_all_dim=1.0)  # DeepSeek-V3
    1.0

    Equation: 0.1 · ln(factor) + 1. A score grows by its square. DeepSeek has a number
    for the numerator and one for the denominator of (0.1 · mscale · ln(factor) + 1) /
    (0.1 · mscale_all_dim · ln(factor) + 1): its scores grow where the softmax scales
    them, by the square of that denominator.

    Raises ValueError for a factor below 1, or one of the two numbers alone.

    Source: Peng et al. 2023, section 3; the code released with DeepSeek-V2, 2024.
    """
    _guards.yarn_growth(factor, mscale, mscale_all_dim)
    grown, again = (1, 0) if mscale is None else (mscale, mscale_all_dim)
    log = 0.1 * math.log(factor)
    return (grown * log + 1) / (again * log + 1)


def llama3(
    rates: Rates,
    *,
    factor: float,
    original_length: int,
    low_freq_factor: float = 1.0,
    high_freq_factor: float = 4.0,
) -> Rates:
    """Llama 3.1: keep pairs with many turns, interpolate those with few.

    >>> rates = torch.tensor([1.0, 0.01, 0.002, 0.0001])
    >>> 8192 * rates / (2 * torch.pi)  # turns within 8,192 tokens
    tensor([1.3038e+03, 1.3038e+01, 2.6076e+00, 1.3038e-01])
    >>> rates / llama3(rates, factor=8.0, original_length=8192)
    tensor([1.0000, 1.0000, 1.6838, 8.0000])

    Equation: rate · keep + rate / factor · (1 - keep), where keep rises from 0 to 1 as
    the turns of a pair within `original_length` tokens
    (`original_max_position_embeddings`) rise from `low_freq_factor` to
    `high_freq_factor`. So both are numbers of turns; where they are equal, it is a
    step.

    Raises ValueError for a factor below 1, low_freq_factor above high_freq_factor, or a
    length below 1.

    Source: the code released with Llama 3.1, 2024; the same rule, "NTK-by-parts", in
    Peng et al. 2023, section 3.
    """
    _guards.llama3(factor, original_length, low_freq_factor, high_freq_factor)
    turns = original_length * rates / (2 * math.pi)
    keep = (turns - low_freq_factor) / max(high_freq_factor - low_freq_factor, 1e-9)
    keep = keep.clamp(0, 1)
    return rates * keep + rates / factor * (1 - keep)


def longrope(
    rates: Rates,
    *,
    short_factor: Sequence[float],
    long_factor: Sequence[float],
    original_length: int,
    seq: int,
) -> Rates:
    """LongRoPE: each pair turns slower by a factor of its own, found by search.

    >>> rates = torch.tensor([1.0, 0.1, 0.01])
    >>> found = {"short_factor": [1.0, 1.0, 1.0], "long_factor": [1.0, 2.0, 4.0]}
    >>> longrope(rates, **found, original_length=4096, seq=5000)
    tensor([1.0000, 0.0500, 0.0025])

    Equation: rate_i / factor_i, with one list of factors for texts of up to
    `original_length` tokens (`original_max_position_embeddings`), and another for
    longer ones. So keys that a cache turned before the text grew beyond that length do
    not fit the new ones. Queries and keys also grow, by `longrope_attention_factor`.

    Raises ValueError for lists that do not have a number above 0 for each pair, or a
    length below 1.

    Source: Ding et al. 2024, section 3; the code released with Phi-3, 2024.
    """
    _guards.longrope(rates, short_factor, long_factor, original_length)
    factors = long_factor if seq > original_length else short_factor
    return rates / torch.as_tensor(factors, dtype=rates.dtype, device=rates.device)


def longrope_attention_factor(factor: float, *, original_length: int) -> float:
    """By how much LongRoPE enlarges rotated queries and keys, in texts of any length.

    >>> round(longrope_attention_factor(32.0, original_length=4096), 4)  # Phi-3.5
    1.1902

    Equation: sqrt(1 + ln(factor) / ln(original_length)), where the factor is the
    longest text (`max_position_embeddings`) over the original length.

    Raises ValueError for a factor below 1, or a length below 2.

    Source: Ding et al. 2024, section 3; the code released with Phi-3, 2024.
    """
    _guards.longrope_growth(factor, original_length)
    return math.sqrt(1 + math.log(factor) / math.log(original_length))


def proportional(rates: Rates, *, share: float, factor: float = 1.0) -> Rates:
    """Gemma 4: the slow pairs of a head do not turn at all.

    >>> proportional(torch.tensor([1.0, 0.1, 0.01, 0.001]), share=0.5)
    tensor([1.0000, 0.1000, 0.0000, 0.0000])

    Equation: rate / factor for the first `share` of the pairs (`partial_rotary_factor`)
    and 0 for the others. Where only the first `share` of a head's *features* rotate, as
    in GPT-NeoX, the same number of pairs spans all rates.

    Raises ValueError for a share that is not above 0 and at most 1, or a factor below
    1.

    Source: the code released with Gemma 4, 2026.
    """
    _guards.turning_share(share, factor)
    turning = torch.arange(len(rates), device=rates.device) < int(share * len(rates))
    return torch.where(turning, rates / factor, 0.0)


SCALINGS = {
    "default": lambda rates: rates,
    "linear": linear,
    "ntk": ntk,
    "dynamic": dynamic_ntk,
    "yarn": yarn,
    "longrope": longrope,
    "llama3": llama3,
    "proportional": proportional,
}
GROWTHS = {"yarn": yarn_attention_factor, "longrope": longrope_attention_factor}
CONFIG_NAMES = {
    "original_length": "original_max_position_embeddings",
    "share": "partial_rotary_factor",
}


def rotary_from_config(
    parameters,
    head_dim: int | None = None,
    *,
    seq: int | None = None,
    layer: int | str | None = None,
    layout: str | None = None,
    device: torch.device | str | None = None,
) -> RotaryPositions | None:
    """The rotary positions that the config.json of a published model asks for.

    >>> config = {"rope_type": "linear", "rope_theta": 500_000.0, "factor": 4.0}
    >>> rotary_from_config(config, head_dim=8).angles.rates[0]
    tensor(0.2500, dtype=torch.float64)
    >>> file = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 8}
    >>> rotary_from_config(file | {"rope_scaling": config})
    RotaryPositions(
      head_dim=8, base=500000.0, rotary_dim=8, layout='halves'
      (angles): ExactAngles(rates=4)
    )

    `parameters` is a whole config.json, as a path, its folder, a mapping or an object
    of transformers; or only its entry `rope_parameters` (`rope_scaling` in older
    files), with `rope_theta` inside and the `head_dim` beside it. Arguments go before
    what a file says. The layout is that of the `model_type`, or must be given for one
    that is not known; for an entry alone it is "halves".

    Where the layers of a model turn differently, `layer` is an index or a type such as
    "full_attention"; the result is None for a layer that does not rotate. `seq` is the
    length of the text in tokens: "longrope" must know it, and "dynamic" takes
    `max_position_embeddings` without it. `rope_theta` is never guessed: where neither
    the entry nor the file has it, it is the one that the code of its `model_type`
    fixes. Of Qwen-VL's `mrope` this is the text, without images. What a model does to
    scores beside rotation, as DeepSeek's softmax scale, is not part of it.

    Raises ValueError for a type, a key or a layer that is not known, for a missing key,
    base, head_dim or layout, for nothing that rotates, and as the scaling does.

    Source: the names and rules are those of transformers, `modeling_rope_utils`.
    """
    found = rotation_of(parameters, head_dim, layer, layout)
    if found is None:
        return None
    _guards.one_of(SCALINGS, rope_type=found.kind)
    keys = found.keys | ({} if seq is None else {"seq": seq})
    scaling = SCALINGS[found.kind]
    return RotaryPositions(
        found.head_dim,
        base=found.base,
        rotary_dim=found.rotary_dim,
        layout=found.layout,
        scaling=partial(scaling, **_arguments(found.kind, scaling, keys)),
        attention_factor=_attention_factor(found.kind, keys),
        device=device,
    )


def _attention_factor(kind: str, keys: dict) -> float:
    if kind not in GROWTHS:
        return 1.0
    if "attention_factor" in keys:
        return float(keys["attention_factor"])
    return GROWTHS[kind](**_arguments(kind, GROWTHS[kind], keys))


def _arguments(kind: str, function: Callable, keys: dict) -> dict:
    """The keys of a configuration that the function takes, as its arguments."""
    parameters = inspect.signature(function).parameters.values()
    wanted = {CONFIG_NAMES.get(one.name, one.name): one for one in parameters}
    wanted.pop("rates", None)
    _guards.keys_of(kind, wanted, keys)
    return {one.name: keys[key] for key, one in wanted.items() if key in keys}
