"""The bugs of chapter 16, each planted in the library for its tests to find.

A bug is a function that takes a function of the library and returns it as a slip would
have left it. It stands under the exhibit, the place where it is planted, and the test
that must notice; its name is what the library then does wrong.

`python -m tests.mutants` prints as JSON how each test ended: the name of the exception
that failed it, or nothing if it passed.
"""

import json
import math
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings
from torch import nn

from embeddings_lib.exact_angles import ROWS, ExactAngles, wave_rates
from embeddings_lib.rotary_scaling import ntk

ROOT = Path(__file__).parents[1]
OTHER = {"pairs": "halves", "halves": "pairs"}


@dataclass(frozen=True)
class Mutant:
    """What is put in the place of `target`, and the test that must notice."""

    exhibit: str
    target: str
    test: str
    wrong: Callable[[Callable], Callable]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """For as long as this lasts, the library has the bug."""
        parent, _, name = self.target.rpartition(".")
        try:
            owner = pkgutil.resolve_name(parent)
            original = vars(owner)[name]
        except (ImportError, AttributeError, KeyError):
            raise LookupError(
                "a bug must be planted in a function that the library has; got "
                f"{self.target}: what took its place?"
            ) from None
        wrong = self.wrong(original)
        replace(owner, original, wrong)
        try:
            yield
        finally:
            replace(owner, wrong, original)


def replace(owner: object, old: Callable, new: Callable) -> None:
    """`new` for `old`, in its class or module and wherever it is imported by name."""
    library = [
        module
        for name, module in sys.modules.items()
        if name.split(".")[0] == "embeddings_lib"
    ]
    for place in (owner, *library):
        for name, value in list(vars(place).items()):
            if value is old:
                setattr(place, name, new)


MUTANTS: dict[str, Mutant] = {}


def bug(exhibit: str, target: str, test: str) -> Callable:
    def listed(wrong):
        MUTANTS[wrong.__name__.replace("_", " ")] = Mutant(exhibit, target, test, wrong)
        return wrong

    return listed


# Axes


@bug(
    "batch for text",
    "embeddings_lib.input_embedding.InputEmbedding.forward",
    "test_input_embedding.py::test_each_vector_is_the_tokens_row_plus_the_positions_row",
)
def the_input_layer_counts_the_batch(forward):
    def wrong(self, token_ids, positions=None, *, offset=0):
        samples = torch.arange(offset, offset + len(token_ids))
        return forward(self, token_ids, samples[:, None].expand_as(token_ids))

    return wrong


@bug(
    "heads for text",
    "embeddings_lib.rotary_positions.RotaryPositions.forward",
    "test_rotary_positions.py::test_decoding_with_a_cache_is_the_full_pass",
)
def each_head_turns_by_its_number(forward):
    def wrong(self, q, k, positions=None, *, offset=0, **options):
        return forward(self, q, k, offset=offset, heads_first=True)

    return wrong


@bug(
    "exercise 1",
    "embeddings_lib.attention.attention",
    "test_language_model.py::test_a_score_sees_no_later_token",
)
def heads_are_joined_before_tokens(attention):
    return lambda q, k, v, **options: (
        attention(q, k, v, **options).transpose(-3, -2).reshape(q.shape)
    )


# Layouts and directions


@bug(
    "not put back",
    "embeddings_lib.rotary_positions.join_pairs",
    "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
)
def pairs_come_back_as_halves(join_pairs):
    return lambda a, b, layout: join_pairs(a, b, "halves")


@bug(
    "other pairing",
    "embeddings_lib.rotary_positions.rotate_by",
    "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
)
def rotate_takes_one_layout_for_the_other(rotate_by):
    return lambda x, cos, sin, layout: rotate_by(x, cos, sin, OTHER[layout])


@bug(
    "other pairing",
    "embeddings_lib._fast_rotation.rotate_fast",
    "test_rotary_positions.py::test_halves_are_llama_and_mistral",
)
def the_module_takes_one_layout_for_the_other(rotate_fast):
    return lambda parts, points, layout, inplace: rotate_fast(
        parts, points, OTHER[layout], inplace
    )


