"""Known mechanisms are told by what a program computes: by the prelude's name or spelled out, and never by a name."""

import pytest

from foundry.dsl.check import load_program
from foundry.dsl.source import shipped_genomes
from foundry.search.traits import TRAITS, traits

MODEL = """@foundry(1);
{definitions}
layer(x) = {{
  x = x + mix(norm(x));
  x + channels(norm(x))
}};
model{parameters} = {start} >> 2 * layer >> unembed{unembed};
recipe = train(optimizer = {optimizer});
"""
PLAIN = {
    "norm": "norm(x) = x;",
    "mix": "mix(x) = attention(x, heads = 4);",
    "channels": "channels(x) = linear(tanh(linear(x, 24)), width(x));",
}


def genome(more="", start="embed(vocab = 11, width = 16)", unembed="()", optimizer="adamw()", parameters="", **parts):
    definitions = more + "\n" + "\n".join((PLAIN | parts).values())
    unembed = unembed if unembed != "()" else "(tied = 0)"
    return MODEL.format(
        definitions=definitions, start=start, unembed=unembed, optimizer=optimizer, parameters=parameters
    )


def found(text):
    return set(traits(load_program(text)))


def attending(q="q", k="k", more="", given=""):
    """Attention spelled out, with something done to queries and keys."""
    return f"""mix(x) = {{
      q = split_heads(linear(x, 16), 4);
      k = split_heads(linear(x, 16), 4);
      v = split_heads(linear(x, 16), 4);
      {more}
      linear(merge_heads(attend({q}, {k}, v{given})), width(x))
    }};"""


ANGLE = "position(x) * 100 ** (-channel_index(x, 2) / 2)"
TURN = f"turn(x) = rotate(x, {ANGLE});"
BY_HAND = f"""turn(x) = {{
  angle = {ANGLE};
  a = slice(x, 0, 2);
  b = slice(x, 2, 4);
  concat(a * cos(angle) - b * sin(angle), b * cos(angle) + a * sin(angle))
}};"""
NORMED = "x * rsqrt(mean(x * x) + 1e-5)"

