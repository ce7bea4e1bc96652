"""Runs in pairs: what is compared with what, what is refused, and what the figures over all pairs say."""

import math
import statistics

import pytest
from finished_run import BASELINE, ROWS, SEEDS, TUNED, WINNER, finished, make, nothing_found, row

from foundry.evals.statistics import unpaired_difference
from foundry.search.archive import ArchiveError
from foundry.search.comparison import NotComparable, compare_arms, compare_runs, finding
from foundry.search.rematch import FIRST_SEED, fresh_seeds, over_pairs, rematch, score, wanted

HIGH, LOW = (0.2, 0.22, 0.19, 0.21), (0.1, 0.11, 0.12, 0.09)


@pytest.fixture
def runs(tmp_path):
    """Makes a run folder by the description of a run."""
    made = []

    def new(run, rows=ROWS):
        made.append(make(tmp_path / f"{len(made)}", run, rows))
        return made[-1]

    return new


# ---- one run ----


def test_a_finding_is_the_baseline_minus_the_winner_as_the_run_has_confirmed_it(runs):
    found = finding(runs(finished(gains=HIGH)))
    assert (found.verdict, found.strategy, found.winner, found.baseline_name) == (
        "confirmed",
        "evolve",
        WINNER,
        "llama lr=0.005",
    )
    assert [found.gains[seed] for seed in SEEDS] == pytest.approx(HIGH)
    assert (found.gain.mean, found.gain.low, found.gain.high) == pytest.approx((0.205, 0.185, 0.225))
    assert [found.bits_per_byte[s] for s in SEEDS] == pytest.approx(
        [b - g for b, g in zip(BASELINE, HIGH, strict=True)]
    )
    assert (found.evaluations, found.failed) == (len(ROWS), 1)


def test_a_bound_that_a_run_does_not_have_is_infinite(runs):
    run = finished()
    run["result"]["difference"] |= {"low": None, "high": None}
    gain = finding(runs(run)).gain
    assert (gain.low, gain.high) == (-math.inf, math.inf)


def test_seeds_on_which_a_training_failed_have_no_gain(runs):
    run = finished(gains=HIGH)
    run["result"]["test_bpb"]["winner"][0] = None
    run["result"]["test_bpb"]["baseline"][3] = None
    assert sorted(finding(runs(run)).gains) == [12, 13]


def test_a_run_that_found_nothing_gained_nothing(runs):
    found = finding(runs(nothing_found()))
    assert (found.worth, found.gain, found.verdict) == (0.0, None, "no difference shown")


def test_a_run_that_is_not_over_is_refused(runs):
    with pytest.raises(NotComparable, match=r"not over.*--resume"):
        finding(runs(finished(result=None, state="search")))


def test_a_damaged_description_is_refused(runs):
    archive = runs(finished())
    archive.lock()
    archive.write_run(finished(sessions="none"))
    with pytest.raises(ArchiveError, match="sessions"):
        finding(archive)
    run = finished(rival=LOW)
    run["result"]["rival"] = "../../secret"
    archive.write_run(run)
    with pytest.raises(ArchiveError, match="rival"):
        finding(archive, "control")


# ---- pairs of runs ----


def test_the_gains_of_two_runs_are_compared_without_pairing(runs):
    pair = compare_runs([(runs(finished("a", HIGH)), runs(finished("b", LOW)))]).pairs[0]
    by_hand = unpaired_difference(HIGH, LOW)
    assert (pair.difference.mean, pair.difference.low) == pytest.approx((0.1, by_hand.low))
    assert pair.remarks == ()


def test_over_pairs_the_mean_gains_are_compared_and_wins_are_counted(runs):
    gains = [((0.3,) * 4, (0.1,) * 4), ((0.2,) * 4, (0.15,) * 4), ((0.1,) * 4, (0.12,) * 4)]
    pairs = [(runs(finished(f"a{i}", a)), runs(finished(f"b{i}", b))) for i, (a, b) in enumerate(gains)]
    found = compare_runs(pairs)
    leads = (0.2, 0.05, -0.02)
    reach = 4.303 * statistics.stdev(leads) / math.sqrt(3)  # the table's t for two degrees of freedom
    assert found.difference.mean == pytest.approx(statistics.mean(leads))
    assert found.difference.high == pytest.approx(statistics.mean(leads) + reach, abs=1e-4)
    assert (found.signs.wins, found.signs.losses, found.signs.p) == (2, 1, 1.0)


