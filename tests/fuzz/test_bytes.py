"""Every reader of untrusted bytes takes them or refuses them in good order: the stored cases, and some new ones."""

import random
from pathlib import Path

import pytest

from foundry.testing.bytes.session import replay
from foundry.testing.bytes.target import SLOWEST, failure_of
from foundry.testing.bytes.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
CHANGED = 15  # inputs of each target
PATIENCE = 10  # times longer than an input may take: here it is not the time that is tested, and machines differ

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@each_target
def test_stored_cases_are_read_in_good_order(target):
    failures = {path.name: failure for path, failure in replay(target, CORPUS, PATIENCE * SLOWEST) if failure}
    assert failures == {}


@each_target
def test_seeds_and_what_becomes_of_them_are_read_in_good_order(target, tmp_path):
    read = target.open(tmp_path / "folder")
    rng = random.Random(0)
    inputs = [b"", b"\0", b"\xff" * 9, *rng.sample(target.seeds(), min(8, len(target.seeds())))]
    inputs += [changed(target, rng.choice(target.seeds()), rng) for _ in range(CHANGED)]
    for data in inputs:
        assert failure_of(target, read, data, PATIENCE * SLOWEST) is None, data


def changed(target, data, rng):
    """An input with its format kept, where the target knows how, or with bytes cut out and put in."""
    if target.mutate is not None and rng.random() < 0.7:
        return target.mutate(data, rng)
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.randint(0, 4)) + data[start + rng.randint(0, 4) :]


def test_stored_cases_belong_to_a_target():
    names = {target.name for target in TARGETS}
    assert {folder.name for folder in (CORPUS / "bytes").glob("*")} <= names
