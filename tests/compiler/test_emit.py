"""The emitted file: what it looks like, that it stands alone, and that nothing in a genome becomes code."""

import ast
import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.compiler.names import MODULE_ATTRIBUTES, Names, class_name, comment, docstring, identifier, number
from foundry.dsl.check import load_program

torch.set_num_threads(1)

GENOMES = {p.stem: p.read_text() for p in sorted(Path(__file__).parents[2].joinpath("genomes").glob("*.genome"))}


def source(layer, model="embed(vocab = 256, width = 32) >> 2 * layer >> unembed(tied = 1)", recipe=""):
    return emit(load_program(f"@foundry(1);\n{layer}\nmodel = {model};\n{recipe}"))


def classes(text):
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]


def part(text, name):
    """The source of one class or function of a file."""
    return next(ast.get_source_segment(text, n) for n in ast.parse(text).body if getattr(n, "name", "") == name)


# ---- what it looks like -----------------------------------------------------------------------------------------


def test_a_llama_layer_reads_as_one_would_write_it():
    text = emit(load_program(GENOMES["llama"]))
    assert part(text, "Layer").splitlines() == [
        "class Layer(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.attention_norm = RMSNorm()",
        "        self.attention = Attention()",
        "        self.glu_norm = RMSNorm()",
        "        self.glu = GLU()",
        "",
        "    def forward(self, x, cos_sin, past=None):",
        "        x = x + self.attention(self.attention_norm(x), cos_sin, past)",
        "        return x + self.glu(self.glu_norm(x))",
    ]
    assert "q = rotate(split_heads(self.q(x), 4), cos_sin)" in part(text, "Attention")
    assert "cos_sin = rope(tokens, past)" in part(text, "Model")
    assert "self.layers = nn.ModuleList(Layer() for _ in range(4))" in text
    assert "F.rms_norm(x, (64,), weight=self.weight, eps=1e-6)" in text
    assert "gate = F.silu(self.gate(x))" in text
    assert "F.linear(asked(self.rmsnorm(x), past), self.embed.weight)" in text


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_baseline_that_trains_and_generates_is_shorter_than_the_model_of_nanogpt(name):
    assert len(emit(load_program(GENOMES[name])).splitlines()) < 330


@pytest.mark.parametrize("name", GENOMES)
def test_only_torch_and_the_standard_library_are_imported(name):
    tree = ast.parse(emit(load_program(GENOMES[name])))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported <= {"math", "sys", "torch", "torch.nn.functional"}


@pytest.mark.parametrize("name", GENOMES)
def test_emitted_files_pass_the_linter(name, tmp_path):
    file = tmp_path / "model.py"
    file.write_text(emit(load_program(GENOMES[name]), title=f"{name}, emitted"))
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,W,I",
        "--line-length",
        "120",
        str(file),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_mechanisms_that_a_genome_does_not_use_are_not_in_its_file():
    plain = source("layer(x) = x + mlp(x, hidden = 8);")
    for absent in ("def attend", "def scan", "class Conv", "def rotate", "class Muon", "class Lion"):
        assert absent not in plain
    assert "def attend_window" in emit(load_program(GENOMES["hybrid"]))
    assert "def attend(" not in emit(load_program(GENOMES["hybrid"]))


def test_equal_functions_are_one_class_and_numbers_that_differ_are_arguments():
    text = source("layer(x) = { a = mlp(x, hidden = 8); b = mlp(x, hidden = 24); x + a + b + mlp(x, hidden = 8) };")
    assert classes(text).count("MLP") == 1
    assert "self.a = MLP(hidden=8)" in text
    assert "self.b = MLP(hidden=24)" in text
    assert "self.up = nn.Linear(32, hidden, bias=False)" in text


def test_functions_without_weights_take_their_numbers_too():
    text = source(
        "turned(x, theta) = attention(x, heads = 2, pos = rope(theta = theta));"
        "layer(x) = x + turned(x, theta = 10) + turned(x, theta = 1e4);"
    )
    assert text.count("def rope(x, theta, past=None)") == 1


def test_different_structures_have_telling_names():
    text = emit(load_program(GENOMES["hybrid"]))
    assert {"RecurrenceLayer", "AttentionLayer"} <= set(classes(text))
    named = source(
        "layer(x) = { local = attention(x, heads = 2, mask = dilated); wide = attention(x, heads = 2);"
        " x + local + wide };"
    )
    assert {"LocalAttention", "WideAttention"} <= set(classes(named))


