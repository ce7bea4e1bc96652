"""Numeric genes: the numbers of a genome that may change freely, and asking Optuna for better ones.

Learning rates, decay, momentum, batch, clip, constants of schedules and formulas, widths of MLPs, kernels, windows,
thetas. What is left of a genome without them is its skeleton: genomes of one skeleton differ in numbers alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from foundry.compiler.compare import describe_difference
from foundry.dsl.format import format_genome
from foundry.dsl.syntax import Argument, Binary, Genome, ListOf, Name, Number, Path, Unary, put
from foundry.dsl.types import TensorType
from foundry.generate.genes import FLAGS, gene, limits
from foundry.search.bandit import operators_of
from foundry.search.operators import Barren
from foundry.search.population import TUNE, Population
from foundry.search.variation.subject import Site, Subject, parent, subject

REACH = 4.0  # a number moves within this factor of its parent's value
MOST = 4  # genes that one proposal changes
DIGITS = 3
# Operators that change numbers alone, as a rule: whoever has one skeleton is related by these.
NUMERIC = frozenset(
    {"number", "formula constant", "learning rate", "optimizer setting", "batch or clip", "optuna", TUNE}
)
RATES = ("lr", "adamw_lr")
RECIPE = ("train", "adamw", "lion", "muon")
# Whole numbers that stand alone: no other size follows from them.
WHOLE = {"hidden": 8, "kernel": 1, "size": 1, "rank": 1, "state": 1, "batch": 16, "by": 1}
# Sizes and choices that others follow from, or that are no matter of degree.
LINKED = frozenset({"count", "active", "top", "sink", "rotary", "rope_dim", "value_dim", "step", "original", *FLAGS})
NEAR_ONE = frozenset({"momentum", "linear_attend.decay", "delta_attend.decay"})
BETAS = ((0.5, 0.97), (0.8, 0.9999))


@dataclass(frozen=True)
class Gene:
    """A number of a genome: where it stands, what it is called, its value, and the interval that it may take.

    scale: how far apart two values are: by their ratio (log), by the ratio of their distances to 1 (near one), or by
        the difference of their roots (root), which reaches 0. multiple: of which it is one; 0 where it need not
        be whole. weight: how often it is chosen to change.
    """

    path: Path
    name: str
    value: int | float
    low: float
    high: float
    scale: str = "log"
    multiple: int = 0
    weight: float = 1.0

    def place(self, value: float) -> float:
        """A value on the gene's scale."""
        return _SCALES[self.scale][0](value)

    def at(self, place: float) -> int | float:
        """The legal value at a place on the scale, rounded."""
        value = min(max(_SCALES[self.scale][1](place), self.low), self.high)
        if self.multiple:
            least = math.ceil(self.low / self.multiple) * self.multiple
            return max(round(value / self.multiple) * self.multiple, least)
        if self.scale == "near one":
            return round(1 - _digits(1 - value), 12)
        return _digits(value)


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "log": (math.log, math.exp),
    "near one": (lambda value: -math.log1p(-value), lambda place: -math.expm1(-place)),
    "root": (math.sqrt, lambda place: place * place),
}


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# What is a gene -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def genes(text: str) -> tuple[Gene, ...]:
    """The numeric genes of a genome, in the order of its text.

    Raises:
        GenomeError: the genome has errors.
    """
    of = subject(text)
    found = (_gene(of, site) for site in of.all_sites if isinstance(site.node, Number))
    return tuple(entry for entry in found if entry is not None)


@lru_cache(maxsize=4096)
def skeleton(text: str) -> str:
    """The genome with a blank for each gene, without comments: equal where two differ in genes alone.

    Raises:
        GenomeError: the genome has errors.
    """
    tree = subject(text).genome
    for entry in genes(text):
        tree = put(tree, entry.path, Name("_"))
    return format_genome(_bare(tree))


def _bare(tree: Genome) -> Genome:
    definitions = tuple(replace(definition, comments=()) for definition in tree.definitions)
    return replace(tree, definitions=definitions, comments=(), closing=())


def with_values(text: str, values: Iterable[tuple[Gene, int | float]]) -> str:
    """The genome with other values for some of its genes."""
    tree = subject(text).genome
    for entry, value in values:
        tree = put(tree, entry.path, Number(value))
    return format_genome(tree)


def _gene(of: Subject, site: Site) -> Gene | None:
    """The gene that a number is, or None where it is no matter of degree, or others follow from it."""
    node = site.node
    _, above = parent(of, site.path)
    assert isinstance(node, Number)
    if site.argument in LINKED or site.argument in ("vocab", "width", "heads", "kv_heads", "head_dim", "out"):
        return None
    if isinstance(above, ListOf):
        if site.argument == "betas" and int(site.path[-1]) < len(BETAS) and node.value < 1:
            index = int(site.path[-1])
            low, high = BETAS[index]
            return _between(site, min(low, node.value), max(high, node.value), "near one")
        return None
    if isinstance(above, Argument):
        return _argument(site) if site.callee else None
    return _constant(of, site, above)


