"""Cheats are caught or impossible: leaks, test text, seeds and orders of one's own, scores too good, files, imports."""

import ast
import builtins
import pickle
import random

import doomed
import numpy as np
import pytest
import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.corpus import CorpusError, load_corpus
from foundry.data.order import windows as training_windows
from foundry.dsl.check import check, load_program
from foundry.dsl.source import shipped_genomes
from foundry.evals import proxy
from foundry.evals.bits import windows
from foundry.evals.proxy import LONGEST_CONTEXT, VALIDATION_CONTEXT, WINDOWS, evaluate
from foundry.generate.genomes import random_genome
from foundry.search.workers import Job, Workers
from foundry.train.plan import plan_steps

COMPUTE = 1.5e10
TINY = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2, pos = rope);
  x + mlp(rmsnorm(x), hidden = 64, act = relu2)
};
model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = 5e-3), context = fn(t) => 32, batch = 256);
"""


@pytest.fixture(scope="module")
def corpus():
    return load_corpus()


def planted(monkeypatch, body):
    """From here on, every emitted model's forward pass goes through `body`, a function of logits and tokens."""
    honest = proxy.emit
    cheat = f"""

class Cheating(Model):
    def forward(self, tokens, past=None):
        logits = super().forward(tokens, past)
{body}


Model = Cheating
"""
    monkeypatch.setattr(proxy, "emit", lambda program: honest(program) + cheat)


# A leak --------------------------------------------------------------------------------------------------------------

