"""Numbers that may change freely: which they are, what is left without them, and asking Optuna for better ones."""

import math
import random

import pytest
from individuals import add

from foundry.dsl.check import load_program
from foundry.generate.genomes import random_genome
from foundry.search import candidates
from foundry.search.genes import MOST, NUMERIC, REACH, ask, genes, peers, skeleton, with_values
from foundry.search.operators import OPERATORS, Barren
from foundry.search.population import Population

GENOME = """@foundry(1);

# A comment.
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4, pos = rope(theta = 1e4), mask = window(size = 32), short = conv(kernel = 3));
  x + mlp(rmsnorm(x), hidden = HIDDEN, act = fn(x) => relu(x) ** 2 * 0.7)
};

model = embed(vocab = 256, width = 64) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(
  optimizer = muon(lr = RATE, momentum = 0.95, decay = 0.1, adamw_lr = 3e-3, betas = [0.9, 0.95]),
  schedule = warmup_linear(warmup = 0.1),
  batch = 512,
  clip = 1.0,
);
"""


def genome(hidden=128, rate=0.02):
    return GENOME.replace("HIDDEN", str(hidden)).replace("RATE", f"{rate:g}")


def by_name(text):
    return {gene.name: gene for gene in genes(text)}


# What is a gene -----------------------------------------------------------------------------------------------------


def test_rates_sizes_of_their_own_and_constants_of_formulas_are_genes():
    found = {(gene.name, gene.value) for gene in genes(genome())}
    assert found == {
        ("rope.theta", 1e4), ("window.size", 32), ("conv.kernel", 3), ("mlp.hidden", 128), ("activation", 0.7),
        ("muon.lr", 0.02), ("muon.momentum", 0.95), ("muon.decay", 0.1), ("muon.adamw_lr", 3e-3),
        ("muon.betas", 0.9), ("muon.betas", 0.95), ("warmup_linear.warmup", 0.1), ("train.batch", 512),
        ("train.clip", 1.0),
    }  # fmt: skip


def test_what_others_follow_from_and_what_is_no_matter_of_degree_stays_in_the_skeleton():
    text = "width = 64"
    assert all(
        kept in skeleton(genome()) for kept in (text, "heads = 4", "vocab = 256", "2 * layer", "** 2", "tied = 1")
    )
    assert not genes_of_clip("clip = 0")  # no clipping at all is another recipe


def genes_of_clip(setting):
    return [gene for gene in genes(genome().replace("clip = 1.0", setting)) if gene.name == "train.clip"]


def test_genomes_that_differ_in_genes_alone_have_one_skeleton():
    assert skeleton(genome()) == skeleton(genome(hidden=256, rate=0.01).replace("# A comment.", "# Another."))
    assert skeleton(genome()) != skeleton(genome().replace("heads = 4", "heads = 8"))
    assert skeleton(genome()) != skeleton(genome().replace("muon(lr", "adamw(lr").replace("momentum = 0.95, ", "")
                                          .replace("adamw_lr = 3e-3, ", ""))  # fmt: skip


def test_whole_numbers_stay_whole_and_values_legal():
    found = by_name(genome())
    assert found["mlp.hidden"].at(math.log(130)) == 128 and found["conv.kernel"].at(math.log(2.4)) == 2
    assert isinstance(found["train.batch"].at(math.log(700)), int) and found["train.batch"].at(math.log(700)) % 16 == 0
    assert found["muon.momentum"].at(99.0) < 1 and found["muon.lr"].at(99.0) <= 1
    assert found["muon.decay"].at(0.0) == 0.0


def test_distance_is_by_ratio_and_near_one_by_what_is_missing():
    found = by_name(genome())
    rate, momentum = found["muon.lr"], found["muon.momentum"]
    assert rate.place(0.02) - rate.place(0.01) == pytest.approx(rate.place(0.01) - rate.place(0.005))
    assert momentum.place(0.975) - momentum.place(0.95) == pytest.approx(momentum.place(0.95) - momentum.place(0.9))
    for gene in found.values():
        assert gene.at(gene.place(gene.value)) == pytest.approx(gene.value, rel=0.01)