def _argument(site: Site) -> Gene | None:
    """The gene of a number that is given to an argument: its range is that of usual values, and legal."""
    node = site.node
    assert isinstance(node, Number)
    multiple = WHOLE.get(site.argument, 0)
    ladder = gene(site.callee, site.argument)
    if site.argument == "hidden":
        low, high = 8.0, 4096.0
    elif ladder is None:
        return None
    else:
        low, high = ladder.ladder[0], ladder.ladder[-1]
    legal = limits(site.callee, site.argument)
    if legal is not None:
        low, high = max(low, legal.low), min(high, legal.high)
        multiple = multiple or int(legal.sort == "integer")
    low = 0.1 if site.argument == "clip" else max(low, 0.0)  # no clipping, 0, is another thing than clipping
    near_one = site.argument in NEAR_ONE or f"{site.callee}.{site.argument}" in NEAR_ONE
    scale = "near one" if near_one else "log" if low > 0 else "root"
    if (scale == "log" and node.value <= 0) or (near_one and not 0 < node.value < 1):
        return None
    return _between(site, min(low, node.value), max(high, node.value), scale, multiple)


def _constant(of: Subject, site: Site, above: object) -> Gene | None:
    """The gene of a constant in a formula: fractions, and counts of at least 4; never an exponent, a comparison with
    a small whole number, or arithmetic on sizes."""
    node = site.node
    assert isinstance(node, Number)
    if not site.frame.role or not isinstance(above, (Binary, Unary)) or node.value <= 0:
        return None
    if isinstance(above, Binary):
        path, _ = parent(of, site.path)
        if not any(isinstance(sort, TensorType) for sort in of.checked.sorts.get(path, ())):
            return None
        if above.operator == "**" and site.path[-1] == "right":
            return None
    if isinstance(node.value, int) and node.value < 4:
        return None
    return _between(site, node.value / REACH, node.value * REACH, "log", int(isinstance(node.value, int)))


def _between(site: Site, low: float, high: float, scale: str, multiple: int = 0) -> Gene:
    node = site.node
    assert isinstance(node, Number)
    weight = 4.0 if site.argument in RATES else 2.0 if site.callee in RECIPE or site.frame.role == "schedule" else 1.0
    name = f"{site.callee or site.frame.role}.{site.argument}".strip(".")
    return Gene(site.path, name, node.value, low, high, scale, multiple, weight)


# Asking Optuna ------------------------------------------------------------------------------------------------------


def peers(population: Population, genome_hash: str, text_of: Callable[[str], str]) -> list[str]:
    """The genomes of the search that have the skeleton of this one, itself first: those that are related to it by
    changes of numbers alone."""
    near: dict[str, list[str]] = {}
    for individual in population.individuals.values():
        if NUMERIC.issuperset(operators_of(individual.operator)) and individual.parents:
            near.setdefault(individual.genome_hash, []).append(individual.parents[0])
            near.setdefault(individual.parents[0], []).append(individual.genome_hash)
    mine, found, waiting = skeleton(text_of(genome_hash)), [genome_hash], [genome_hash]
    seen = {genome_hash}
    while waiting:
        for other in near.get(waiting.pop(0), ()):
            known = population.individuals.get(other)
            if known is None or other in seen or known.arm != population.individuals[genome_hash].arm:
                continue
            seen.add(other)
            if known.tried and skeleton(text_of(other)) == mine:
                found.append(other)
                waiting.append(other)
    return found


def ask(text: str, tried: Sequence[tuple[str, float | None]], rng: random.Random) -> tuple[str, str]:
    """The genome with a few of its genes as a tree-structured Parzen estimator proposes them (Bergstra et al. 2011),
    through Optuna, and what changed.

    tried: genomes of the same skeleton with their scores, bits per byte; None where they failed. Only those
    within reach of `text`, gene by gene, are looked at. The state of `rng` alone decides among proposals.

    Raises:
        Barren: the genome has no gene that can change. GenomeError: it has errors.
    """
    mine = genes(text)
    chosen = _drawn(mine, rng)
    if not chosen:
        raise Barren("no number to change")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {str(index): optuna.distributions.FloatDistribution(*_reach(mine[index])) for index in chosen}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=rng.getrandbits(31), n_startup_trials=2))
    worst = max((score for _, score in tried if score is not None), default=8.0)
    for other, score in tried:
        values = [entry.value for entry in genes(other)]
        places = {name: mine[int(name)].place(values[int(name)]) for name in space}
        if all(range_.low <= places[name] <= range_.high for name, range_ in space.items()):
            value = worst + 1 if score is None else score
            study.add_trial(optuna.trial.create_trial(params=places, distributions=space, value=value))
    asked = study.ask(space).params
    changes = [(mine[int(name)], mine[int(name)].at(place)) for name, place in asked.items()]
    child = with_values(text, changes)
    said = "; ".join(describe_difference(text, child))
    if not said:
        raise Barren("the same numbers again")
    return child, said


def _drawn(mine: Sequence[Gene], rng: random.Random) -> list[int]:
    """The indices of up to MOST genes that can change, those of greater weight more often."""
    options = {index: entry.weight for index, entry in enumerate(mine) if _reach(entry)[0] < _reach(entry)[1]}
    count = min(rng.randint(1, MOST), len(options))
    chosen = []
    for _ in range(count):
        (index,) = rng.choices(list(options), list(options.values()))
        del options[index]
        chosen.append(index)
    return sorted(chosen)


def _reach(entry: Gene) -> tuple[float, float]:
    """The interval of places that a gene may move to from its present value."""
    low, high, here = entry.place(entry.low), entry.place(entry.high), entry.place(entry.value)
    step = (high - low) / REACH if entry.scale == "root" else math.log(REACH)
    return max(low, here - step), min(high, here + step)
