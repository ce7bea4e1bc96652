"""The emitted file computes what the program means: compared with a direct interpreter of the program.

The interpreter is as plain as can be: every value has all five axes (batch, head, token, key, channel), attention
is written out, nothing is recognised or fused.
"""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.dsl.program import Node

torch.set_num_threads(1)

FUNCTIONS = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b, "power": lambda a, b: a**b, "negate": lambda x: -x,
    "remainder": torch.remainder, "minimum": torch.minimum, "maximum": torch.maximum,
    "less": lambda a, b: (a < b).double(), "less_equal": lambda a, b: (a <= b).double(),
    "greater": lambda a, b: (a > b).double(), "greater_equal": lambda a, b: (a >= b).double(),
    "equal": lambda a, b: (a == b).double(), "unequal": lambda a, b: (a != b).double(),
    "both": lambda a, b: ((a != 0) & (b != 0)).double(), "either": lambda a, b: ((a != 0) | (b != 0)).double(),
    "invert": lambda x: (x == 0).double(), "where": lambda c, a, b: torch.where(c != 0, a, b),
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)), "relu": lambda x: x.clamp(min=0),
    "mean": lambda x: x.mean(-1, True), "sum": lambda x: x.sum(-1, True), "largest": lambda x: x.amax(-1, True),
    "smallest": lambda x: x.amin(-1, True), "logsumexp": lambda x: x.logsumexp(-1, True),
}  # fmt: skip