def test_shared_weights_are_one_attribute():
    text = source("layer(x) = { f = share(mlp(hidden = 8)); x + f(x) + f(f(x)) };")
    assert "return x + self.f(x) + self.f(self.f(x))" in text
    assert text.count("self.f = MLP()") == 1
    looped = source("block(x) = x + mlp(x, hidden = 8);\nlayer(x) = x >> share(3 * block);")
    assert "for _ in range(3):\n            x = self.block(x)" in looped


def test_copies_learn_apart_and_shared_passes_do_not():
    for layer, count in (("2 * f", 2), ("share(2 * f)", 1), ("f >> f", 2)):
        module = load(source(f"f(x) = x + mlp(x, hidden = 8);\nlayer(x) = x >> {layer};"))
        assert sum(p.numel() for p in module.Model().layers.parameters()) == 2 * count * 2 * 32 * 8


def test_scores_go_the_fastest_way_that_computes_them():
    ways = {
        "": "attend(q, k, v, past=past)",
        ", mask = window(size = 7)": "attend_window(q, k, v, 7, past=past)",
        ", mask = fn(i, j) => j > i - 7": "attend_window(q, k, v, 7, past=past)",
        ", score = fn(s) => s * 2": "attend(q, k, v, scale=0.5, past=past)",
        ", score = alibi": "attend_bias(q, k, v, bias=lambda h, i, j: alibi(h, i, j), past=past)",
        ", score = softcap": "attend_score(q, k, v, score=lambda s, h, i, j: softcap(s), past=past)",
        ", mask = dilated": "attend_bias(q, k, v, mask=lambda h, i, j: dilated(i, j), past=past)",
    }
    for arguments, call in ways.items():
        assert call in source(f"layer(x) = x + attention(x, heads = 2, kv_heads = 1{arguments});"), arguments


def test_comments_come_along():
    text = source("# mixes channels\nlayer(x) = {\n  # twice as much\n  y = x * 2;\n  mlp(y, hidden = 8) + y\n};")
    assert "# mixes channels\nclass Layer(nn.Module):" in text
    assert "        # twice as much\n        y = x * 2\n" in text


def test_the_recipe():
    module = load(
        source(
            "layer(x) = x + mlp(x, hidden = 8);",
            recipe="recipe = train(optimizer = muon(lr = 0.03, adamw_lr = 1e-3, decay = 0.2), batch = 512, clip = 0.5,"
            " schedule = fn(t) => min(t / 0.1, 1),"
            " loss = fn(logits, y) => cross_entropy(logits, y) + 1e-4 * logsumexp(logits) ** 2,"
            " context = fn(t) => where(t < 0.5, 64, 128));",
        )
    )
    assert (module.VOCAB, module.LONGEST, module.BATCH, module.CLIP) == (256, None, 512, 0.5)
    assert [module.schedule(t) for t in (0, 0.05, 1)] == [0, 0.5, 1]
    assert [module.context(t) for t in (0, 0.5)] == [64, 128]
    model = module.Model()
    groups = [g for o in module.optimizers(model) for g in o.param_groups]
    assert {g["peak_lr"] for g in groups} == {0.03, 1e-3}
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    logits, y = torch.randn(2, 5, 256), torch.randint(256, (2, 5))
    expected = torch.nn.functional.cross_entropy(logits.mT, y, reduction="none") + 1e-4 * logits.logsumexp(-1) ** 2
    torch.testing.assert_close(module.loss(logits, y)[..., 0], expected)


@pytest.mark.parametrize(
    ("table", "longest"),
    [
        ("position(tokens), vocab = 40", 40),
        ("position(tokens) + 8, vocab = 40", 32),
        ("remainder(position(tokens), 8), vocab = 8", None),
    ],
)
def test_the_longest_context_follows_from_the_position_tables(table, longest):
    sum_of = f"embed(tokens, vocab = 256, width = 8) + embed({table}, width = 8)"
    module = load(emit(load_program(f"@foundry(1);\nmodel(tokens) = {sum_of} >> unembed(tied = 1);")))
    found = module.LONGEST
    assert found == longest


# ---- weights ----------------------------------------------------------------------------------------------------


def test_initial_weights_follow_the_seed_and_the_width():
    module = load(emit(load_program(GENOMES["primer"])))
    first, second, other = module.Model(), module.Model(), module.Model()
    first.initialise(0)
    second.initialise(0)
    other.initialise(1)
    for (key, a), b, c in zip(first.named_parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), key
        assert key.endswith("norm.weight") or not torch.equal(a, c), key
    block = first.layers[0]
    assert first.embed.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert block.mlp.down.weight.std().item() == pytest.approx(0.02 * (768 / 256) ** 0.5, rel=0.05)
    taps = block.attention.q_conv.weight
    assert taps[..., -1].mean().item() == pytest.approx(1, abs=0.02)
    assert taps[..., :-1].abs().max() < 0.1


