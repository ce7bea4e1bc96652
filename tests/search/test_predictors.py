"""What cheap signals are worth: correlations at equal parameters, and which of them the search may use."""

import math
import random

import pytest

from foundry.evals.screen import Screen
from foundry.search.predictors import FEWEST, SCORE, chosen, correlations, predictors, screen, signals


def row(name, score, rung=0, seed=None, **more):
    base = {
        "genome_hash": name,
        "rung": rung,
        "seed": rung if seed is None else seed,
        "status": "ok",
        "val_bpb": score,
        "train_curve": [],
        "parameters": 1000,
        "flops_per_token": 1.0,
        "bytes_per_token": 1.0,
        "cache_bytes_per_token": 1.0,
    }
    return base | more


def archive(n=60, seed=0, noise=0.3):
    """Genomes whose score follows from `reach` (more is better) and from the parameters, which `initial_bits` follows
    too and says nothing else; the best third has a second rung."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        size, reach = rng.gauss(0, 1), rng.gauss(0, 1)
        score = 4 - 0.5 * reach - 1.0 * size + rng.gauss(0, noise)
        told = {"reach": reach, "initial_bits": size + rng.gauss(0, noise), "gradient_norm": rng.gauss(0, 1)}
        rows.append(row(f"{number:04x}", score, signals=told, parameters=1000 + 100 * size))
    best = sorted(rows, key=lambda r: r["val_bpb"])[: n // 3]
    return rows + [row(r["genome_hash"], r["val_bpb"] - 1 + rng.gauss(0, noise), 1) for r in best]


def by_name(found):
    return {c.signal: c for c in found}


def test_what_says_something_beyond_the_parameters_helps_and_what_stands_for_them_does_not():
    found = by_name(correlations(archive(), 0, 0))
    assert found["reach"].rho < -0.6 and found["reach"].high < 0 and found["reach"].helps
    assert abs(found["initial_bits"].rho) < 0.3 and not found["initial_bits"].helps
    assert not found["gradient_norm"].helps
    assert found["parameters"].rho < -0.6 and found["parameters"].helps  # plain, not at equal parameters
    assert found["reach"].n == 60


def test_intervals_of_a_table_hold_together():
    """Of forty archives of noise alone, some one signal looks helpful in at most a few."""
    rng = random.Random(0)
    lucky = 0
    for _ in range(40):
        rows = [
            row(f"{n:04x}", rng.gauss(4, 1), parameters=rng.gauss(1000, 9), signals={s: rng.gauss(0, 1) for s in NAMES})
            for n in range(40)
        ]
        lucky += bool(chosen(rows))
    assert lucky <= 6


NAMES = ("initial_bits", "gradient_norm", "gradient_spread", "logit_entropy", "effective_rank", "reach")


def test_early_losses_and_the_score_itself_are_told_of_the_next_rung_alone():
    rows = archive(noise=0.05)
    for r in rows:
        r["train_curve"] = [(0.05 * k, r["val_bpb"] + 1) for k in range(1, 20)]
    assert SCORE not in by_name(correlations(rows, 0, 0))
    found = by_name(correlations(rows, 0, 1))
    assert {SCORE, "bits_at_10", "bits_at_50", "reach", "parameters"} <= found.keys()
    assert found[SCORE].n == 20 and found[SCORE].rho > 0.5
    assert found["bits_at_50"].rho == pytest.approx(found[SCORE].rho)


def test_the_strongest_comes_first_and_what_cannot_be_told_last():
    found = correlations(archive(), 0, 0)
    sizes = [abs(c.rho) for c in found if math.isfinite(c.rho)]
    assert sizes == sorted(sizes, reverse=True)
    constant = by_name(found)["flops_per_token"]
    assert math.isnan(constant.rho) and not constant.helps and found.index(constant) >= len(sizes)


def test_only_scores_of_the_shared_seed_count_and_only_of_what_was_trained():
    rows = archive(40)
    extra = [
        row("0000", 9.0, seed=77),
        row("ffff", None, status="abandoned"),
        row("fffe", None, status="diverged"),
        row("fffd", 1.0, shared_with="0000-0-0"),
    ]
    assert correlations([*rows, *extra], 0, 0) == correlations(rows, 0, 0)


def test_few_genomes_help_nobody():
    rows = [r for r in archive(FEWEST - 1, noise=0.01) if r["rung"] == 0]
    found = by_name(correlations(rows, 0, 0))
    assert found["reach"].high < 0 and not found["reach"].helps
    assert chosen(rows) == [] and screen(rows) is None
    assert predictors([]) == [] and screen([]) is None


def test_the_search_uses_what_helps_before_training_but_no_sizes():
    assert [c.signal for c in chosen(archive())] == ["reach"]


def test_the_screen_rejects_the_worst_quarter_of_the_archive():
    rows = archive()
    built = screen(rows)
    first = [r for r in rows if r["rung"] == 0]
    rejected = [r for r in first if built.rejects(signals(r))]
    assert 0.2 <= len(rejected) / len(first) <= 0.25
    assert max(r["signals"]["reach"] for r in rejected) < min(r["signals"]["reach"] for r in first if r not in rejected)
    assert built.rejects({"reach": -3.0}) and not built.rejects({"reach": 3.0})


def test_a_screen_that_would_have_rejected_the_promoted_is_none():
    rows = archive()
    worst = sorted((r for r in rows if r["rung"] == 0), key=lambda r: r["signals"]["reach"])[:10]
    assert isinstance(screen(rows), Screen)
    assert screen(rows + [row(r["genome_hash"], 3.0, 1) for r in worst]) is None


def test_a_row_of_the_first_schema_has_sizes_and_early_losses():
    old = row("0000", 3.5, train_curve=[(0.05 * k, 5.0) for k in range(1, 6)])
    assert signals(old) == {
        "parameters": 1000.0,
        "flops_per_token": 1.0,
        "bytes_per_token": 1.0,
        "cache_bytes_per_token": 1.0,
        "bits_at_10": pytest.approx(5.0),
        "bits_at_25": pytest.approx(5.0),
        SCORE: 3.5,
    }
