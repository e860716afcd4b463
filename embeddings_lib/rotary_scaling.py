"""Slower rates, so that RoPE reaches beyond the length of training (chapter 10)."""

import inspect
import math
from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from embeddings_lib import _guards
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
    `beta_slow`. `truncate` takes whole pairs for both ends. The paper's own share,
    linear in the turns, is that of `llama3`; its released code has this one. Queries
    and keys also grow, by `yarn_attention_factor`.

    Raises ValueError for a factor below 1, beta_slow that is not below beta_fast, fewer
    than two pairs, or a length below 1.

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


def yarn_attention_factor(factor: float) -> float:
    """By how much YaRN enlarges rotated queries and keys, so that scores stay sharp.

    >>> round(yarn_attention_factor(8.0), 4)
    1.2079

    Equation: 0.1 · ln(factor) + 1. A score grows by its square.

    Raises ValueError for a factor below 1.

    Source: Peng et al. 2023, section 3.
    """
    _guards.slower(factor)
    return 0.1 * math.log(factor) + 1


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
    `high_freq_factor`. So both are numbers of turns.

    Raises ValueError for a factor below 1, low_freq_factor that is not below
    high_freq_factor, or a length below 1.

    Source: the code released with Llama 3.1, 2024; the same rule, "NTK-by-parts", in
    Peng et al. 2023, section 3.
    """
    _guards.llama3(factor, original_length, low_freq_factor, high_freq_factor)
    turns = original_length * rates / (2 * math.pi)
    keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
    keep = keep.clamp(0, 1)
    return rates * keep + rates / factor * (1 - keep)


SCALINGS = {
    "default": lambda rates: rates,
    "linear": linear,
    "dynamic": dynamic_ntk,
    "yarn": yarn,
    "llama3": llama3,
}
CONFIG_NAMES = {"original_length": "original_max_position_embeddings"}


def rotary_from_config(
    parameters: Mapping,
    head_dim: int,
    *,
    seq: int | None = None,
    layout: str = "halves",
    device: torch.device | str | None = None,
) -> RotaryPositions:
    """The rotary positions that the config.json of a published model asks for.

    >>> config = {"rope_type": "linear", "rope_theta": 500_000.0, "factor": 4.0}
    >>> rotary_from_config(config, head_dim=8).angles.rates[0]
    tensor(0.2500, dtype=torch.float64)

    `parameters` is the entry `rope_parameters`; in older files `rope_scaling`, with the
    `rope_theta` that stands beside it. Its `rope_type` is default, linear, dynamic,
    yarn or llama3. "dynamic" also asks for `seq`, the length of the text in tokens.

    Raises ValueError for another type, for a key that the type lacks or does not know,
    and as the scaling does.

    Source: the names are those of transformers, `modeling_rope_utils`.
    """
    given = {key: value for key, value in parameters.items() if value is not None}
    kind = given.pop("rope_type", None) or given.pop("type", "default")
    _guards.one_of(SCALINGS, rope_type=kind)
    options = {"base": given.pop("rope_theta", 10_000.0)}
    if share := given.pop("partial_rotary_factor", None):
        options["rotary_dim"] = int(head_dim * share)
    if kind == "yarn" and "factor" in given:
        grown = given.pop("attention_factor", None)
        options["attention_factor"] = grown or yarn_attention_factor(given["factor"])
    if kind == "dynamic" and seq is not None:
        given["seq"] = seq
    options["scaling"] = partial(SCALINGS[kind], **_arguments(kind, given))
    return RotaryPositions(head_dim, **options, layout=layout, device=device)


def _arguments(kind: str, given: dict) -> dict:
    """The keys of a configuration as arguments of the function for `kind`, checked."""
    _, *parameters = inspect.signature(SCALINGS[kind]).parameters.values()
    wanted = {CONFIG_NAMES.get(one.name, one.name): one for one in parameters}
    _guards.keys_of(kind, wanted, given)
    return {wanted[key].name: value for key, value in given.items()}