def test_state_dict_keys_are_the_names_of_the_genome():
    model = load(emit(load_program(GENOMES["hybrid"]))).Model()
    keys = set(model.state_dict())
    assert {"embed.weight", "layers.2.mix.forget.bias", "layers.0.mix.value_conv.weight", "layer.mix.q.weight"} <= keys


# ---- it stands alone --------------------------------------------------------------------------------------------


def run(folder, *arguments):
    """Run the file in a process that cannot import this project."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    blocker = (
        "import runpy, sys; sys.modules['foundry'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", blocker, "model.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["hybrid"])
def test_the_file_alone_trains_and_generates(name, tmp_path):
    (tmp_path / "model.py").write_text(emit(load_program(GENOMES[name])))
    (tmp_path / "text.txt").write_bytes(b"the quick brown fox jumps over the lazy dog\n" * 100)
    trained = run(tmp_path, "train", "--steps", "12", "text.txt")
    assert trained.returncode == 0, trained.stderr
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", trained.stdout)]
    assert losses[0] == pytest.approx(5.545, abs=0.3)  # log 256
    assert losses[-1] < losses[0] - 0.5
    generated = run(tmp_path, "generate", "model.pt", "the quick")
    assert generated.returncode == 0, generated.stderr
    assert generated.stdout.startswith("the quick")
    assert len(generated.stdout) > 100


# ---- nothing becomes code ---------------------------------------------------------------------------------------


def test_comments_cannot_leave_their_line():
    for text in ("a\nimport os", "a\rimport os", "a\x0cimport os", "a\u2028import os", "a\x00b", "\u202eabc", "a\x85b"):
        assert comment(text).isprintable()
    assert '"' not in docstring('""" + evil() + """')
    assert "\\" not in docstring("\\")
    poisoned = '@foundry(1);\n# """\\\nmodel = embed(vocab = 256, width = 8) >> unembed(tied = 1);'
    text = emit(load_program(poisoned), title='"""\nimport os\n"""\\')
    assert "os" not in {a.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import) for a in n.names}
    load(text).Model()


def test_names_are_identifiers_that_mean_nothing_else():
    assert identifier("a;b(c)") == "a_b_c_"
    assert identifier("__class__") == "class__"
    assert identifier("é") == "value"
    assert class_name("sliding_window") == "SlidingWindow"
    names = Names({"taken"})
    assert [names.claim(word) for word in ("lambda", "taken", "taken", "forward", "x", "x")] == [
        "lambda_", "taken_2", "taken_3", "forward_", "x", "x_2",
    ]  # fmt: skip
    module = torch.nn.Module()  # other libraries may have added attributes of their own to the class
    ours = [n for n in dir(module) if (getattr(getattr(module, n), "__module__", None) or "torch").startswith("torch")]
    assert {name for name in ours if not name.startswith("_")} <= MODULE_ATTRIBUTES


def test_numbers_are_literals():
    for value in (0, -3, 0.1, 1e-6, 1e300, 2.5e17, 1 << 52, True):
        assert ast.literal_eval(number(value)) == value
    assert number(1e-6) == "1e-6"


# ---- loading and speed ------------------------------------------------------------------------------------------


def test_the_loaded_module_is_the_printed_text():
    text = emit(load_program(GENOMES["llama"]))
    assert text == emit(load_program(GENOMES["llama"]))
    module = load(text)
    assert inspect.getsource(module.Layer).rstrip() == part(text, "Layer")
    with pytest.raises(IndexError):
        module.Model()(torch.full((1, 4), 300))


def test_twelve_layers_are_emitted_loaded_and_built_in_a_tenth_of_a_second():
    program = load_program(GENOMES["llama"].replace("4 * layer", "12 * layer"))
    emit(program)

    def once():
        start = time.process_time()
        load(emit(program)).Model().initialise(0)
        return time.process_time() - start

    assert min(once() for _ in range(3)) < 0.1


def test_a_curriculum_over_difficulty_is_in_the_files_own_training():
    layer = "layer(x) = x + mlp(x);"
    text = source(layer, recipe="recipe = train(difficulty = fn(t) => min(0.3 + t, 1));")
    assert "easiest_first(torch.frombuffer(" in text and "min(difficulty(t), 1)" in text
    assert "easiest_first" not in source(layer)