def test_a_run_that_found_nothing_counts_as_no_gain_and_is_not_dropped(runs):
    pairs = [(runs(finished(f"a{i}", HIGH)), runs(nothing_found(f"b{i}"))) for i in range(2)]
    found = compare_runs(pairs)
    assert found.difference.mean == pytest.approx(0.205)
    assert found.pairs[0].difference is None
    assert any("found nothing to confirm; its gain counts as 0" in remark for remark in found.pairs[0].remarks)


def test_one_pair_has_no_interval_over_pairs(runs):
    found = compare_runs([(runs(finished("a", HIGH)), runs(finished("b", LOW)))])
    assert found.difference is None and found.signs.wins == 1


def test_runs_on_different_text_are_refused(runs):
    other = finished("b", data={"name": "poems", "hash": "feed" * 4})
    with pytest.raises(NotComparable, match=r"different text.*python, poems"):
        compare_runs([(runs(finished("a")), runs(other))])


def test_a_run_is_not_compared_with_itself(runs):
    with pytest.raises(NotComparable, match="are one run"):
        compare_runs([(runs(finished("a")), runs(finished("a")))])


def settings(**changes):
    return {"settings": finished()["settings"] | changes}


@pytest.mark.parametrize(
    "changes, remark",
    [
        (settings(budget={"kind": "seconds", "amount": 60.0}), "budget: 10min against 1min"),
        (settings(workers=8), "workers: 2 against 8"),
        (settings(seed=3), "seed: 0 against 3"),
        ({"rungs": [{"compute": 2e11}, {"compute": 6e11}]}, "rungs: 1e+11 3e+11 flop against 2e+11 6e+11 flop"),
        ({"speed": 2e10}, "speed of the machine, flop/s: 8e+10 against 2e+10"),
        ({"versions": {"foundry": "0.2.0", "torch": "2.13.0"}}, "versions: not the same foundry"),
        ({"baselines": {}}, "baselines: not the same llama"),
        ({"state": "stopped"}, "was stopped before its budget was spent"),
        ({"rounds": 1}, "was confirmed 2 times"),
    ],
)
def test_what_differs_between_two_runs_is_said(runs, changes, remark):
    pair = compare_runs([(runs(finished("a")), runs(finished("b") | changes))]).pairs[0]
    assert any(remark in told for told in pair.remarks), pair.remarks


def test_confirmations_of_about_equal_length_are_alike(runs):
    longer, much_longer = finished("b"), finished("c")
    longer["result"]["compute"], much_longer["result"]["compute"] = 2.4e9, 2.6e9
    a = runs(finished("a"))
    assert compare_runs([(a, runs(longer))]).pairs[0].remarks == ()
    (told,) = compare_runs([(a, runs(much_longer))]).pairs[0].remarks
    assert told == "compute of an evaluation in confirmation, flop: 2e+09 against 2.6e+09"


def test_pairs_that_are_no_equal_trials_are_named(runs):
    a, b, c = runs(finished("a")), runs(finished("b", strategy="random")), runs(finished("c", strategy="random"))
    told = " ".join(compare_runs([(a, b), (c, b)]).remarks)
    assert "side A mixes strategies: evolve, random" in told
    assert "one run stands in several pairs" in told
    assert compare_runs([(a, b)]).remarks == ()


# ---- the arms of one run ----


def test_the_arms_of_a_run_are_compared_seed_by_seed(runs):
    """The luck of a seed moves both alike, and does not count."""
    a, b = (0.3, 0.1, 0.2, 0.25), (0.2, 0.01, 0.1, 0.14)
    pair = compare_arms([runs(finished(gains=a, rival=b))]).pairs[0]
    assert pair.difference.mean == pytest.approx(0.1)
    assert pair.difference.high - pair.difference.low < 0.04
    assert (pair.a.strategy, pair.b.strategy) == ("evolve", "random")
    assert (pair.a.arm, pair.b.arm) == ("search", "control")
    assert [pair.b.gains[seed] for seed in SEEDS] == pytest.approx(b)


def test_an_arm_has_its_own_genomes_and_neither_baselines_nor_confirmation(runs):
    tuned = [*ROWS, row("f" * 16, operator="tune", parents=[WINNER])]
    pair = compare_arms([runs(finished(rival=LOW), tuned)]).pairs[0]
    assert (pair.a.evaluations, pair.a.failed, pair.b.evaluations, pair.b.failed) == (3, 1, 1, 0)


