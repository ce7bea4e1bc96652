"""People and search edit genomes in any order: what was accepted stays accepted, and what keeps the meaning keeps it.

A machine of hypothesis plays a session: it breaks genomes and mends them, formats, expands, inlines, mutates, crosses,
scales, compares, emits and builds them, each step on what any earlier step has made.
"""

from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule

from foundry.compiler.compare import compare, describe
from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.compiler.scale.search import Asked, ScaleError, scale
from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import check, load_program
from foundry.dsl.expand import ExpandError, expand
from foundry.dsl.format import format_genome
from foundry.dsl.inline import self_contained
from foundry.dsl.parse import parse
from foundry.dsl.repair import repair
from foundry.dsl.source import MAX_BYTES, shipped_genomes
from foundry.generate.draw import RandomDraw
from foundry.generate.trees import size
from foundry.search.confirm import transplant_recipe
from foundry.search.operators import MAX_NODES, Barren, crossover, mutate
from foundry.testing.strategies import HypothesisDraw, genomes
from foundry.testing.texts import arbitrary

ROOMS = ("attention", "channels", "heads", "norms", "positions", "residual")
SMALL = 1500  # bytes of a shipped genome
BUILT = 300_000  # parameters at most
STEPS = 10


@cache
def shipped():
    """The small genomes that come along, the smallest first."""
    texts = [path.read_text("utf-8") for name, path in shipped_genomes().items() if name.split("/")[0] in ROOMS]
    return sorted((text for text in texts if len(text) <= SMALL), key=len)


def exact(figures):
    """What spelling cannot change. The bytes moved it can: what the compiler fuses is a function with a name."""
    return figures.parameters, figures.flops_per_token, figures.cache_bytes_per_token