HAVE = {
    "rotary positions": [
        genome(mix="mix(x) = attention(x, heads = 4, pos = rope);"),
        genome(TURN, mix=attending("turn(q)", "turn(k)")),
        genome(BY_HAND, mix=attending("turn(q)", "turn(k)")),
        genome(mix="mix(x) = attention(x, heads = 2, pos = partial_rope(rotary = 4));"),
    ],
    "relative positions": [
        genome(mix="mix(x) = attention(x, heads = 4, score = alibi);"),
        genome(mix=attending(given=", score = fn(s, i, j) => s - 0.1 * log(1 + i - j)")),
        genome(mix=attending(given=", score = fn(s, i, j) => s + lookup(i - j, size = 8, per = head)")),
        genome(mix=attending(given=", score = fn(s, j) => s + 0.1 * j")),  # a softmax sees j - i
        genome(mix=attending(given=", score = fn(s, i, j) => 20 * tanh((s + 0.1 * (j - i)) / 20)")),
    ],
    "learned positions": [
        genome(
            parameters="(tokens)",
            start="embed(tokens, vocab = 11, width = 16) + embed(position(tokens), vocab = 32, width = 16)",
        )
    ],
    "waves": [genome(start="embed(vocab = 11, width = 16) >> sinusoidal")],
    "squared ReLU": [
        genome(channels="channels(x) = mlp(x, act = relu2);"),
        genome(channels="channels(x) = linear(relu(linear(x, 24)) ** 2, width(x));"),
        genome(channels="channels(x) = { h = linear(x, 24); linear(max(h, 0) * h, width(x)) };"),
        genome(channels="channels(x) = { h = linear(x, 24); linear(0.3 * (h + abs(h)) ** 2, width(x)) };"),
        genome(channels="channels(x) = { h = linear(x, 24); linear(where(h > 0, h * h, 0), width(x)) };"),
    ],
    "gated activation": [
        genome(channels="channels(x) = glu(x, act = relu);"),
        genome(channels="channels(x) = linear(sigmoid(linear(x, 24)) * linear(x, 24), width(x));"),
        genome(
            channels="""channels(x) = {
              both = linear(x, 48);
              linear(tanh(slice(both, 0, 24)) * slice(both, 24, 48), width(x))
            };"""
        ),
    ],
    "short convolution": [
        genome(mix="mix(x) = attention(x, heads = 4, short = conv(kernel = 3));"),
        genome(channels="channels(x) = linear(conv(linear(x, 24)), width(x));"),
        genome(
            more="taps(x) = { a = param(1, per = channel); a * x + 0.3 * shift(x) + 0.1 * shift(x, by = 2) };",
            norm="norm(x) = taps(x);",
        ),
    ],
    "token shift": [genome(norm="norm(x) = token_shift(x);"), genome(norm="norm(x) = x - 0.5 * shift(x);")],
    "QK-norm": [
        genome(mix="mix(x) = attention(x, heads = 4, norm = rmsnorm);"),
        genome(more=f"n(x) = {NORMED};", mix=attending("n(q)", "n(k)")),
        genome(mix=attending("q / max(abs(q))", "k / max(abs(k))")),
        genome(more=TURN, mix=attending("turn(l2norm(q))", "l2norm(turn(k))")),
    ],
    "RMS norm": [genome(norm="norm(x) = rmsnorm(x);"), genome(norm=f"norm(x) = {NORMED};")],
    "layer norm": [
        genome(norm="norm(x) = layernorm(x);"),
        genome(norm="norm(x) = { c = x - mean(x); c / sqrt(mean(c ** 2) + 1e-5) };"),
    ],
    "grouped queries": [
        genome(mix="mix(x) = attention(x, heads = 4, kv_heads = 2);"),
        genome(
            mix="""mix(x) = {
              kv = split_heads(linear(x, 4), 1);
              linear(merge_heads(attend(split_heads(linear(x, 16), 4), kv, kv)), 16)
            };"""
        ),
    ],
    "latent keys": [
        genome(mix="mix(x) = mla(x, heads = 2, rank = 8);"),
        genome(
            mix="""mix(x) = {
              few = linear(x, 6);
              k = split_heads(linear(few, 16), 4);
              linear(merge_heads(attend(split_heads(linear(x, 16), 4), k, split_heads(linear(few, 16), 4))), 16)
            };"""
        ),
    ],
    "window": [
        genome(mix="mix(x) = attention(x, heads = 4, mask = window(size = 8));"),
        genome(mix=attending(given=", mask = fn(i, j) => j > i - 4")),
    ],
    "local and global": [
        genome(
            more="near(x) = attention(x, heads = 4, mask = window(size = 8));",
            mix="mix(x) = near(x) + attention(x, heads = 4);",
        )
    ],
    "sparse mask": [genome(mix="mix(x) = attention(x, heads = 4, mask = dilated);")],
    "sink": [genome(mix=attending(given=", sink = 0"))],
    "top logits": [genome(mix=attending(given=", top = 4"))],
    "recurrence": [
        genome(mix="mix(x) = recurrence(x);"),
        genome(mix="mix(x) = linear(scan(0.9, linear(x, 16)), 16);"),
    ],
    "linear attention": [genome(mix="mix(x) = retention(x, heads = 2);")],
    "delta rule": [genome(mix="mix(x) = delta_attention(x, heads = 2);")],
    "experts": [genome(channels="channels(x) = moe(x, count = 4);")],
    "shared layers": [genome().replace("2 * layer", "share(2 * layer)")],
    "tied output": [genome(unembed="(tied = 1)")],
    "Muon": [genome(optimizer="muon()")],
    "Lion": [genome(optimizer="lion(lr = 1e-3)")],
}

