"""Giving up early: limits that follow from the archive, and what they would have done on three real searches.

`curves.json` has three searches of ten minutes: losses in training and the score at the end for the first two rungs,
and for the third who reached it.
"""

import json
import math
import random
from pathlib import Path

import numpy as np

from foundry.search.abandon import CHECKPOINTS, FEWEST, finished, limits, needed, replay, replays, stopped_at

RUNS = [
    [row | {"status": "ok"} for row in run] for run in json.loads(Path(__file__).with_name("curves.json").read_text())
]


def row(number, score, losses, **more):
    """A row whose curve has one point at each checkpoint, and one at the end."""
    curve = [*zip(CHECKPOINTS, losses, strict=True), (0.99, score)]
    name = f"{number:08x}"
    return {"genome_hash": name, "rung": 0, "seed": 1, "status": "ok", "val_bpb": score, "train_curve": curve} | more


def made(n, seed, spread=(0.3, 0.1, 0.05)):
    """An archive in which the loss at each checkpoint is the final score and so much, with so much noise."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        score = rng.gauss(4, 0.4)
        rows.append(row(number, score, [score + 1.0 - k / 3 + rng.gauss(0, s) for k, s in enumerate(spread)]))
    return rows


def test_nothing_is_abandoned_with_fewer_than_twelve_rows():
    rows = made(FEWEST, 0)
    assert FEWEST == 12
    assert limits(rows[:11], 0, 1, 3.8) == ()
    assert [progress for progress, _ in limits(rows, 0, 1, 3.8)] == list(CHECKPOINTS)


def test_only_what_ran_to_the_end_at_this_rung_and_seed_is_learnt_from():
    rows = made(3, 0)
    others = [
        row(9, 4.0, [4, 4, 4], rung=1),
        row(9, 4.0, [4, 4, 4], seed=2),
        row(9, None, [4, 4, 4], status="abandoned"),
        row(9, None, [4, 4, 4], status="diverged"),
        row(9, 4.0, [4, 4, 4], shared_with="another"),
        row(9, 4.0, [4, 4, 4]) | {"train_curve": None},
    ]
    assert finished([*others, *rows], 0, 1) == rows


def test_the_limit_is_where_students_interval_for_a_new_score_meets_the_threshold():
    rows = made(400, 0, spread=(0.3, 0.2, 0.1))
    (_, _), (_, limit), (_, _) = limits(rows, 0, 1, 3.5)
    losses = np.array([r["train_curve"][1][1] for r in rows])
    scores = np.array([r["val_bpb"] for r in rows])
    slope, intercept = np.polyfit(losses, scores, 1)
    sigma = np.std(scores - slope * losses - intercept, ddof=2)
    margin = (intercept + slope * limit - 3.5) / sigma
    assert 2.06 < margin < 2.4  # Student's quantile of 2 % on one side, or what was seen beyond it


def test_a_sharper_loss_gives_a_tighter_limit_and_a_lower_threshold_a_lower_one():
    (_, first), (_, second), (_, third) = limits(made(100, 0), 0, 1, 3.8)
    excess = [limit - 3.8 - 1.0 + k / 3 for k, limit in enumerate((first, second, third))]
    assert excess[0] > excess[1] > excess[2] > 0
    assert all(
        low < high
        for (_, low), (_, high) in zip(limits(made(100, 0), 0, 1, 3.5), limits(made(100, 0), 0, 1, 3.8), strict=True)
    )


def test_a_late_starter_in_the_archive_widens_the_limits():
    rows = made(30, 0)
    late = row(99, 3.0, [6.0, 5.5, 4.5])
    before, after = limits(rows, 0, 1, 3.8), limits([*rows, late], 0, 1, 3.8)
    assert all(wide > narrow for (_, narrow), (_, wide) in zip(before, after, strict=True))
    assert stopped_at(late["train_curve"], before) == 0.25
    assert stopped_at(late["train_curve"], after) is None


def test_a_loss_that_says_nothing_abandons_nobody():
    rng = random.Random(0)
    rows = [row(n, rng.gauss(4, 0.4), [rng.gauss(5, 1) for _ in CHECKPOINTS]) for n in range(30)]
    assert limits(rows, 0, 1, 3.0) == ()
    same = [row(n, rng.gauss(4, 0.4), [5.0, 4.5, 4.2]) for n in range(30)]
    assert limits(same, 0, 1, 3.0) == ()
    assert limits(made(30, 0), 0, 1, math.inf) == ()


def test_a_newcomer_needs_a_place_in_the_best_third_or_the_one_behind():
    assert needed([]) == math.inf
    assert needed([5.0, 4.0]) == 5.0
    assert needed([float(n) for n in range(1, 12)]) == 5.0  # of twelve, four move up
    assert needed([3.0, 1.0, 2.0], share=0.5) == 3.0


def test_a_curve_is_stopped_at_the_first_checkpoint_where_it_is_above():
    curve = row(0, 3.0, [6.0, 5.0, 4.0])["train_curve"]
    assert stopped_at(curve, ((0.25, 6.1), (0.5, 4.9), (0.75, 0.0))) == 0.5
    assert stopped_at(curve, ((0.25, 6.1), (0.5, math.inf), (0.75, 4.1))) is None
    assert stopped_at(curve[:1], ((0.5, 0.0),)) is None


def test_fewer_than_two_in_a_hundred_of_the_abandoned_would_have_been_promoted_where_noise_is_normal():
    wrong = stopped = 0
    for seed in range(40):
        rows = made(60, seed)
        threshold = needed([r["val_bpb"] for r in rows])
        stops = limits(rows, 0, 1, threshold)
        for new in made(100, 1000 + seed):
            if stopped_at(new["train_curve"], stops) is not None:
                stopped += 1
                wrong += new["val_bpb"] <= threshold
    assert stopped > 1000
    assert wrong < 0.02 * stopped


def test_on_real_searches_at_most_one_in_twenty_is_lost_and_compute_is_saved():
    results = [replay(run, rung, seed) for run in RUNS for rung, seed in seeds(run)]
    worthy, abandoned, wrong = (sum(getattr(r, name) for r in results) for name in ("worthy", "abandoned", "wrong"))
    assert worthy > 100 and abandoned > 30
    assert wrong <= 0.05 * abandoned and wrong <= 0.05 * worthy
    first = [r for r in results if r.rung == 0]
    saved = sum(r.saved * r.genomes for r in first) / sum(r.genomes for r in first)
    for r in results:
        print(f"rung {r.rung}: {r.abandoned} of {r.genomes} abandoned, {r.wrong} wrongly, {r.saved:.0%} saved")
    assert saved > 0.08


def seeds(run):
    return sorted({(r["rung"], r["seed"]) for r in run if r["rung"] < 2})


def test_what_is_held_out_in_turn_is_hardly_ever_wrongly_abandoned():
    wrong = stopped = 0
    for run in RUNS:
        for rung, seed in seeds(run):
            rows = finished(run, rung, seed)
            for held_out in rows:
                others = [other for other in rows if other is not held_out]
                threshold = needed([other["val_bpb"] for other in others])
                if stopped_at(held_out["train_curve"], limits(others, rung, seed, threshold)) is not None:
                    stopped += 1
                    wrong += held_out["val_bpb"] <= threshold
    assert stopped > 40
    assert wrong <= 0.05 * stopped


def test_replays_cover_the_rungs_that_have_enough_genomes():
    assert [r.rung for r in replays(RUNS[0])] == [0, 1]
    assert replays(RUNS[0][:FEWEST]) == []
    assert replays([]) == []