def test_the_controls_winner_is_judged_by_the_same_rule(runs):
    verdicts = [
        compare_arms([runs(finished(rival=rival))]).pairs[0].b.verdict
        for rival in (LOW, (0.01, 0.02, 0.015, 0.012), (-0.1, -0.12, -0.11, -0.13))
    ]
    assert verdicts == ["confirmed", "no difference shown", "worse"]  # the second is below the noise of 0.03


def test_the_interval_that_the_run_has_stored_for_its_control_counts(runs):
    run = finished(rival=LOW)
    run["result"]["rival_difference"] = {"mean": -0.1, "low": -0.5, "high": 0.3, "p": 0.4, "freedom": 3, "n": 4}
    found = compare_arms([runs(run)]).pairs[0].b
    assert (found.gain.low, found.gain.high, found.verdict) == (-0.3, 0.5, "no difference shown")
    run["result"]["against_rival"] = {"mean": -0.005, "low": -0.2, "high": 0.19, "p": 0.9, "freedom": 3, "n": 4}
    pair = compare_arms([runs(run)]).pairs[0]
    assert (pair.difference.low, pair.difference.high) == (-0.19, 0.2)


def test_a_control_that_found_nothing_gained_nothing(runs):
    run = finished(rival=LOW)
    del run["result"]["rival"], run["result"]["test_bpb"]["rival"]
    pair = compare_arms([runs(run)]).pairs[0]
    assert pair.b.worth == 0.0 and pair.difference is None
    assert any("control: found nothing" in remark for remark in pair.remarks)


def test_a_run_without_a_control_has_no_arms_to_compare(runs):
    with pytest.raises(NotComparable, match="--control random"):
        compare_arms([runs(finished())])


def test_several_runs_with_arms_are_so_many_pairs(runs):
    found = compare_arms([runs(finished(f"r{i}", gains=HIGH, rival=LOW)) for i in range(5)])
    assert (found.signs.wins, found.signs.p) == (5, 2 / 32)
    assert found.difference.mean == pytest.approx(0.1) and found.remarks == ()


# ---- a rematch ----


def rematched(a, b, number=3):
    (pair,) = compare_runs([(a, b)]).pairs
    return rematch(pair, {str(archive.folder): archive for archive in (a, b)}, number)


def test_a_rematch_trains_all_four_on_equal_seeds_for_the_longer_of_both_lengths(runs):
    longer = finished("b")
    longer["result"]["compute"] = 9e9
    match = rematched(runs(finished("a")), runs(longer))
    jobs = wanted(match)
    assert len(jobs) == 4 * 3 and {job.compute for job in jobs} == {9e9} and {job.split for job in jobs} == {"test"}
    for start in range(0, 12, 4):
        assert len({job.seed for job in jobs[start : start + 4]}) == 1
    assert "hidden = 48" in match.texts["a"] and "hidden = 32" in match.texts["baseline_a"]


def test_the_seeds_of_a_rematch_are_none_that_a_run_has_used(runs):
    used = [*ROWS, row(TUNED, 2, FIRST_SEED + 1, test=True)]
    match = rematched(runs(finished("a")), runs(finished("b"), used))
    assert match.seeds == (FIRST_SEED, FIRST_SEED + 2, FIRST_SEED + 3)
    assert fresh_seeds({FIRST_SEED + 1}, 2) == match.seeds[:2]  # more seeds go on from fewer


def test_a_rematch_needs_two_winners(runs):
    with pytest.raises(NotComparable, match="no winner"):
        rematched(runs(finished("a")), runs(nothing_found("b")))


def test_the_score_of_a_rematch_is_paired_by_seed_and_leaves_failures_out(runs):
    match = rematched(runs(finished("a")), runs(finished("b")))
    a, b, tuned_a, tuned_b = (2.0, 2.1, 2.3), (2.1, 2.3, 2.2), (2.5, 2.7, 2.6), (2.6, None, 2.6)
    found = score(match, [value for four in zip(a, b, tuned_a, tuned_b, strict=True) for value in four])
    assert found.bits_per_byte == {"a": a, "b": b, "baseline_a": tuned_a, "baseline_b": tuned_b}
    assert found.lead.mean == pytest.approx((0.1 + 0.2 - 0.1) / 3)
    assert found.gain_a.mean == pytest.approx((0.5 + 0.6 + 0.3) / 3)
    assert (found.gain_b.n, found.gain_b.mean) == (2, pytest.approx(0.45))
    assert over_pairs([found]) is None
    assert over_pairs([found, found]).mean == found.lead.mean