LEAKS = {
    "the next token's logits": "        return logits + 1e-3 * logits.roll(-1, 1)",
    "the mean over the text": "        return logits + 1e-4 * logits.mean(1, keepdim=True)",
    "the last token": "        return logits + 1e-3 * logits[:, -1:]",
    "the answer itself": "        return logits + 30 * F.one_hot(tokens.roll(-1, 1), VOCAB)",
    "the answer, now and then": "        rare = (tokens % 7 < 2)[..., None]\n"
    "        return logits + rare * F.one_hot(tokens.roll(-1, 1), VOCAB)",
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_leaking_mechanism_in_the_emitted_file_is_quarantined(corpus, monkeypatch, what):
    planted(monkeypatch, LEAKS[what])
    outcome = evaluate(TINY, corpus, compute=COMPUTE, seed=0)
    assert (outcome.status, outcome.error_code) == ("quarantined", "leak")


def test_the_same_model_without_the_leak_is_not(corpus, monkeypatch):
    planted(monkeypatch, "        return logits + 1e-3 * F.pad(logits, (0, 0, 1, 0))[:, :-1]")  # what came before
    assert evaluate(TINY, corpus, compute=COMPUTE, seed=0).status == "ok"


# A score too good to be true -----------------------------------------------------------------------------------------


def test_a_model_that_knows_the_validation_text_by_heart_is_quarantined(corpus, monkeypatch):
    """It looks at nothing but the past, so that only its score gives it away."""
    planted(
        monkeypatch,
        """        if not self.training:
            for row, text in enumerate(tokens.tolist()):
                for end in range(1, len(text) + 1):
                    answers = HEART.get(bytes(text[:end]), ())
                    if len(answers) == 1:
                        logits[row, end - 1] = 20 * F.one_hot(torch.tensor(*answers), VOCAB)
        return logits""",
    )
    heart = {}
    for text in windows(corpus.validation, WINDOWS["validation"], VALIDATION_CONTEXT).tolist():
        for end in range(1, len(text)):
            heart.setdefault(bytes(text[:end]), set()).add(text[end])
    plain = proxy.load
    monkeypatch.setattr(proxy, "load", lambda source: _with(plain(source), HEART=heart))
    outcome = evaluate(TINY, corpus, compute=COMPUTE, seed=0)
    assert (outcome.status, outcome.error_code) == ("quarantined", "implausible")


def _with(module, **values):
    vars(module).update(values)
    return module


# Test text -----------------------------------------------------------------------------------------------------------


def job(corpus, split):
    return Job("a", TINY, corpus, COMPUTE, 0, split, 60.0)


def test_what_travels_to_a_worker_has_the_split_to_score_and_no_other(corpus):
    search = pickle.loads(pickle.dumps(job(corpus, "validation"))).corpus
    assert len(search.train) == len(corpus.train) and len(search.validation) == len(corpus.validation)
    assert len(search.test) == 0
    with pytest.raises(CorpusError, match="its test text is not shown here"):
        search.split("test")
    confirmation = pickle.loads(pickle.dumps(job(corpus, "test"))).corpus
    assert len(confirmation.test) == len(corpus.test) and len(confirmation.validation) == 0


def test_a_worker_process_of_the_search_has_no_test_text_and_has_not_opened_its_file(corpus):
    pool = Workers(doomed.sees, 1, preload=("doomed",))
    try:
        pool.start(job(corpus, "validation"))
        (finished,) = pool.wait(30)
    finally:
        pool.close()
    assert finished.status == "ok"
    assert finished.outcome["bytes"] == {"train": len(corpus.train), "validation": len(corpus.validation), "test": 0}
    assert any(name.endswith("validation.bin") for name in finished.outcome["mapped"])
    assert not any(name.endswith("test.bin") for name in finished.outcome["mapped"])


def test_a_score_on_validation_text_needs_no_test_text(corpus):
    blind = corpus.showing("train", "validation")
    assert evaluate(TINY, blind, compute=COMPUTE, seed=0).bits_per_byte is not None
    refused = evaluate(TINY, blind, compute=COMPUTE, seed=0, split="test")
    assert refused.bits_per_byte is None and refused.error_code == "CorpusError"


def test_test_text_has_no_document_of_the_text_to_train_on(corpus):
    train = set(corpus.train.tobytes().split(b"\0"))
    assert not train & set(corpus.test.tobytes().split(b"\0")) - {b""}


# Seeds and the order of the data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["seed = 7", "shuffle = 0", "data = 3", "split = 1", "order = fn(t) => t"])
def test_a_recipe_cannot_set_seeds_data_or_their_order(setting):
    checked = check(TINY.replace("batch = 256", f"batch = 256, {setting}"))
    assert checked.program is None and checked.diagnostics


def test_genomes_that_differ_in_everything_see_the_same_windows_from_the_same_seed(corpus):
    starts = []
    for text in (
        TINY,
        TINY.replace("fn(t) => 32, batch = 256", "fn(t) => 64, batch = 512"),
        random_genome(random.Random(1)),
    ):
        module = load(emit(load_program(text)))
        steps = plan_steps(module, compute=3e5, compute_per_token=lambda context: 1.0, max_context=LONGEST_CONTEXT)
        found = []
        for batch in training_windows(corpus.train, steps, 5, LONGEST_CONTEXT):
            found += [row[:16].tolist() for row in batch.x]
        starts.append(found[:40])
    assert starts[0] == starts[1]
    if "difficulty" not in random_genome(random.Random(1)):
        assert starts[0] == starts[2]


def test_initial_weights_follow_from_the_seed_that_the_harness_gives_and_from_nothing_else():
    program = load_program(TINY)
    first, second = (load(emit(program)).Model() for _ in range(2))
    torch.manual_seed(1)
    first.initialise(3)
    torch.manual_seed(2)
    second.initialise(3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


# Files, imports, and whatever else Python can do ---------------------------------------------------------------------

HOSTILE = (
    "import os;",
    "from os import system;",
    'steal(x) = open("/etc/passwd");',
    'steal(x) = __import__("os");',
    "steal(x) = x.__class__;",
    "steal(x) = eval(x);",
    "steal(x) = exec(x);",
    "steal(x) = torch.load(x);",
    "steal(x) = lambda: x;",
    "steal(x) = `id`;",
    "steal(x) = { import os; x };",
    'steal(x) = "text";',
    "@property(1);",
)


@pytest.mark.parametrize("line", HOSTILE)
def test_what_python_could_do_is_no_genome(line):
    assert check(TINY.replace("layer(x)", line + "\nlayer(x)", 1)).program is None


COMMENTS = (
    "plain words",
    '"""',
    "'''; import os",
    "\\",
    "\x0bimport os",
    "\x0cimport os",
    "\x1cimport os",
    "\x85import os",
    "\u2028import os",
    "\u2029import os",
    "\rimport os",
    "{import os}",
    "%s {} {0} f'{x}'",
    "-*- coding: utf-7 -*-",
)


def test_no_comment_of_a_genome_becomes_code():
    """Whatever stands in a comment, the emitted file says the same to Python."""
    meant = None
    for comment in COMMENTS:
        checked = check(
            TINY.replace("layer(x)", f"# {comment}\nlayer(x)", 1).replace("  x + mlp", f"  # {comment}\n  x + mlp")
        )
        if checked.program is None:
            continue
        code = ast.parse(emit(checked.program))
        for node in ast.walk(code):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        meant = meant or ast.dump(code)
        assert ast.dump(code) == meant, repr(comment)
    assert meant is not None


PYTHON = ("torch", "nn", "F", "math", "sys", "open", "exec", "print", "super", "self", "Model", "loss", "class", "len")


@pytest.mark.parametrize("name", PYTHON)
def test_a_name_of_a_genome_takes_no_name_of_python(name):
    text = TINY.replace("layer", name)
    checked = check(text)
    if checked.program is None:
        return  # the language itself refuses it
    module = load(emit(checked.program))
    assert module.torch is torch and module.math.sqrt(4) == 2
    assert getattr(module, name, None) is None or name not in dir(builtins)
    model = module.Model()
    model.initialise(0)
    assert model(torch.zeros(1, 4, dtype=torch.int64)).shape == (1, 4, 256)


FORBIDDEN = {"open", "exec", "eval", "compile", "__import__", "input", "getattr", "setattr", "globals", "vars"}
BY_HAND = {"main", "read_weights"}  # of the file as a command; a search never calls them


def test_an_emitted_model_opens_nothing_and_imports_little_beside_torch():
    drawn = [random_genome(random.Random(seed)) for seed in range(10)]
    for text in [*drawn, *(path.read_text() for path in shipped_genomes().values())]:
        tree = ast.parse(emit(load_program(text)))
        tree.body = [node for node in tree.body if getattr(node, "name", "") not in BY_HAND]
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported <= {"math", "sys", "zlib", "torch", "torch.nn.functional"}
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not {call.id for call in calls if isinstance(call, ast.Name)} & FORBIDDEN
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not {a.attr for a in attributes if a.attr.startswith("__")} - {"__init__"}
        assert not {a.attr for a in attributes} & {"load", "save", "system", "hub", "manual_seed_all"}
        assert {a.attr for a in attributes if isinstance(a.value, ast.Name) and a.value.id == "sys"} <= {"argv"}


def test_windows_are_drawn_by_the_harness_even_where_a_model_reseeds_torch(corpus):
    module = load(emit(load_program(TINY)))
    steps = plan_steps(module, compute=1e5, compute_per_token=lambda context: 1.0, max_context=LONGEST_CONTEXT)
    seen = []
    for reseeded in (False, True):
        drawn = []
        for batch in training_windows(corpus.train, steps, 11, LONGEST_CONTEXT):
            drawn.append(batch.x.numpy().copy())
            if reseeded:
                torch.manual_seed(0)
                np.random.seed(0)
                random.seed(0)
        seen.append(drawn)
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))