# By trait: what comes near it and is not.
LACK = {
    "rotary positions": [
        genome(TURN, mix=attending("turn(q)", "k")),  # turned keys are what makes it relative
        genome(mix="rope(x) = x;\nmix(x) = attention(x, heads = 4, pos = rope);"),  # a name alone
        genome(more="turn(x) = rotate(x, 0.3 * channel_index(x, 2));", mix=attending("turn(q)", "turn(k)")),
        genome(start="embed(vocab = 11, width = 16) >> sinusoidal"),
    ],
    "relative positions": [
        genome(mix="alibi(s) = 2 * s;\nmix(x) = attention(x, heads = 4, score = alibi);"),
        genome(mix=attending(given=", score = fn(s, i) => s * (1 + 0.1 * log(1 + i))")),
        genome(mix=attending(given=", score = fn(s, j) => s + lookup(j, size = 8)")),
        genome(mix=attending(given=", score = softcap")),
    ],
    "squared ReLU": [
        genome(channels="relu2(x) = relu(x);\nchannels(x) = mlp(x, act = relu2);"),
        genome(channels="channels(x) = mlp(x, act = fn(x) => x ** 2);"),
        genome(channels="channels(x) = mlp(x, act = fn(x) => relu(x) ** 3);"),
        genome(channels="channels(x) = mlp(x, act = silu);"),
    ],
    "gated activation": [
        genome(channels="channels(x) = mlp(x, act = silu);"),  # x * sigmoid(x) is one map
        genome(channels="channels(x) = glu(x, act = identity);"),  # no nonlinearity
        genome(mix="mix(x) = gated_conv(x, act = silu);"),  # one side looks back
        genome(mix="mix(x) = { f = sigmoid(linear(x, 16)); linear(scan(f, (1 - f) * linear(x, 16)), 16) };"),
    ],
    "short convolution": [genome(norm="norm(x) = token_shift(x);"), genome(mix="mix(x) = conv(x, kernel = 64);")],
    "QK-norm": [
        genome(norm="norm(x) = rmsnorm(x);"),  # before the linear maps
        genome(more=f"n(x) = {NORMED};", mix=attending("n(q)", "k")),
        genome(mix=attending("q * tanh(mean(k))", "k * tanh(mean(q))")),  # another's statistic
    ],
    "RMS norm": [genome(norm="norm(x) = layernorm(x);"), genome(norm="norm(x) = x / (1 + mean(abs(x)));")],
    "layer norm": [genome(norm="norm(x) = rmsnorm(x);")],
    "latent keys": [genome(mix="mix(x) = attention(x, heads = 4);"), genome(norm="norm(x) = linear(x, 16);")],
    "window": [genome(mix="mix(x) = attention(x, heads = 4, mask = everything);")],
    "local and global": [genome(mix="mix(x) = attention(x, heads = 4, mask = window(size = 8));")],
    "recurrence": [genome(mix="mix(x) = linear(scan(1, x) / (1 + position(x)), 16);")],
    "waves": [genome(mix="mix(x) = attention(x, heads = 4, pos = rope);")],
}


@pytest.mark.parametrize("name", HAVE)
def test_a_mechanism_is_found_however_it_is_written(name):
    for text in HAVE[name]:
        assert name in found(text), text


@pytest.mark.parametrize("name", LACK)
def test_what_comes_near_a_mechanism_is_not_taken_for_it(name):
    for text in LACK[name]:
        assert name not in found(text), text


def test_a_genome_that_has_none_has_none():
    assert found(genome()) == set()


def test_every_trait_is_tried_and_has_a_source_of_its_own_name():
    assert {trait.name for trait in TRAITS} == set(HAVE)
    assert all(trait.source for trait in TRAITS)


SHIPPED = {
    "gpt2": {"learned positions", "layer norm", "tied output"},
    "llama": {"rotary positions", "gated activation", "RMS norm", "grouped queries", "tied output"},
    "primer": {"rotary positions", "squared ReLU", "short convolution", "RMS norm", "tied output"},
    "hybrid": {
        "rotary positions", "gated activation", "short convolution", "RMS norm", "grouped queries", "window",
        "recurrence", "tied output",
    },
    "families/olmo2_1b": {"rotary positions", "gated activation", "QK-norm", "RMS norm"},
    "families/qwen3_0_6b": {
        "rotary positions", "gated activation", "QK-norm", "RMS norm", "grouped queries", "tied output",
    },
    "attention/qk_norm_head": {"rotary positions", "gated activation", "QK-norm", "RMS norm", "tied output"},
    "positions/t5_relative": {"relative positions", "gated activation", "RMS norm", "tied output"},
    "positions/none": {"gated activation", "RMS norm", "tied output"},
    "norms/none": {"rotary positions", "gated activation", "tied output"},
}  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_genomes_have_the_traits_that_their_papers_say(name):
    assert found(shipped_genomes()[name].read_text()) == SHIPPED[name]


def test_every_shipped_genome_can_be_asked():
    for name, path in shipped_genomes().items():
        assert found(path.read_text()), name
