"""Watching a search: what the live view says, and one plain line per event elsewhere."""

import io
from pathlib import Path

from rich.console import Console

from foundry.cli.live import Lines, clock, unseen, view
from foundry.search.budget import Budget
from foundry.search.settings import Running, Score, Snapshot


def snapshot(**changes):
    fields = {
        "folder": Path("runs/one"), "phase": "search", "budget": Budget("seconds", 600.0), "spent": 252.0,
        "seconds": 252.0, "baselines": (Score("llama lr=0.01", "a" * 16, 2.5, 1), Score("gpt2", "b" * 16, 3.4, 0)),
        "best": Score("c0ffee00", "c" * 16, 2.4, 1), "running": (Running("c0ffee00", "promote", 2, 3.2),),
        "counts": {"ok": 30, "diverged": 2}, "events": ("llama: 3.1 at rung 0", "c0ffee00: 2.4 at rung 1"),
    }  # fmt: skip
    return Snapshot(**{**fields, **changes})


def shown(snapshot):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(view(snapshot))
    return console.export_text()


def test_the_view_has_phase_budget_standings_running_and_events():
    text = shown(snapshot())
    for words in ("runs/one", "search", "4:12 of 10:00", "32 evaluations (2 diverged)", "c0ffee00 (best)",
                  "−0.100 against the best baseline", "llama lr=0.01", "promote", "3 s", "2.4 at rung 1"):  # fmt: skip
        assert words in text


def test_scores_of_different_rungs_are_not_compared():
    assert "against" not in shown(snapshot(best=Score("c0ffee00", "c" * 16, 1.9, 2)))


def test_the_view_of_a_run_without_scores():
    text = shown(snapshot(baselines=(), best=None, running=(), counts={}, events=()))
    assert "waiting for the first score" in text and "0 evaluations" in text


def test_a_budget_of_evaluations_shows_the_clock_as_well():
    assert "12 of 500evals  4:12" in shown(snapshot(budget=Budget("evals", 500.0), spent=12.0))


def test_words_from_genomes_are_not_markup():
    assert "[red]x[/red]" in shown(snapshot(events=("[red]x[/red]: crashed",)))


def test_each_event_is_printed_once_with_its_time(capsys):
    lines = Lines()
    lines(snapshot(events=("a", "b"), seconds=5.0))
    lines(snapshot(events=("a", "b"), seconds=6.0))
    lines(snapshot(events=("b", "c", "d"), seconds=65.0))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["0:05", "a"], ["0:05", "b"], ["1:05", "c"], ["1:05", "d"],
    ]  # fmt: skip


def test_new_events_are_found_when_the_window_has_moved():
    assert list(unseen((), ("a",))) == ["a"]
    assert list(unseen(("a", "b", "b"), ("b", "b", "c"))) == ["c"]
    assert list(unseen(("a", "b"), ("x", "y"))) == ["x", "y"]


def test_the_clock_has_hours_when_there_are_any():
    assert [clock(s) for s in (0, 61.9, 3600)] == ["0:00", "1:01", "1:00:00"]
