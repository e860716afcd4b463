"""The goals of speed and precision, judged from the stored runs. Nothing is timed."""

import json

import pytest

from tests.benchmarks import goals

STORED = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in goals.RESULTS.glob("?pu.json")
}


@pytest.mark.parametrize("device", STORED)
def test_the_stored_judgement_is_what_the_stored_times_say(device):
    run = STORED[device]
    kind = "cuda" if device == "gpu" else device
    assert goals.judged(kind, run["rows"]) == run["goals"]


def test_bpe_trains_as_fast_beside_the_others_as_its_goals_say():
    stored = json.loads((goals.RESULTS / "bpe.json").read_text(encoding="utf-8"))
    seconds = {
        row["name"]: row["seconds"]
        for row in stored["training"]["rows"]
        if row["bytes"] == 10_000_000
    }
    ours = seconds.pop("ours")
    assert ours < 5 * seconds.pop("tokenizers")
    assert ours < min(seconds.values()) / 20


NOISE = (0.8, 1.1)  # how a copy stood to itself


@pytest.mark.parametrize(
    ("goal", "noise", "verdict"),
    [
        (goals.at_most(2, "", lambda run: 2.0), (), "met"),
        (goals.at_most(2, "", lambda run: 2.1), (), "missed"),
        (goals.at_least(2, "", lambda run: 2.0), (), "met"),
        (goals.at_least(2, "", lambda run: 1.9), (), "missed"),
        (goals.at_most(2, "", lambda run: 1.5), NOISE, "met"),
        (goals.at_most(2, "", lambda run: 1.9), NOISE, "within the noise"),
        (goals.at_most(2, "", lambda run: 2.4), NOISE, "within the noise"),
        (goals.at_most(2, "", lambda run: 2.6), NOISE, "missed"),
        (goals.at_least(2, "", lambda run: 2.6), NOISE, "met"),
        (goals.at_least(2, "", lambda run: 1.7), NOISE, "within the noise"),
        (goals.at_least(2, "", lambda run: 1.5), NOISE, "missed"),
        (goals.at_most(2, "", lambda run: 1.9, timed=False), NOISE, "met"),
    ],
)
def test_a_time_is_judged_outside_the_worst_ratio_of_a_copy_to_itself(
    goal, noise, verdict
):
    rows = [{"name": "clone again", "ratio": ratio} for ratio in noise]
    assert goal(goals.Run(rows))["verdict"] == verdict


def test_the_best_peer_is_none_of_our_own():
    rows = [
        {"name": name, "ratio": ratio}
        for name, ratio in (
            ("clone", 1),
            ("pairs, in place", 2),
            ("halves", 3),
            ("transformers", 5),
            ("x-transformers", 4),
        )
    ]
    assert goals.best_peer({row["name"]: row for row in rows}) == 4


def test_a_device_that_was_not_measured_is_said_to_be_so(monkeypatch, tmp_path):
    monkeypatch.setattr(goals, "RESULTS", tmp_path)
    assert goals.page().split("\n") == [
        "",
        "CPU: not measured",
        "",
        "GPU: not measured",
    ]


def test_a_run_that_cannot_be_judged_keeps_the_one_before(monkeypatch, tmp_path):
    monkeypatch.setattr(goals, "RESULTS", tmp_path)
    (tmp_path / "cpu.json").write_text("the one before", "utf-8")
    with pytest.raises(KeyError):
        goals.store("cpu", {}, [])
    assert (tmp_path / "cpu.json").read_text("utf-8") == "the one before"
