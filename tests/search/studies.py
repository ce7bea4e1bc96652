"""Driving a study with scores that are made up, so that the truth is known."""

import random


def drive(study, score, budget=10**9):
    """The result of a study, and all that it wanted. `score` gives the bits per byte of what is wanted; when more than
    `budget` evaluations are wanted, there is no more budget."""
    asked = []
    try:
        wanted = next(study)
        while True:
            asked += wanted
            wanted = study.send([score(one) for one in wanted] if len(asked) <= budget else None)
    except StopIteration as end:
        return end.value, asked


def luck(spread, *names):
    """Normal noise that follows from names: the same ones give the same."""
    return random.Random(repr(names)).gauss(0, spread)