class Interpreter:
    """Runs a unit on tensors (B, H, T, K, C); takes parameters in the order in which the program makes them."""

    def __init__(self, parameters):
        self.parameters = iter(parameters)
        self.known = {}
        self.copy = ()

    def weight(self, node):
        key = (*self.copy, node.instance)
        if key not in self.known:
            self.known[key] = next(self.parameters).double()
        return self.known[key]

    def table(self, node):
        """The weights of an unembed: of its own, or those of the embedding that it is tied to."""
        if not node.attrs["tied"]:
            return self.weight(node)
        return next(value for key, value in self.known.items() if key[-1] == node.instance)

    def run(self, unit, inputs):
        values = dict(zip(unit.inputs, inputs, strict=True))
        for node in unit.nodes:
            args = [values[i] if isinstance(i, Node) else torch.tensor(float(i)).double() for i in node.inputs]
            values[node] = self.node(node, args)
        return values[unit.result]

    def node(self, node, args):
        x, attrs = (args[0] if args else None), node.attrs
        match node.op:
            case "number":
                return torch.tensor(float(attrs["value"])).double()
            case "call":
                return self.inside(node.unit, args, ("call", node.instance))
            case "repeat":
                for n in range(attrs["times"]):
                    x = self.inside(node.unit, [x, *args[1:]], ("repeat", node.instance, 0 if attrs["shared"] else n))
                return x
            case "embed":
                return F.embedding(x[..., 0].long(), self.weight(node))
            case "unembed":
                return x @ self.table(node).T
            case "linear":
                out = x @ self.weight(node).T
                if attrs["bias"]:
                    self.copy += ("bias",)
                    out = out + self.weight(node)
                    self.copy = self.copy[:-1]
                return out
            case "param":
                weight = self.weight(node)
                return weight.view(1, weight.size(0), 1, 1, weight.size(2)) if weight.dim() == 3 else weight
            case "position":
                return torch.arange(x.size(2)).double().view(1, 1, -1, 1, 1)
            case "channel_index":
                return torch.arange(attrs["count"]).double()
            case "shift":
                return torch.stack([self.back(x, t, attrs["by"]) for t in range(x.size(2))], 2)
            case "conv":
                taps = self.weight(node).view(1, node.type.heads or 1, node.type.width, attrs["kernel"])
                rows = []
                for t in range(x.size(2)):
                    terms = [taps[..., None, :, -1 - n] * self.back(x, t, n) for n in range(attrs["kernel"])]
                    rows.append(sum(terms))
                return torch.stack(rows, 2)
            case "scan":
                a, b = torch.broadcast_tensors(*args)
                h, rows = torch.zeros_like(b[:, :, 0]), []
                for t in range(b.size(2)):
                    h = a[:, :, t] * h + b[:, :, t]
                    rows.append(h)
                return torch.stack(rows, 2)
            case "split_heads":
                return torch.cat(x.split(x.size(-1) // attrs["heads"], -1), 1)
            case "merge_heads":
                return torch.cat(x.split(1, 1), -1)
            case "concat":
                return torch.cat(args, -1)
            case "slice":
                return x[..., attrs["start"] : attrs["stop"]]
            case "rotate":
                a, b = x.chunk(2, -1)
                cos, sin = args[1].cos(), args[1].sin()
                return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
            case "cross_entropy":
                return -x.log_softmax(-1).gather(-1, args[1].long())
            case "attend":
                return self.attend(node, *args)
        return FUNCTIONS.get(node.op, getattr(torch, node.op, None))(*args)

    def inside(self, unit, args, key):
        outer, self.copy = self.copy, (*self.copy, key)
        try:
            return self.run(unit, args)
        finally:
            self.copy = outer

    @staticmethod
    def back(x, t, by):
        return x[:, :, t - by] if t >= by else torch.zeros_like(x[:, :, 0])

    def attend(self, node, q, k, v):
        k, v = (x.repeat_interleave(q.size(1) // x.size(1), 1) for x in (k, v))
        scale = node.attrs["scale"]
        scale = q.size(-1) ** -0.5 if scale is None else scale
        s = torch.einsum("bhtxc,bhkxc->bhtk", q, k)[..., None] * scale
        tokens, keys = s.size(2), s.size(3)
        i = torch.arange(tokens).double().view(1, 1, -1, 1, 1)
        j = torch.arange(keys).double().view(1, 1, 1, -1, 1)
        slots = {"s": s, "h": torch.arange(s.size(1)).double().view(1, -1, 1, 1, 1), "i": i, "j": torch.minimum(i, j)}
        visible = (j <= i).expand(s.shape)
        if node.attrs["mask"] is not None:
            unit = node.attrs["mask"]
            visible = visible & (self.run(unit, [slots[n.attrs["name"]] for n in unit.inputs]) != 0)
        if node.attrs["score"] is not None:
            unit = node.attrs["score"]
            s = self.run(unit, [slots[n.attrs["name"]] for n in unit.inputs]).expand(s.shape)
        weights = torch.where(visible, s, -math.inf).softmax(3).nan_to_num(0)
        return torch.einsum("bhtkx,bhkyc->bhtyc", weights, v)


HEADER = "@foundry(1);\n"
MODEL = "model = embed(vocab = 61, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);\n"
LAYERS = {
    "booleans": "layer(x) = { up = x > 0; down = !up; x + (up & (x < 1)) - 0.5 * (down | (x == 1)) - (up + down) };",
    "whole numbers": "layer(x) = { p = position(x); x + 0.1 * (remainder(p, 3) == 1) + 2 ** -p - max(p, 2) * 0.01 };",
    "choices": "layer(x) = x + where(x > 0, 1, 0) * where(position(x) < 4, x, 0.5) + min(x, 0.3) + max(x, x ** 2);",
    "functions": """
layer(x) = x + sin(x) * cos(x) + floor(3 * x) * 0.1 + erf(abs(x)) + softplus(x) + tanh(exp(-x * x));
""",
    "powers": "layer(x) = x + (-x) ** 2 - x ** 2 - -x + 2 ** -x ** 2 + (x - (x - 1)) / (x * x / (1 + x * x) + 1);",
    "reductions": "layer(x) = x - mean(x) + 0.1 * (max(x) - min(x)) + logsumexp(x) * 0.01 + rsqrt(sum(x * x) + 1);",
    "norms": """
layer(x) = unitnorm(layernorm(x)) + rmsnorm(x, eps = 1e-3) + swish(x) + gelu(x) + gelu_tanh(x) + relu2(x);
""",
    "own norm": """
l1(x) = { g = param(1, per = channel); g * x / (mean(abs(x)) + 1e-6) };
layer(x) = x + mlp(l1(x));
""",
    "one plus weight": """
norm(x) = { w = param(0, per = channel); (1 + w) * x * rsqrt(mean(x ** 2) + 1e-5) };
layer(x) = x + norm(x);
""",
    "norm in heads": "layer(x) = x + attention(x, heads = 4, norm = rmsnorm, pos = rope);",
    "values per head": """
layer(x) = { y = split_heads(x, 4); y2 = heads(y); x + merge_heads(y2) };
heads(y) = {
  g = param(0.3, per = [head, channel]);
  b = param(0.1, per = head);
  y * sigmoid(g) + b * position(y)
};
""",
    "slices": """
layer(x) = concat(slice(x, 0, 8) * 2, slice(x, 8, 32)) + 0.1 * concat(slice(x, 30, 32), slice(x, 0, 30));
""",
    "partial rotary": """
part(x) = concat(rope(slice(x, 0, 4)), slice(x, 4, 8));
layer(x) = x + attention(x, heads = 4, pos = part);
""",
    "data dependent angle": """
turn(x) = rotate(x, mean(x) * 3);
layer(x) = x + attention(x, heads = 4, pos = turn);
""",
    "alibi and window": """
layer(x) = x + attention(x, heads = 4, kv_heads = 2, score = alibi, mask = window(size = 6));
""",
    "soft cap": "layer(x) = x + attention(x, heads = 4, score = softcap(cap = 2), mask = dilated);",
    "log distance": "layer(x) = x + attention(x, heads = 4, score = log_distance, mask = fn(i, j) => i - j != 1);",
    "odd score": """
layer(x) = x + attention(x, heads = 4, score = fn(s, h, i, j) => where(h < 2, s, s * s) / (1 + i - j));
""",
    "nothing seen": "layer(x) = x + attention(x, heads = 4, mask = fn(i, j) => j < i);",
    "several sizes": """
layer(x) = { a = mlp(x, hidden = 24); b = mlp(x, hidden = 40); x + a * b + mlp(x, hidden = 24, act = silu) };
""",
    "constants in loops": """
rot(x, theta) = attention(x, heads = 4, pos = rope(theta = theta));
layer(x) = { x = x + rot(x, theta = 10); x + rot(x, theta = 1e4) };
""",
    "captured": "layer(x) = { keep = rmsnorm(x); y = x >> 3 * (fn(z) => z + linear(keep * z, 32)); y + keep };",
    "start kept": "layer(x) = { y = x >> 2 * (fn(x) => x * 0.5 + linear(x, 32)); x + y };",
    "shared": "layer(x) = { f = share(mlp(hidden = 40)); g = mlp(hidden = 40); x + f(x) + f(f(x)) + g(x) };",
    "loop": """
block(x) = x + mlp(x, hidden = 16);
layer(x) = x >> share(3 * block) >> 2 * block;
""",
    "hybrid": "layer(x) = x + recurrence(token_shift(x)) + gated_conv(x, kernel = 5);",
    "scan decays": """
layer(x) = {
  a = sigmoid(param(1, per = channel));
  x + scan(a, x) - scan(0.5, x) + scan(sigmoid(position(x)), x)
};
""",
    "python words": """
print(x) = { nn = x * 2; math = nn + 1; self = math * 0.5; F = self - 1; torch = F; past = torch + x; past };
layer(x) = {
  forward = mlp(x, hidden = 8);
  parameters = linear(forward, 32);
  train = parameters + forward;
  print(train)
};
""",
    "functions as names": """
split(x) = x * 2;
layer(x) = { split = split(x); attend = linear(split, 32); attend + x };
""",
}
GENOMES = {name: HEADER + layer + "\n" + MODEL for name, layer in LAYERS.items()}
GENOMES["untied"] = (
    HEADER + "model = embed(vocab = 61, width = 16) >> linear(out = 24, bias = 1) >> unembed(vocab = 61);"
)
GENOMES["embedding used twice"] = """@foundry(1);
model(tokens) = {
  e = embed(tokens, vocab = 61, width = 32);
  p = embed(position(tokens), vocab = 40, width = 32);
  h = e + p >> 2 * (fn(x) => x + e + mlp(x));
  unembed(h + linear(p + e, 32), tied = 1)
};
"""
GENOMES["many numbers"] = """@foundry(1);
capped(x, cap) = attention(x, heads = 2, score = fn(s) => cap * tanh(s / cap));
layer(x, hidden, cap) = x + mlp(x, hidden = hidden) + capped(x, cap = cap);
model = embed(vocab = 61, width = 32) >> layer(hidden = 8, cap = 3) >> layer(hidden = 12, cap = 5)
  >> linear(out = 24) >> layer(hidden = 8, cap = 5) >> unembed(vocab = 61);
"""
GENOMES |= {p.stem: p.read_text() for p in sorted(Path(__file__).parents[2].joinpath("genomes").glob("*.genome"))}


def construct(module, monkeypatch):
    """A model, and its parameters in the order in which they were made."""
    made = []
    register = torch.nn.Module.register_parameter

    def record(self, name, param):
        register(self, name, param)
        made.extend([] if param is None else [param])

    monkeypatch.setattr(torch.nn.Module, "register_parameter", record)
    model = module.Model()
    assert {id(p) for p in made} == {id(p) for p in model.parameters()}
    return model.double(), made


@pytest.mark.parametrize("name", GENOMES)
def test_the_file_computes_what_the_program_means(name, monkeypatch):
    program = load_program(GENOMES[name])
    module = load(emit(program))
    model, made = construct(module, monkeypatch)
    model.initialise(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    tokens = torch.randint(module.VOCAB, (2, 11), generator=generator)
    y = torch.randint(module.VOCAB, (2, 11), generator=generator)

    def five(x):  # tokens (B, T) with all axes
        return x.double()[:, None, :, None, None]

    with torch.no_grad():
        logits = model(tokens)
        interpreter = Interpreter(made)
        expected = interpreter.run(program.model, [five(tokens)])
        torch.testing.assert_close(logits, expected[:, 0, :, 0], rtol=1e-4, atol=1e-4)
        assert next(interpreter.parameters, None) is None  # every parameter has its place
        loss = module.loss(logits, y)
        assert loss.shape == (2, 11, 1)
        values = {"logits": expected, "y": five(y)}
        unit = program.recipe.loss
        expected = interpreter.run(unit, [values[i.attrs["name"]] for i in unit.inputs])
        torch.testing.assert_close(loss, expected[:, 0, :, 0], rtol=1e-4, atol=1e-4)
    for t in (0.0, 0.01, 0.3, 1.0):
        for unit, function in ((program.recipe.schedule, module.schedule), (program.recipe.context, module.context)):
            expected = Interpreter([]).run(unit, [torch.tensor(t).double()] * len(unit.inputs))
            assert function(t) == pytest.approx(expected.item())