def test_other_values_are_written_where_the_genes_stand():
    found = by_name(genome())
    child = with_values(genome(), [(found["mlp.hidden"], 96), (found["muon.lr"], 0.015)])
    assert "hidden = 96" in child and "lr = 0.015" in child and skeleton(child) == skeleton(genome())


def test_numeric_operators_are_operators():
    assert set(OPERATORS) >= NUMERIC - {"optuna", "tune"}


# Asking Optuna ------------------------------------------------------------------------------------------------------


def test_a_proposal_checks_clean_changes_a_few_numbers_within_reach_and_says_which():
    for seed in range(6):
        child, said = ask(genome(), [(genome(), 2.0)], random.Random(seed))
        before, after = genes(genome()), genes(child)
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a.value != b.value]
        assert 1 <= len(changed) <= MOST and said
        assert skeleton(child) == skeleton(genome())
        assert all(a.value / b.value < 1.01 * REACH for a, b in changed if a.scale == "log")
        load_program(child)


def test_the_same_state_gives_the_same_proposal():
    tried = [(genome(), 2.0), (genome(rate=0.01), 1.9)]
    assert ask(genome(), tried, random.Random(5)) == ask(genome(), tried, random.Random(5))
    assert ask(genome(), tried, random.Random(5)) != ask(genome(), tried, random.Random(6))


def test_asked_again_and_again_it_comes_to_where_as_many_draws_around_the_start_do_not():
    """A bowl over two rates, with its bottom a factor of 3 away in each."""

    def loss(text):
        rate, other = by_name(text)["muon.lr"].value, by_name(text)["muon.adamw_lr"].value
        return 2 + math.log(rate / 0.007) ** 2 + math.log(other / 0.009) ** 2

    tried, rng = [(genome(), loss(genome()))], random.Random(0)
    for _ in range(24):
        parent = min(tried, key=lambda entry: entry[1])[0]
        child, _ = ask(parent, tried, rng)
        tried.append((child, loss(child)))
    by_chance, rng = [], random.Random(0)
    for _ in range(24):
        parent = genome()
        child, _ = ask(parent, [], rng)
        by_chance.append(loss(child))
    assert min(score for _, score in tried) < 2.2 < min(by_chance)


def test_failures_are_avoided():
    start, rng = genome(), random.Random(1)
    tried = [(start, 2.0)]
    for _ in range(25):
        child, _ = ask(start, tried, rng)
        rate = by_name(child)["muon.lr"].value
        tried.append((child, None if rate > 0.021 else 2.0 - 0.1 * (rate < 0.02)))
    late = [score for text, score in tried[13:] if by_name(text)["muon.lr"].value != 0.02]
    assert late.count(None) < len(late) / 2


def test_a_genome_without_numbers_to_change_is_barren():
    bare = "@foundry(1);\nmodel = embed(vocab = 256, width = 16) >> unembed(tied = 1);\n"
    assert genes(bare) == ()
    with pytest.raises(Barren):
        ask(bare, [], random.Random(0))


def test_fresh_genomes_have_genes_and_keep_checking_clean():
    rng = random.Random(2)
    for _ in range(4):
        text = random_genome(rng)
        assert len(genes(text)) > 4
        candidates.read(ask(text, [(text, 3.0)], rng)[0])


# Peers --------------------------------------------------------------------------------------------------------------


def test_peers_are_relatives_of_one_skeleton_in_one_arm():
    texts = {
        "base": genome(), "rate": genome(rate=0.01), "wide": genome(hidden=256), "far": genome(rate=0.03),
        "other": genome().replace("heads = 4", "heads = 8"), "stranger": genome(rate=0.005), "untried": genome(64),
    }  # fmt: skip
    population = Population()
    add(population, "base", 3.0, operator="seed")
    add(population, "rate", None, operator="learning rate", parents=("base",))
    add(population, "wide", 2.9, operator="optuna", parents=("base",))
    add(population, "far", 2.8, operator="tune", parents=("wide",))
    add(population, "other", 2.7, operator="number", parents=("base",))
    add(population, "stranger", 2.6, operator="random", arm="control")
    population.add("untried", "number", ("base",), "attend")
    assert set(peers(population, "far", texts.__getitem__)) == {"base", "rate", "wide", "far"}
    assert peers(population, "wide", texts.__getitem__)[0] == "wide"