@bug(
    "other pairing",
    "embeddings_lib.rotary_positions._reorder",
    "test_rotary_positions.py::test_reordered_projections_give_the_same_scores",
)
def the_converter_works_the_other_way(reorder):
    return lambda weight, head_dim, rotary_dim, old, new: reorder(
        weight, head_dim, rotary_dim, new, old
    )


@bug(
    "other direction",
    "embeddings_lib.rotary_positions.rotate_by",
    "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
)
def rotate_turns_the_other_way(rotate_by):
    return lambda x, cos, sin, layout: rotate_by(x, cos, -sin, layout)


@bug(
    "other direction",
    "embeddings_lib._fast_rotation._rotate_halves",
    "test_rotary_positions.py::test_halves_are_llama_and_mistral",
)
def halves_turn_the_other_way(rotate_halves):
    return lambda x, cos, sin, inplace: rotate_halves(x, cos, -sin, inplace)


@bug(
    "other direction",
    "embeddings_lib.sinusoidal_positions.SinusoidalPositions.__init__",
    "test_sinusoidal_positions.py::test_the_module_looks_up_what_the_function_computes",
)
def a_wave_runs_backwards(init):
    def wrong(self, embed_dim, **options):
        init(self, embed_dim, **options)
        self.angles = ExactAngles(-self.angles.rates, start=self.angles.start)

    return wrong