class Editing(RuleBasedStateMachine):
    """A session of editing. `meanings`: the hash of every text that was accepted, when it was."""

    accepted = Bundle("accepted")
    doubtful = Bundle("doubtful")

    def __init__(self):
        super().__init__()
        self.meanings = {}

    def accept(self, text):
        """A text that must check clean; its program."""
        checked = check(text)
        assert checked.ok, checked.diagnostics
        assert len(text.encode()) <= MAX_BYTES
        self.meanings[text] = canonical_hash(checked.program)
        return checked.program

    def teardown(self):
        for text, meaning in self.meanings.items():
            assert canonical_hash(load_program(text)) == meaning, "a meaning that changes with time"

    # ---- where texts come from

    @rule(target=accepted, text=genomes())
    def a_fresh_one(self, text):
        self.accept(text)
        return text

    @rule(target=accepted, index=st.integers(0, 30))
    def a_shipped_one(self, index):
        text = shipped()[index % len(shipped())]
        self.accept(text)
        return text

    # ---- what keeps the meaning

    def same(self, text, again):
        """Another spelling of a text: both mean the same, with the same weights and operations."""
        program = self.accept(again)
        assert self.meanings[again] == self.meanings[text]
        before = load_program(text)
        assert architecture_hash(program) == architecture_hash(before)
        assert exact(cost(program)) == exact(cost(before))
        comparison = compare(before, program)
        assert comparison.same and not comparison.changes
        return again

    @rule(target=accepted, text=accepted)
    def format(self, text):
        formatted = format_genome(parse(text))
        assert format_genome(parse(formatted)) == formatted
        return self.same(text, formatted)

    @rule(target=accepted, text=accepted, data=st.data())
    def expand(self, text, data):
        own = [d.name for d in parse(text).definitions if d.name not in ("model", "recipe")]
        names = data.draw(st.lists(st.sampled_from(own), max_size=2, unique=True)) if own else []
        try:
            return self.same(text, expand(text, names))
        except ExpandError as error:
            assert len(str(error).splitlines()) == 1
            return multiple()

    @rule(target=accepted, text=accepted)
    def inline(self, text):
        whole = self_contained(parse(text))
        assert self_contained(whole) == whole
        return self.same(text, format_genome(whole))

    # ---- what changes it

    def child(self, parents, make):
        """What an operator makes of accepted texts: formatted, of bounded size, new, and with a reason."""
        try:
            child = make()
        except Barren:
            return multiple()
        program = self.accept(child.text)
        assert format_genome(parse(child.text)) == child.text
        assert size(parse(child.text)) <= MAX_NODES
        assert self.meanings[child.text] not in {self.meanings[parent] for parent in parents}
        first = load_program(parents[0])
        assert child.description and child.description == "; ".join(describe(first, program))
        assert compare(first, program).changes and compare(program, first).changes
        return child.text

    @rule(target=accepted, text=accepted, data=st.data())
    def mutate(self, text, data):
        return self.child([text], lambda: mutate(text, HypothesisDraw(data.draw)))

    @rule(target=accepted, a=accepted, b=accepted, data=st.data())
    def cross(self, a, b, data):
        return self.child([a, b], lambda: crossover(a, b, HypothesisDraw(data.draw)))

    @rule(target=accepted, a=accepted, b=accepted)
    def take_the_recipe(self, a, b):
        text = transplant_recipe(a, b)
        checked = check(text)
        assume(checked.ok)  # a loss or a difficulty may not fit the other's vocabulary
        assert architecture_hash(checked.program) == architecture_hash(load_program(a))
        self.accept(text)
        return text

    @rule(
        target=accepted,
        text=accepted,
        asked=st.one_of(
            st.builds(Asked, width=st.sampled_from((8, 16, 24, 64))),
            st.builds(Asked, depth=st.integers(1, 6)),
            st.builds(Asked, vocab=st.integers(2, 300)),
            st.builds(Asked, parameters=st.sampled_from((3_000, 30_000, 1_000_000))),
        ),
    )
    def scale(self, text, asked):
        try:
            scaled = scale(text, asked)
        except ScaleError as error:
            assert len(str(error).splitlines()) == 1
            return multiple()
        program = self.accept(scaled.text)
        assert scaled.after.parameters == cost(program).parameters
        if asked.vocab is not None:
            assert program.vocab == asked.vocab
        if asked.parameters is not None:
            assert 0.9 < scaled.after.parameters / asked.parameters < 1.1
        return scaled.text

    # ---- what breaks it, and what mends it

    @rule(target=doubtful, text=accepted, data=st.data())
    def spoil(self, text, data):
        spoilt = arbitrary(RandomDraw(data.draw(st.randoms(use_true_random=False))), (text,))
        return spoilt.decode("utf-8", "replace") if isinstance(spoilt, bytes) else spoilt

    @rule(target=accepted, text=doubtful)
    def mend(self, text):
        mended = repair(text)
        assert mended.ok == check(mended.text).ok
        assert not mended.mended or mended.text != text
        again = repair(mended.text)
        assert (again.text, again.mended) == (mended.text, ()), "all that could be mended was"
        if not mended.ok or check(mended.text).diagnostics:
            return multiple()
        self.accept(mended.text)
        return mended.text

    # ---- what runs

    @rule(text=accepted)
    def emit(self, text):
        source = emit(load_program(text))
        compile(source, "model.py", "exec")
        assert emit(load_program(text)) == source

    @rule(text=accepted)
    def build(self, text):
        program = load_program(text)
        figures = cost(program)
        assume(figures.parameters <= BUILT)
        module = load(emit(program))
        model = module.Model()
        assert sum(weight.numel() for weight in model.parameters()) == figures.parameters
        tokens = torch.arange(5)[None] % module.VOCAB
        length = min(5, module.LONGEST or 5)
        assert model(tokens[:, :length]).shape == (1, length, module.VOCAB)

    @rule(a=accepted, b=accepted)
    def tell_apart(self, a, b):
        comparison = compare(load_program(a), load_program(b))
        assert comparison.same == (self.meanings[a] == self.meanings[b]) == (not comparison.changes)


Editing.TestCase.settings = settings(
    max_examples=max(1, settings.default.max_examples // 4),
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestEditing = pytest.mark.filterwarnings("ignore")(Editing.TestCase)
