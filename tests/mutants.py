"""The bugs of chapter 12, each planted in a copy of the library for the tests to find.

`python -m tests.mutants` prints as JSON what pytest returned for each: 1 if a test
failed, as it should, and 0 if none did.
"""

import importlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """An exhibit's bug as edits of a module of the library, and the test to notice."""

    exhibit: str
    module: str
    edits: dict[str, str]
    test: str

    def plant(self, folder: Path) -> None:
        """A copy of the library in `folder`, with the bug."""
        shutil.copytree(ROOT / "embeddings_lib", folder / "embeddings_lib")
        file = folder / "embeddings_lib" / self.module
        text = file.read_text("utf-8")
        for old, new in self.edits.items():
            if text.count(old) != 1:
                raise ValueError(
                    "a mutant's text must stand in its module once, or the bug would "
                    f"not be planted; {self.module} has {text.count(old)} times:\n{old}"
                )
            text = text.replace(old, new)
        file.write_text(text, "utf-8")


TURN_PLACE = "turns = self.waves.span(q.shape[-3], offset)"
TURN_HEADS = "turns = turns.unsqueeze(-2)"
# Named by what the library then does wrong.
MUTANTS = {
    "the input layer counts the batch": Mutant(
        "batch for text",
        "input_embedding.py",
        {
            "table.span(token_ids.shape[-1], offset)": (
                "table.span(token_ids.shape[0], offset)[:, None]"
            )
        },
        "test_input_embedding.py::test_each_vector_is_the_tokens_row_plus_the_positions_row",
    ),
    "each head turns by its number": Mutant(
        "heads for text",
        "rotary_positions.py",
        {TURN_PLACE: TURN_PLACE.replace("-3", "-2"), TURN_HEADS: "turns = turns"},
        "test_rotary_positions.py::test_decoding_with_a_cache_is_the_full_pass",
    ),
    "heads are joined before tokens": Mutant(
        "exercise 1",
        "language_model.py",
        {"bias=bias).flatten(-2)": ("bias=bias).transpose(-3, -2).reshape(x.shape)")},
        "test_language_model.py::test_a_score_sees_no_later_token",
    ),
    "pairs come back as halves": Mutant(
        "not put back",
        "rotary_positions.py",
        {"b * cos + a * sin], axis)": "b * cos + a * sin], -2)"},
        "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
    ),
    "rotate takes one layout for the other": Mutant(
        "other pairing",
        "rotary_positions.py",
        {'(pairs, 2)) if layout == "pairs"': '(pairs, 2)) if layout == "halves"'},
        "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
    ),
    "the module takes one layout for the other": Mutant(
        "other pairing",
        "rotary_positions.py",
        {'if self.layout == "pairs"': 'if self.layout == "halves"'},
        "test_rotary_positions.py::test_halves_are_llama_and_mistral",
    ),
    "the converter works the other way": Mutant(
        "other pairing",
        "rotary_positions.py",
        {"shape=(2, -1)": "shape=(-1, 2)"},
        "test_rotary_positions.py::test_reordered_projections_give_the_same_scores",
    ),
    "rotate turns the other way": Mutant(
        "other direction",
        "rotary_positions.py",
        {
            "[a * cos - b * sin, b * cos + a * sin]": (
                "[a * cos + b * sin, b * cos - a * sin]"
            )
        },
        "test_rotary_positions.py::test_each_pair_is_multiplied_by_a_complex_number",
    ),
    "halves turn the other way": Mutant(
        "other direction",
        "rotary_positions.py",
        {
            "to_a.addcmul_(b, sin, value=-1)": "to_a.addcmul_(b, sin)",
            "to_b.addcmul_(a, sin)": "to_b.addcmul_(a, sin, value=-1)",
        },
        "test_rotary_positions.py::test_halves_are_llama_and_mistral",
    ),
    "a wave runs backwards": Mutant(
        "other direction",
        "sinusoidal_positions.py",
        {"ExactAngles(-rates,": "ExactAngles(rates,"},
        "test_sinusoidal_positions.py::test_the_module_looks_up_what_the_function_computes",
    ),
    "only a part turns, too fast": Mutant(
        "exercise 3",
        "rotary_positions.py",
        {
            "wave_rates(self.rotary_dim, base)": (
                "wave_rates(head_dim, base)[: self.rotary_dim // 2]"
            )
        },
        "test_rotary_positions.py::test_partial_halves_are_gpt_neox",
    ),
    "tables become narrow with the weights": Mutant(
        "narrow angles",
        "exact_angles.py",
        {
            "return super()._apply(fn, recurse)": (
                "self.high, self.low = (\n"
                "            torch.complex(fn(x.real).float(), fn(x.imag).float())\n"
                "            for x in (self.high, self.low)\n"
                "        )\n"
                "        return super()._apply(fn, recurse)"
            )
        },
        "test_rotary_positions.py::test_16_bits_are_rounded_once",
    ),
    "tables are built in 32 bits": Mutant(
        "narrow angles",
        "exact_angles.py",
        {"rows[:, None] * self.rates": "rows[:, None].float() * self.rates.float()"},
        "test_exact_angles.py::test_no_position_is_off_by_more_than_two_ten_millionths",
    ),
    "sinusoids are computed in 32 bits": Mutant(
        "narrow angles",
        "sinusoidal_positions.py",
        {
            ".double()[..., None] * wave_rates(embed_dim, base)": (
                ".float()[..., None] * wave_rates(embed_dim, base).float()"
            )
        },
        "test_sinusoidal_positions.py::test_it_is_the_papers_formula_computed_with_forty_digits",
    ),
    "positions take the dtype of the query": Mutant(
        "narrow positions",
        "rotary_positions.py",
        {"self.waves(positions)": "self.waves(positions.to(q.dtype).long())"},
        "test_rotary_positions.py::test_16_bits_are_rounded_once",
    ),
    "rotation forgets the offset": Mutant(
        "forgotten offset",
        "rotary_positions.py",
        {TURN_PLACE: TURN_PLACE.replace(", offset", "")},
        "test_rotary_positions.py::test_decoding_with_a_cache_is_the_full_pass",
    ),
    "compiled rotation forgets the offset": Mutant(
        "forgotten offset",
        "rotary_positions.py",
        {
            "torch.arange(offset, offset + q.shape[-3], device": (
                "torch.arange(q.shape[-3], device"
            )
        },
        "test_rotary_positions.py::test_compiled_it_is_one_graph_for_every_offset",
    ),
    "learned rows forget the offset": Mutant(
        "forgotten offset",
        "learned_positions.py",
        {"weight[offset : offset + seq]": "weight[:seq]"},
        "test_learned_positions.py::test_one_token_at_a_time_equals_the_full_pass",
    ),
    "sinusoids forget the offset": Mutant(
        "forgotten offset",
        "sinusoidal_positions.py",
        {"self.waves.span(seq, offset)": "self.waves.span(seq)"},
        "test_sinusoidal_positions.py::test_the_module_looks_up_what_the_function_computes",
    ),
    "the input layer forgets the offset": Mutant(
        "forgotten offset",
        "input_embedding.py",
        {"token_ids.shape[-1], offset)": "token_ids.shape[-1])"},
        "test_input_embedding.py::test_reading_in_parts_is_reading_at_once",
    ),
    "the mask forgets the earlier keys": Mutant(
        "forgotten offset",
        "attention.py",
        {".tril(seq_k - seq_q)": ".tril()"},
        "test_attention.py::test_decoding_one_token_at_a_time_equals_the_full_pass",
    ),
    "a second chunk of positions does not advance": Mutant(
        "counted twice",
        "exact_angles.py",
        {"            high += 1\n": ""},
        "test_exact_angles.py::test_a_span_is_the_waves_at_its_positions",
    ),
    "all rotations of one size share a table": Mutant(
        "one table for two",
        "rotary_positions.py",
        {
            "self.waves = ExactAngles(rates, radius=attention_factor, device=device)": (
                "self.waves = SHARED.setdefault(head_dim, ExactAngles(rates))"
            ),
            "class RotaryPositions(": "SHARED = {}\n\n\nclass RotaryPositions(",
        },
        "test_rotary_positions.py::test_scaling_maps_the_rates",
    ),
    "the input layer ignores given positions": Mutant(
        "padding moves the text",
        "input_embedding.py",
        {"table.forward(positions)": "table.span(token_ids.shape[-1])"},
        "test_input_embedding.py::test_positions_may_be_named",
    ),
    "rotation ignores given positions": Mutant(
        "padding moves the text",
        "rotary_positions.py",
        {"self.waves(positions)": "self.waves.span(q.shape[-3])"},
        "test_rotary_positions.py::test_each_sample_may_have_positions_of_its_own",
    ),
    "the last row is never served": Mutant(
        "longer than the text",
        "learned_positions.py",
        {"offset + seq > context_length": "offset + seq >= context_length"},
        "test_learned_positions.py::test_one_token_at_a_time_equals_the_full_pass",
    ),
    "one row too many is promised": Mutant(
        "longer than the text",
        "_guards.py",
        {"indices >= rows": "indices > rows"},
        "test_learned_positions.py::test_a_position_beyond_the_table_is_named_with_its_place",
    ),
    "a text that is too long is cut": Mutant(
        "the end unread",
        "learned_positions.py",
        {" or offset + seq > context_length": ""},
        "test_learned_positions.py::test_a_span_beyond_the_table_names_both_numbers",
    ),
    "every ID beyond the table is its last row": Mutant(
        "the end unread",
        "_guards.py",
        {
            "F.embedding(indices, weight, sparse=sparse)": (
                "F.embedding(indices.clamp(max=len(weight) - 1), weight, sparse=sparse)"
            )
        },
        "test_token_embedding.py::test_an_id_outside_the_table_is_named_with_its_place",
    ),
    "the head is a copy of the table": Mutant(
        "copied, not shared",
        "language_model.py",
        {
            "self.head.weight = inputs.token_table.weight": (
                "self.head.weight.data.copy_(inputs.token_table.weight)"
            )
        },
        "test_language_model.py::test_a_tied_head_is_the_table_and_not_a_copy",
    ),
}


def verdict(folder: Path, tests: list[str], *more: str) -> int:
    """What pytest returns for the tests of the library in `folder`."""
    for name in list(sys.modules):
        if name.startswith(("embeddings_lib", "tests.test_", "tests.conftest")):
            del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    # Without pyproject.toml: what it adds, shape checks, is not on trial here.
    options = f"-c {os.devnull} --import-mode=append -x -q -p no:cacheprovider".split()
    options += ["--hypothesis-profile=mutants", "--rootdir", str(ROOT), *more]
    code = pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)])
    assert Path(sys.modules["embeddings_lib"].__file__).is_relative_to(folder)
    sys.path.remove(str(folder))
    return int(code)


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
    trials = {"unchanged": (Mutant("", "__init__.py", {}, ""), every)}
    trials |= {bug: (mutant, [mutant.test]) for bug, mutant in MUTANTS.items()}
    found = {}
    for name, (mutant, tests) in trials.items():
        with tempfile.TemporaryDirectory() as folder:
            mutant.plant(Path(folder))
            found[name] = verdict(Path(folder), tests)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
