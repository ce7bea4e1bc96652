"""Exported models give the logits of the checkpoint in onnxruntime, in torch.export's graph, and as code with torch
alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.compiler.mechanisms import attend, conv, delta_attend, experts, linear_attend, scan, shift
from foundry.data.tokenizer import BYTES
from foundry.dsl.check import load_program
from foundry.train.checkpoint import read_checkpoint, weights, write_model
from foundry.train.tensors import read_tensors
from foundry.zoo import exported, exported_forms
from foundry.zoo.exported import to_onnx, to_py, to_torch_export
from foundry.zoo.failure import ZooError

GENOMES = Path(__file__).parents[2] / "genomes"
EXPORTED = ("gpt2", "llama", "hybrid", "attention/mla")
SHAPES = ((1, 1), (1, 2), (3, 7), (2, 33), (1, 100))
TOLERANCE = 1e-4


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def checkpoint_of(text, folder, dtype=torch.float32):
    """A checkpoint with weights at random, large enough that every part of the model matters."""
    torch.manual_seed(0)
    model = load(emit(load_program(text, "g.genome"))).Model()
    model.initialise(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    tensors = {name: x.detach().to(dtype) for name, x in weights(model).items()}
    write_model(folder, text=text, weights=tensors, tokenizer=BYTES, config={})
    return read_checkpoint(folder)


@pytest.fixture(scope="module", params=EXPORTED)
def checkpoint(request, tmp_path_factory):
    text = (GENOMES / f"{request.param}.genome").read_text()
    return checkpoint_of(text, tmp_path_factory.mktemp("checkpoint") / "c")


@torch.no_grad()
def compare(checkpoint, run):
    model = checkpoint.build()
    for batch, length in SHAPES:
        tokens = torch.randint(256, (batch, length), generator=torch.Generator().manual_seed(length))
        expected = model(tokens)
        assert length == 1 or expected.std() > 0.3  # a comparison of zeros would show nothing
        assert (run(tokens) - expected).abs().max() <= TOLERANCE, (batch, length)


def test_onnx(checkpoint, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = to_onnx(checkpoint, tmp_path / "out")
    assert capsys.readouterr() == ("", "")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape, taken.type) == ("tokens", ["batch", "length"], "tensor(int64)")
    assert (given.name, given.shape[2]) == ("logits", 256)
    compare(checkpoint, lambda tokens: torch.from_numpy(session.run(None, {"tokens": tokens.numpy()})[0]))


def test_torch_export(checkpoint, tmp_path):
    path = to_torch_export(checkpoint, tmp_path / "out")
    program = torch.export.load(path)
    assert set(program.state_dict) == set(read_tensors(checkpoint.folder / "model.safetensors"))
    compare(checkpoint, program.module())


def run_python(folder, *arguments, **environment):
    """Python in a folder, where of all packages torch alone is to be had."""
    before = "import sys\nfor name in ('foundry', 'safetensors', 'transformers'): sys.modules[name] = None\n"
    code = before + "import runpy\nsys.argv = sys.argv[1:]\nsys.path.insert(0, '.')\nrunpy.run_path(sys.argv[0], "
    command = [sys.executable, "-c", code + "run_name='__main__')", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOGITS = "import json, torch\nfrom load import read\nprint(json.dumps(read()(torch.arange(20)[None] * 3).tolist()))\n"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_py_needs_torch_alone(tmp_path, dtype):
    checkpoint = checkpoint_of((GENOMES / "llama.genome").read_text(), tmp_path / "c", dtype)
    path = to_py(checkpoint, tmp_path / "out")
    assert path.name == "load.py"
    (tmp_path / "out" / "logits.py").write_text(LOGITS)
    logits = torch.tensor(json.loads(run_python(tmp_path / "out", "logits.py")))
    model = checkpoint.build()
    with torch.no_grad():
        assert (logits - model(torch.arange(20)[None] * 3)).abs().max() < TOLERANCE
    there, here = (read_tensors(folder / "model.safetensors") for folder in (tmp_path / "out", checkpoint.folder))
    assert there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in here)
    said = [int(number) for number in run_python(tmp_path / "out", "load.py", "72", "101").split()]
    tokens = torch.tensor([[72, 101]])
    assert said == checkpoint.module.generate(model, tokens, 32, temperature=0)[0, 2:].tolist()


def test_readme_is_true(tmp_path):
    """The Python in README.md runs as it stands."""
    checkpoint = checkpoint_of((GENOMES / "gpt2.genome").read_text(), tmp_path / "c")
    for write in (to_py, to_torch_export, to_onnx):
        out = tmp_path / write.__name__
        write(checkpoint, out)
        readme = (out / "README.md").read_text()
        assert "At most 128 tokens" in readme
        (out / "shown.py").write_text(readme.split("```python\n")[1].split("```")[0])
        run_python(out, "shown.py")


def test_tokens_past_the_last_position_are_refused(tmp_path):
    checkpoint = checkpoint_of((GENOMES / "gpt2.genome").read_text(), tmp_path / "c")
    run = exported.graph(checkpoint).module()
    run(torch.zeros(1, 128, dtype=torch.long))
    with pytest.raises((AssertionError, RuntimeError)):
        run(torch.zeros(1, 129, dtype=torch.long))


def test_folders_that_are_refused(tmp_path):
    checkpoint = checkpoint_of((GENOMES / "llama.genome").read_text(), tmp_path / "c")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for place, why in (("c", "this is the checkpoint"), ("file", "a file; name a folder"), ("full", "not empty")):
        for write in (to_py, to_torch_export, to_onnx):
            with pytest.raises(ZooError, match=why):
                write(checkpoint, tmp_path / place)
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    checkpoint = checkpoint_of((GENOMES / "llama.genome").read_text(), tmp_path / "c")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ZooError, match=r"onnxscript.*foundry\[onnx\]"):
        to_onnx(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch):
    checkpoint = checkpoint_of((GENOMES / "llama.genome").read_text(), tmp_path / "c")
    monkeypatch.setitem(exported_forms.FORMS, "attend", lambda q, k, v, **how: q)
    with pytest.raises(ZooError, match=r"other logits on tokens .*--to py"):
        to_torch_export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out" / "model.pt2").exists()


# ---- the forms that a tracer can follow, against the mechanisms that they stand for -----------------------------


def heads(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(params=[1, 2, 5, 40])
def qkv(request):
    torch.manual_seed(request.param)
    tokens = request.param
    return heads(2, 4, tokens, 8), heads(2, 2, tokens, 8), heads(2, 2, tokens, 6)


def near(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_attention_is_the_same(qkv):
    near(exported_forms.attend(*qkv, scale=0.5), attend.attend(*qkv, scale=0.5))
    near(exported_forms.attend_window(*qkv, 3), attend.attend_window(*qkv, 3))


def test_attention_by_rules_is_the_same(qkv):
    def bias(h, i, j):
        return (j - i).double() / (h + 1)

    def mask(h, i, j):
        return (i - j) % 3 == 1  # the first position sees nothing

    def score(s, h, i, j):
        return torch.tanh(s) - (i - j).double().log1p()

    near(exported_forms.attend_bias(*qkv, bias, window=4), attend.attend_bias(*qkv, bias, window=4))
    near(exported_forms.attend_bias(*qkv, window=4), attend.attend_bias(*qkv, window=4))
    near(exported_forms.attend_score(*qkv, score, mask=mask), attend.attend_score(*qkv, score, mask=mask))
    how = {"score": score, "mask": mask, "top": 3, "sink": 0.5}
    near(exported_forms.attend_general(*qkv, **how), attend.attend_general(*qkv, **how))
    seen = [heads(2, 1, qkv[0].size(2), 1)]
    how = {"score": lambda s, h, i, j, here, there: s + here * there, "window": 5, "seen": seen}
    near(exported_forms.attend_general(*qkv, **how), attend.attend_general(*qkv, **how))


def test_linear_attention_is_the_same(qkv):
    tokens = qkv[1].size(2)
    for decay in (0.9, torch.rand(2, 2, tokens, 1).double(), torch.rand(2, 2, tokens, 8).double(), torch.ones(2, 1, 1)):
        near(exported_forms.linear_attend(*qkv, decay), linear_attend.linear_attend(*qkv, decay))


def test_the_delta_rule_is_the_same(qkv):
    q, k, v = qkv
    k = k / k.norm(dim=-1, keepdim=True)
    for beta, decay in ((1.0, 1), (torch.rand(2, 2, k.size(2), 1).double(), torch.rand(2, 2, 1, 1).double())):
        near(exported_forms.delta_attend(q, k, v, beta, decay), delta_attend.delta_attend(q, k, v, beta, decay))


@pytest.mark.parametrize("tokens", [1, 2, 5, 40])
def test_recurrences_and_filters_are_the_same(tokens):
    x, rate = heads(2, tokens, 3), torch.rand(2, tokens, 3).double()
    for a in (0.5, rate, rate[:, :, :1]):
        near(exported_forms.scan(a, x), scan.scan(a, x))
    for by in (1, 4):
        near(exported_forms.shift(x, by), shift.shift(x, by))
    kernel = heads(4, 1, 3)
    padded = torch.nn.functional.pad(x, (0, 0, 3, 0))
    near(exported_forms.taps(padded, kernel), conv.Taps.apply(padded, kernel))


def test_experts_are_the_same():
    x, gates = heads(2, 7, 4), torch.rand(2, 7, 3).double()
    gates = torch.where(gates > 0.6, gates, 0)
    matrices = heads(3, 4, 5)
    functions = [lambda x, m=m: torch.tanh(x @ m) for m in matrices]
    near(exported_forms.experts(x, gates, functions), experts.experts(x, gates, functions))
