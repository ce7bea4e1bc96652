"""bench/rediscover.py: the search is given primitives alone, and what it finds is counted by what genomes compute."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest
import tiny

from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import load_program, prelude
from foundry.dsl.parse import parse
from foundry.dsl.source import resource
from foundry.dsl.substitute import occurrences
from foundry.generate.genomes import random_genome
from foundry.generate.vocabulary import withheld, withholding
from foundry.search.archive import Archive
from foundry.search.budget import Budget
from foundry.search.operators import mutate
from foundry.search.settings import Settings
from foundry.search.traits import traits

FILE = Path(__file__).parents[2] / "bench" / "rediscover.py"


@pytest.fixture(scope="module")
def rediscover():
    spec = importlib.util.spec_from_file_location("rediscover", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rediscover"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["rediscover"]


def used(text):
    """The names that a genome uses and does not define."""
    genome = parse(text)
    own = {definition.name for definition in genome.definitions}
    return {name for definition in genome.definitions for name in occurrences(definition)} - own


def test_the_plain_genome_is_gpt2_without_a_function_of_the_prelude(rediscover):
    plain, gpt2 = load_program(rediscover.PLAIN), load_program(resource("genomes", "gpt2.genome"))
    assert architecture_hash(plain) == architecture_hash(gpt2)
    assert not used(rediscover.PLAIN) & set(rediscover.withheld())


def test_the_plain_genome_has_none_of_the_known_wins(rediscover):
    known = set(traits(load_program(rediscover.PLAIN)))
    assert all(not names & known for names in rediscover.WINS.values())


def test_what_is_withheld_is_all_of_the_prelude_but_a_few(rediscover):
    names = {definition.name for definition in prelude().definitions}
    assert set(rediscover.withheld()) | rediscover.OFFERED == names
    for name in ("rope", "alibi", "relu2", "glu", "rmsnorm", "token_shift", "gated_conv", "attention", "unitnorm"):
        assert name in rediscover.withheld()


def test_neither_fresh_genomes_nor_mutations_use_what_is_withheld(rediscover):
    names = set(rediscover.withheld())
    with withholding(names):
        assert withheld("rope") and not withheld("identity")
        fresh = [random_genome(random.Random(seed)) for seed in range(12)]
        line = [rediscover.PLAIN]
        for seed in range(40):
            line.append(mutate(line[-1] if seed % 8 else rediscover.PLAIN, random.Random(seed)).text)
    assert not withheld("rope")
    for text in fresh + line:
        assert not used(text) & names, text


def test_no_generator_writes_rotary_positions_gates_or_qk_norm_by_hand(rediscover):
    """What a fresh genome has, nobody has found."""
    with withholding(rediscover.withheld()):
        fresh = [set(traits(load_program(random_genome(random.Random(seed))))) for seed in range(25)]
    assert not any({"rotary positions", "gated activation", "QK-norm"} & found for found in fresh)


def test_outside_the_context_every_draw_is_what_it_was(rediscover):
    def drawn():
        return [canonical_hash(load_program(random_genome(random.Random(seed)))) for seed in range(6)]

    before = drawn()
    with withholding(rediscover.withheld()):
        inside = drawn()
    assert drawn() == before and inside != before


def test_a_run_is_searched_counted_and_tabled(rediscover, tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text").mkdir()
    for number in range(300):
        words = " ".join(f"word{(number * k) % 97}" for k in range(1, 200))
        (tmp_path / "text" / f"{number}.txt").write_text(words)
    settings = Settings(
        tmp_path / "run", Budget("evals", 70), data=str(tmp_path / "text"), workers=2, run_job=tiny.landscape,
        baselines={"plain": rediscover.PLAIN}, preload=("tiny",),
    )  # fmt: skip
    rediscover.search(settings)
    archive = Archive(settings.out)
    found = rediscover.found(archive)
    names = set(rediscover.withheld())
    for path in (settings.out / "genomes").glob("*.genome"):
        assert not used(path.read_text()) & names
    assert found.children > 10 and 0 < found.promoted <= found.children
    assert set(found.winner) == set(rediscover.WINS)
    assert all(0 <= share <= 1 for share in found.share_of_children.values())
    for win in rediscover.WINS:  # the winner is a finalist, which was promoted
        assert found.winner[win] <= found.finalist[win] <= found.reached[win]
        assert found.reached[win] == (found.share_of_promoted[win] > 0)
    shown = rediscover.table([found, found])
    assert "of 2" in shown and all(win in shown for win in rediscover.WINS)


def test_counts_and_shares_are_over_the_genomes_that_are_asked_about(rediscover):
    has = {"a" * 16: frozenset({"squared ReLU"}), "b" * 16: frozenset({"Muon"})}
    assert rediscover._any(has, ["a" * 16])["squared ReLU"] and not rediscover._any(has, [])["squared ReLU"]
    assert rediscover._share(has, has) == {win: 0.5 * (win in ("squared ReLU", "Muon")) for win in rediscover.WINS}