@bug(
    "exercise 3",
    "embeddings_lib.rotary_positions.RotaryPositions.__init__",
    "test_rotary_positions.py::test_partial_halves_are_gpt_neox",
)
def only_a_part_turns_and_too_fast(init):
    def wrong(self, head_dim, *, base=10_000.0, **options):
        init(self, head_dim, base=base, **options)
        self.angles = ExactAngles(wave_rates(head_dim, base)[: self.rotary_dim // 2])

    return wrong


# Precision


@bug(
    "narrow angles",
    "embeddings_lib.exact_angles.ExactAngles._apply",
    "test_rotary_positions.py::test_16_bits_are_rounded_once",
)
def tables_become_narrow_with_the_weights(apply):
    def wrong(self, fn, recurse=True):
        self.high, self.low = (fn(table).float() for table in (self.high, self.low))
        return self

    return wrong


@bug(
    "narrow angles",
    "embeddings_lib.exact_angles.ExactAngles.reset_parameters",
    "test_exact_angles.py::test_no_position_is_off_by_more_than_two_ten_millionths",
)
def tables_are_built_in_32_bits(reset_parameters):
    def wrong(self):
        reset_parameters(self)
        low = torch.arange(ROWS).float()[:, None] * self.rates.float()
        angles = torch.stack([self.start + ROWS * low, low])
        points = torch.stack([angles.cos(), angles.sin()], dim=-1)
        self.high, self.low = points.flatten(-2)

    return wrong


@bug(
    "narrow angles",
    "embeddings_lib.sinusoidal_positions.sinusoidal_encoding",
    "test_sinusoidal_positions.py::test_it_is_the_papers_formula_computed_with_forty_digits",
)
def sinusoids_are_computed_in_32_bits(_):
    def wrong(positions, embed_dim, *, base=10_000.0):
        angles = positions.float()[..., None] * wave_rates(embed_dim, base).float()
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)

    return wrong


@bug(
    "narrow positions",
    "embeddings_lib.rotary_positions.RotaryPositions.forward",
    "test_rotary_positions.py::test_16_bits_are_rounded_once",
)
def positions_take_the_dtype_of_the_query(forward):
    def wrong(self, q, k, positions=None, **options):
        if positions is not None:
            positions = positions.to(q.dtype).long()
        return forward(self, q, k, positions, **options)

    return wrong


@bug(
    "narrow distances",
    "embeddings_lib.attention_biases.alibi_bias",
    "test_attention_biases.py::test_a_default_dtype_changes_no_bias",
)
def biases_are_kept_in_16_bits(alibi_bias):
    return lambda heads, *sizes, **options: (
        alibi_bias(heads, *sizes, **options).bfloat16().float()
    )


@bug(
    "good advice",
    "embeddings_lib.rotary_scaling.yarn_attention_factor",
    "test_rotary_scaling.py::test_equal_numbers_of_deepseek_leave_queries_and_keys_as_long",
)
def the_two_numbers_of_DeepSeek_are_dropped(yarn_attention_factor):
    return lambda factor, **dropped: yarn_attention_factor(factor)


@bug(
    "two bases",
    "embeddings_lib.rotary_scaling.yarn",
    "test_rotary_scaling.py::"
    "test_yarn_keeps_pairs_of_32_turns_and_interpolates_pairs_of_less_than_1",
)
def what_YaRN_keeps_is_of_the_larger_base(yarn):
    def wrong(rates, *, factor, **options):
        scaled = yarn(rates, factor=factor, **options)
        return torch.where(scaled == rates, ntk(rates, factor=factor), scaled)

    return wrong


# Offsets


@bug(
    "forgotten offset",
    "embeddings_lib.rotary_positions.RotaryPositions.forward",
    "test_rotary_positions.py::test_decoding_with_a_cache_is_the_full_pass",
)
def rotation_forgets_the_offset(forward):
    return lambda self, q, k, positions=None, *, offset=0, **options: forward(
        self, q, k, positions, **options
    )


@bug(
    "forgotten offset",
    "embeddings_lib.exact_angles.ExactAngles.span",
    "test_rotary_positions.py::test_compiled_it_is_one_graph_for_every_offset",
)
def compiled_rotation_forgets_the_offset(span):
    return lambda self, seq, offset=0: span(
        self, seq, 0 if torch.compiler.is_compiling() else offset
    )


@bug(
    "forgotten offset",
    "embeddings_lib.learned_positions.LearnedPositions.span",
    "test_learned_positions.py::test_one_token_at_a_time_equals_the_full_pass",
)
def learned_rows_forget_the_offset(span):
    return lambda self, seq, offset=0: span(self, seq)


@bug(
    "forgotten offset",
    "embeddings_lib.sinusoidal_positions.SinusoidalPositions.span",
    "test_sinusoidal_positions.py::test_the_module_looks_up_what_the_function_computes",
)
def sinusoids_forget_the_offset(span):
    return lambda self, seq, offset=0: span(self, seq)


@bug(
    "forgotten offset",
    "embeddings_lib.input_embedding.InputEmbedding.forward",
    "test_input_embedding.py::test_reading_in_parts_is_reading_at_once",
)
def the_input_layer_forgets_the_offset(forward):
    return lambda self, token_ids, positions=None, *, offset=0: forward(
        self, token_ids, positions
    )


@bug(
    "forgotten offset",
    "embeddings_lib.attention.attention_weights",
    "test_attention.py::test_decoding_one_token_at_a_time_equals_the_full_pass",
)
def the_mask_forgets_the_earlier_keys(attention_weights):
    def wrong(q, k, *, causal=True, bias=None, **options):
        if causal:
            later = torch.full((q.shape[-3], k.shape[-3]), -math.inf).triu(1)
            bias = later if bias is None else bias + later
        return attention_weights(q, k, causal=False, bias=bias, **options)

    return wrong


@bug(
    "counted twice",
    "embeddings_lib.exact_angles.ExactAngles.span",
    "test_exact_angles.py::test_a_span_is_the_waves_at_its_positions",
)
def a_second_chunk_of_positions_does_not_advance(span):
    def wrong(self, seq, offset=0):
        positions = torch.arange(offset, offset + seq)
        return self(offset // ROWS * ROWS + positions % ROWS)

    return wrong


# What one text does to another


@bug(
    "one table for two",
    "embeddings_lib.rotary_positions.RotaryPositions.__init__",
    "test_rotary_positions.py::test_scaling_maps_the_rates",
)
def all_rotations_of_one_size_share_a_table(init):
    tables = {}

    def wrong(self, head_dim, **options):
        init(self, head_dim, **options)
        self.angles = tables.setdefault(head_dim, self.angles)

    return wrong


@bug(
    "padding moves the text",
    "embeddings_lib.input_embedding.InputEmbedding.forward",
    "test_input_embedding.py::test_positions_may_be_named",
)
def the_input_layer_ignores_given_positions(forward):
    return lambda self, token_ids, positions=None, *, offset=0: forward(
        self, token_ids, offset=offset
    )


@bug(
    "padding moves the text",
    "embeddings_lib.rotary_positions.RotaryPositions.forward",
    "test_rotary_positions.py::test_each_sample_may_have_positions_of_its_own",
)
def rotation_ignores_given_positions(forward):
    return lambda self, q, k, positions=None, **options: forward(self, q, k, **options)


@bug(
    "nothing to see",
    "embeddings_lib.attention.attention_weights",
    "test_attention.py::test_minus_infinity_in_a_bias_is_a_mask_and_does_not_spread",
)
def a_row_with_nothing_to_see_is_zero_by_zero(attention_weights):
    def wrong(q, k, **options):
        weights = attention_weights(q, k, **options)
        return weights / weights.sum(dim=-1, keepdim=True)

    return wrong


# The ends of a table


@bug(
    "longer than the text",
    "embeddings_lib._guards.span_within",
    "test_learned_positions.py::test_one_token_at_a_time_equals_the_full_pass",
)
def the_last_row_is_never_served(span_within):
    return lambda seq, offset, *, rows, **reasons: span_within(
        seq, offset, rows=rows - 1, **reasons
    )


@bug(
    "longer than the text",
    "embeddings_lib._guards._range_of_indices",
    "test_learned_positions.py::test_a_position_beyond_the_table_is_named_with_its_place",
)
def one_row_too_many_is_promised(range_of_indices):
    return lambda indices, last, *reasons: range_of_indices(indices, last + 1, *reasons)


@bug(
    "the end unread",
    "embeddings_lib.learned_positions.LearnedPositions.span",
    "test_learned_positions.py::test_a_span_beyond_the_table_names_both_numbers",
)
def a_text_that_is_too_long_is_cut(_):
    return lambda self, seq, offset=0: self.weight[offset : offset + seq]


@bug(
    "the end unread",
    "embeddings_lib.token_embedding.TokenEmbedding.forward",
    "test_token_embedding.py::test_an_id_outside_the_table_is_named_with_its_place",
)
def every_ID_beyond_the_table_is_its_last_row(forward):
    return lambda self, token_ids: forward(
        self, token_ids.clamp(max=len(self.weight) - 1)
    )


@bug(
    "copied, not shared",
    "embeddings_lib.language_model.TinyLM.__init__",
    "test_language_model.py::test_a_tied_head_is_the_table_and_not_a_copy",
)
def the_head_is_a_copy_of_the_table(init):
    def wrong(self, inputs, **options):
        init(self, inputs, **options)
        table = self.head.weight.detach()
        self.head = nn.Linear(*reversed(table.shape), bias=False)
        self.head.load_state_dict({"weight": table})

    return wrong


# The trials


class Witness:
    """Notes what failed a test."""

    seen = ""

    def pytest_exception_interact(self, call):
        self.seen = call.excinfo.typename


def verdict(tests: list[str], *more: str) -> str:
    """What failed the tests, which are imported anew; nothing if they pass."""
    for name in list(sys.modules):
        if name.startswith("tests.test_"):
            del sys.modules[name]
    # Without pyproject.toml: what it adds, shape checks, is not on trial here.
    options = f"-c {os.devnull} --import-mode=append -x -q -p no:cacheprovider".split()
    options += ["--hypothesis-profile=mutants", "--rootdir", str(ROOT), *more]
    options += [str(ROOT / "tests" / test) for test in tests]
    witness = Witness()
    code = pytest.main(options, plugins=[witness])
    return "" if code == 0 else witness.seen or pytest.ExitCode(code).name


def register_profile() -> None:
    """The same examples each time, and no time spent on making a failure small."""
    settings.register_profile(
        "mutants",
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
    )


def main() -> None:
    register_profile()
    every = list(dict.fromkeys(mutant.test for mutant in MUTANTS.values()))
    found = {"unchanged": verdict(every)}
    for name, mutant in MUTANTS.items():
        with mutant.planted():
            found[name] = verdict([mutant.test])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
