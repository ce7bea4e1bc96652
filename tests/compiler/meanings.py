"""Small genomes that use every sort of value at every sort of place: what `test_meaning` compares."""

from pathlib import Path

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

# One for each thing that has gone wrong, or might: every sort of value at every sort of place.
ODD_LAYERS = {
    "powers of whole numbers": """
layer(x) =
  x + 0.1 * (-position(x)) ** 2 + (position(x) + 1) ** -2 + 0.01 * position(x) ** channel_index(x, 32) / 1e30;
""",
    "remainders": """
layer(x) = x
  + remainder(-position(x), 3)
  + remainder(position(x), -4)
  + remainder(x, -0.7)
  + remainder(2.5, x * x + 1);
""",
    "arithmetic on booleans": """
layer(x) = x
  + ((x > 0) + (x < 1)) / 3
  - (x > 0) * (x > 1)
  + -(x > 0)
  + abs(x > 0)
  + floor(x > 0)
  + max(x > 0, x > 1)
  + min(x > 0, 0.5)
  + (x > 0) ** 2
  + 2 ** (x > 0)
  + remainder(x > 0, 2);
""",
    "functions of booleans": """
layer(x) = x
  + exp(x > 0)
  + sigmoid(x > 0)
  + relu(x > 0)
  + softplus(x > 0)
  + mean(x > 0)
  + sum(x > 0)
  + max(x > 0)
  + logsumexp(x > 0)
  + shift(x > 0)
  + stop(x > 0);
""",
    "reductions of whole numbers": """
layer(x) = x
  + mean(channel_index(x, 32))
  + max(channel_index(x, 32)) * 0.1
  + sum(channel_index(x, 32)) / 500
  + logsumexp(channel_index(x, 32));
""",
    "choices between whole numbers": """
layer(x) = x
  + where(position(x) < 3, position(x), 7)
  + where(x > 0, 1, 0)
  + where(x > 0, x > 1, x < -1)
  + where(position(x), 1, 2)
  + where(x, 0.5, x);
""",
    "booleans along the sequence": """
layer(x) = x
  + linear(x > 0, 32)
  + conv(x > 0, 3)
  + scan(x > 0, x < 0)
  + scan(x > 0, x)
  + rope(x > 0)
  + linear(concat(x > 0, x), 32);
""",
    "booleans in attention": """
layer(x) = {
  b = split_heads(x > 0, 4);
  x + merge_heads(attend(b, b, b)) + merge_heads(linear_attend(b, b, b, decay = x3(b)))
};

x3(b) = mean(b) > 0.5;
""",
    "booleans as rates": """
layer(x) = {
  b = l2norm(split_heads(x, 4));
  x + merge_heads(delta_attend(b, b, b, mean(b) > 0, decay = mean(b) < 0.1))
};
""",
    "positions in attention": """
layer(x) = {
  b = split_heads(x * 0 + position(x), 4);
  x + 0.1 * merge_heads(attend(b, b, b, scale = 0.1))
};
""",
    "numbers of heads": """
layer(x) = {
  b = split_heads(x, 4);
  x + merge_heads(b * head_index(b) + 2 ** -head_index(b) + concat(slice(b, 0, 7), mean(b) * head_index(b)))
};
""",
    "one head joined to each": """
layer(x) = {
  b = split_heads(x, 4);
  c = split_heads(linear(x, 4), 1);
  x + linear(merge_heads(concat(b, c)), 32) + linear(merge_heads(concat(c, b)), 32)
};
""",
    "numbers joined to channels": """
layer(x) = x
  + linear(concat(x, table(x, [1, 2.5])), 32)
  + linear(concat(channel_index(x, 3), x), 32)
  + mean(concat(channel_index(x, 3), table(x, [0.5])));
""",
    "tables": """
layer(x) =
  x + sum(table(x, [1, 2, 3])) * 0.1 + table(x, [0.25]) + 0.01 * slice(concat(x, table(x, [1])), 1, 33);
""",
    "learned numbers of each shape": """
layer(x) = {
  b = split_heads(x, 4);
  p = param(0.5, per = head, of = b);
  r = param(2, per = [head, channel], of = b);
  q = param(1, per = channel, of = b);
  s = param(3);
  x + merge_heads(b * p + r * b * q * s * 0.1)
};
""",
    "arithmetic on learned numbers": """
layer(x) = x
  + param(1, per = channel) * param(0.25)
  + max(param(0.3, per = channel))
  + mean(param(1, per = channel) ** 2);
""",
    "kept numbers": "layer(x) = x + param(0.1, per = channel, learn = 0) + param(0.7, learn = 0) * x;",
    "a score of everything": """
layer(x) = x
  + attention(
    x,
    heads = 4,
    score = fn(s, h, i, j) => where(h == 1, s, where(remainder(i, 2) == 0, s * 0.5, s ** 2 / (1 + j)))
      + param(0.5, per = head) * (h + 1)
      + lookup(i - j, size = 5, per = head)
      + lookup(j, size = 3, init = 0.5),
  );
""",
    "a steep biased score": """
layer(x) = x
  + attention(
    x,
    heads = 4,
    kv_heads = 2,
    score = fn(s, h, i, j) => 3 * s - 0.1 * (i - j) * (h + 1) + lookup(i - j, size = 4),
  );
""",
    "biases of whole numbers": """
layer(x) = x
  + attention(x, heads = 4, score = fn(s, i, j) => s - (i - j))
  + attention(x, heads = 4, score = fn(s, h) => s + h)
  + attention(x, heads = 2, score = fn(s, j) => s + (j < 3));
""",
    "scores without the logit": """
layer(x) =
  x + attention(x, heads = 4, score = fn(i, j) => j - i) + attention(x, heads = 4, score = fn(h) => h);
""",
    "scores that scale": """
layer(x) = x
  + attention(x, heads = 4, score = fn(s) => -s)
  + attention(x, heads = 4, score = fn(s) => 2 * s)
  + attention(x, heads = 4, score = fn(s) => s + 1)
  + attention(x, heads = 4, score = fn(s) => s - s)
  + attention(x, heads = 4, score = fn(s) => 0 * s);
""",
    "masks by head": """
layer(x) = x
  + attention(x, heads = 4, mask = fn(h, i, j) => i - j < 2 ** h & j != 3 | i == j)
  + attention(x, heads = 4, mask = fn(i, j) => i - j < 5 & i - j < 3)
  + attention(x, heads = 4, mask = fn(i, j) => i < j + 4)
  + attention(x, heads = 4, mask = fn(i, j) => 2 * i - 2 * j <= 7);
""",
    "masks of one place": """
layer(x) = x
  + attention(x, heads = 4, mask = fn(h) => h > 1)
  + attention(x, heads = 4, mask = fn(i) => i > 4)
  + attention(x, heads = 4, mask = fn(j) => j < 4)
  + attention(x, heads = 4, mask = fn(i, j) => !(i - j < 3))
  + attention(x, heads = 4, mask = fn(i, j) => j > 100);
""",
    "windows with fractions": """
layer(x) = x
  + attention(x, heads = 4, mask = fn(i, j) => i - j < 2.5)
  + attention(x, heads = 4, mask = fn(i, j) => (i - j) / 2 <= 1.5)
  + attention(x, heads = 4, mask = fn(i, j) => i - j < 0.5)
  + attention(x, heads = 4, mask = fn(i, j) => i - j < 0)
  + attention(x, heads = 4, mask = fn(i, j) => i - j < -3);
""",
    "sinks and the largest": """
f(x, n, s) = {
  q = split_heads(linear(x, 32), 4);
  k = split_heads(linear(x, 16), 2);
  v = split_heads(linear(x, 24), 2);
  linear(
    merge_heads(attend(
      q,
      k,
      v,
      sink = s,
      top = n,
      score = fn(s, i, j) => s - 0.1 * (i - j),
      mask = fn(i, j) => remainder(i - j, 3) != 1,
    )),
    32,
  )
};

layer(x) = x + f(x, 3, 0.5) + f(x, 0, -1) + f(x, 1, mean(split_heads(x, 4)));
""",
    "sinks of each shape": """
f(x, s) = {
  q = split_heads(linear(x, 32), 4);
  linear(merge_heads(attend(q, q, q, sink = s(q))), 32)
};

layer(x) = x
  + f(x, fn(q) => param(0.5, per = head, of = q))
  + f(x, fn(q) => head_index(q))
  + f(x, fn(q) => position(q))
  + f(x, fn(q) => mean(q) > 0)
  + f(x, fn(q) => param(2));
""",
    "values per token in a score": """
layer(x) = {
  g = linear(x, 1);
  hs = split_heads(linear(x, 4), 4);
  x
    + attention(
      x,
      heads = 4,
      score = fn(s, i, j) => s + query(g) * key(g) - key(hs) * 0.1 + query(hs),
      mask = fn(i, j) => query(g) + 1 > key(g) - 2,
    )
};
""",
    "values per token in a mask": """
layer(x) = {
  g = linear(x, 1);
  x
    + attention(x, heads = 4, mask = fn(i, j) => query(g) > 0)
    + attention(x, heads = 4, kv_heads = 2, mask = fn(i, j) => key(g) > query(g))
};
""",
    "booleans per token in a mask": """
layer(x) = {
  g = linear(x, 1) > 0;
  p = mean(x);
  x
    + attention(x, heads = 4, mask = fn(i, j) => query(g) == key(g))
    + attention(x, heads = 2, mask = window(size = 4), score = fn(s) => s + query(g) * key(p))
};
""",
    "decays of each shape": """
layer(x) = {
  b = split_heads(x, 4);
  x
    + scan(0.5, x)
    + scan(0, x)
    + scan(1, x * 0.1)
    + scan(sigmoid(mean(x)), x)
    + merge_heads(
      scan(sigmoid(param(1, per = head, of = b)), b)
        + scan(sigmoid(mean(b)), b)
        + scan(1 / (1 + head_index(b)), b),
    )
    + scan(sigmoid(param(1, per = channel)), x)
    + scan(position(x) > 4, x)
};
""",
    "linear attention with decays": """
f(x, d) = {
  q = split_heads(x, 4);
  k = split_heads(linear(x, 16), 2);
  v = split_heads(linear(x, 10), 2);
  linear(merge_heads(linear_attend(q, k, v, decay = d(k))), 32)
};

layer(x) = x
  + 0.1
    * (f(x, fn(k) => sigmoid(k))
      + f(x, fn(k) => sigmoid(mean(k)))
      + f(x, fn(k) => param(0.5, per = head, of = k))
      + f(x, fn(k) => sigmoid(param(0.5, per = [head, channel], of = k)))
      + f(x, fn(k) => 1 / (2 + head_index(k)))
      + f(x, fn(k) => 0.9)
      + f(x, fn(k) => 0)
      + f(x, fn(k) => 1));
""",
    "delta rules with decays": """
f(x, b, d) = {
  q = split_heads(x, 4);
  k = l2norm(split_heads(linear(x, 16), 2));
  v = split_heads(linear(x, 10), 2);
  linear(merge_heads(delta_attend(q, k, v, b(k), decay = d(k))), 32)
};

layer(x) = x
  + 0.1
    * (f(x, fn(k) => sigmoid(mean(k)), fn(k) => 0.9)
      + f(x, fn(k) => 1, fn(k) => 1)
      + f(x, fn(k) => sigmoid(param(0.5, per = head, of = k)), fn(k) => sigmoid(mean(k)))
      + f(x, fn(k) => 0.5, fn(k) => 1 / (2 + head_index(k))));
""",
    "the largest channels": """
layer(x) = x
  + linear(x * top(x, 3), 32)
  + linear(where(top(abs(x), 2), x, 0.5), 32)
  + top(x, 32)
  + top(channel_index(x, 32), 4)
  + linear(merge_heads(top(split_heads(x, 4), 2)), 32)
  + sum(top(x, 5)) * 0.1;
""",
    "indices of what nothing else uses": """
layer(x) = {
  apart = split_heads(linear(x, 8), 4);
  x = x + mean(merge_heads(head_index(apart) * split_heads(x, 4)));
  x + sum(table(relu(x), [0.5, 1])) + channel_index(-x, 32) / 32
};
""",
    "remainders by what may be 0": """
layer(x) = {
  p = position(x);
  x + where(p > 0, remainder(7, p) + remainder(p + 1, p), 0.5) + where(x > 0, remainder(3, x > 0), 0.25)
};
""",
    "a sink beside a score without the logit": """
f(x, s) = {
  q = split_heads(linear(x, 32), 4);
  linear(merge_heads(attend(q, q, q, sink = s(q), score = fn(i, j) => j - i, mask = fn(i, j) => i - j != 2)), 32)
};
layer(x) = x + f(x, mean) + f(x, fn(q) => param(0.5, per = head, of = q)) + f(x, fn(q) => 1);
""",
    "a negated boolean": """
seen(i, j) = where(j > 3, -(i > 5), j == i) | i == j;
layer(x) = x + attention(x, heads = 4, mask = seen) + where(-(x > 0), x, 1);
""",
    "bounds in the wrong order": "layer(x) = x + max(min(x, 1), 2) + min(max(x, 2), 1) + max(min(x, 1), -1);",
    "a bound within a quotient": "layer(x) = x + min(1.1 / max(x, 2), 0.4) + max(1 - min(x, 0.5), 0.6);",
    "choices between a boolean and a number": """
layer(x) = x + where(where(x > 0, x < 1, -1), 0.5, x) + where(x > 0, position(x), 0.5) * 0.1 + where(x > 0, 2, x > -1);
""",
    "penalties that no gradient reaches": """
layer(x) = {
  y = linear(x, 32);
  x + stop(penalty(x, y ** 2)) + where(penalty(x, abs(y)) > 0, 0.1, y) + penalty(where(x > 0, 0.1, 0.2), y ** 4)
};
""",
    "experts with a penalty": """
layer(x) = {
  p = softmax(linear(x, 4));
  c = top(p, 2);
  y = experts(x, p * c, fn(z) => linear(relu(linear(z, 16)), 32));
  penalty(x + y, 0.1 * p, stop(c))
};
""",
    "experts of each kind": """
layer(x) = x
  + experts(x, linear(x, 3), mlp(hidden = 8))
  + experts(x, top(linear(x, 3), 1), glu(hidden = 8))
  + experts(x, relu(linear(x, 3)), fn(z) => rmsnorm(z) + linear(z, 32))
  + linear(experts(x, softmax(linear(x, 2)), linear(8)), 32);
""",
    "penalties of each shape": """
layer(x) = {
  b = split_heads(x, 4);
  w = param(1, per = channel);
  x = penalty(x, w ** 2);
  x = penalty(x, 0.1 * x, 2);
  x = penalty(x, abs(w), x);
  merge_heads(penalty(b, b ** 2, mean(b))) + x + penalty(x, x > 0, sigmoid(x))
};
""",
    "angles of each shape": """
layer(x) = {
  b = split_heads(x, 4);
  x
    + rotate(x, position(x))
    + rotate(x, mean(x), interleaved = 1)
    + merge_heads(
      rotate(b, head_index(b))
        + rotate(b, param(0.5, per = head, of = b))
        + rotate(b, slice(b, 0, 4), interleaved = 1)
        + rotate(b, mean(b) > 0)
        + rotate(b, position(x) * channel_index(b, 4)),
    )
    + rotate(x, param(1))
};
""",
    "shared functions in loops": """
layer(x) = {
  f = share(linear(32));
  g = share(fn(z) => z + mlp(z, hidden = 8));
  x = x >> 2 * (fn(z) => z + 0.1 * f(z) + g(z));
  f(x) + g(x)
};
""",
    "a shared function with a captured value": """
layer(x) = {
  w = mean(x);
  f = share(fn(z) => linear(z * w, 32));
  x = x + f(x);
  x + 0.1 * f(f(x))
};
""",
    "a shared function handed down": """
a(x) = {
  f = share(linear(32));
  b(x, f) + b(b(x, f), f)
};

b(x, f) = x + f(rmsnorm(x));
layer(x) = x + a(x) + a(x);
""",
    "a shared function in a shared loop": """
layer(x) = {
  f = share(mlp(hidden = 8));
  x = x + f(x);
  x >> share(2 * (fn(z) => z + f(z)))
};
""",
    "tables of positions": """
layer(x) = x
  + embed(position(x), vocab = 40, width = 32)
  + embed(remainder(position(x), 3), vocab = 3, width = 32)
  + embed(max(position(x) - 2, 0), vocab = 40, width = 32);
""",
    "one long expression": """
layer(x) = sin(cos(tanh(
  x
    + exp(-abs(x)) * log(1 + x * x)
    - sqrt(abs(x) + 1)
    + rsqrt(1 + x ** 2) * erf(x) / (1 + sigmoid(x) + softplus(x)),
)))
  + min(max(x, -1), 1)
  + max(min(x, 2), -2)
  + min(max(x, x ** 2), 0.5)
  + max(0.1, x)
  + max(1, min(x, 2));
""",
    "negations": "layer(x) = x + !(x > 0) + !x + (!(x > 0) & x < 2) + (x | 0) + (x & 1) + (1 | x > 0) + !!(x > 1);",
    "comparisons": """
layer(x) = x
  + (1 < x)
  + (x == x)
  + (x != 0)
  + ((x > 0) == (x > 1))
  + ((x > 0) < (x > -1))
  + (0.5 >= x)
  + (x <= mean(x))
  + ((x > 0) != 1);
""",
    "signs and brackets": """
layer(x) = x
  + -x ** 2
  + (-x) ** 2
  + (-1.1) ** position(x) * 1e-3
  + 2 ** -x
  + 2 ** x ** 2 * 0.01
  - (x - (1 - x))
  - -x
  - --x
  + x / (x * x + 1) / 2
  + x / (2 / (1 + x * x))
  + x * (0.5 / (x * x + 1))
  + 1
  - (x > 0);
""",
    "activations in place": """
layer(x) = x
  + silu(linear(x, 32))
  + gelu(x + 1)
  + softmax(x * 2)
  + mlp(x, hidden = 8, act = fn(z) => z * sigmoid(z))
  + (fn(z) => 0.5 * z * (1 + erf(z / 1.4142135623730951)))(x);
""",
    "norms that are nearly those of PyTorch": """
n1(x) = x * rsqrt(mean(x ** 2));
n2(x) = 2 * x * rsqrt(mean(x * x) + 0.5);
n3(x) = (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + 1e-5) * param(1, per = channel);
n4(x) = param(1, per = channel) * x / sqrt(mean(x * x) + 1e-6) + param(0, per = channel);
n5(x) = -x * rsqrt(mean(x * x) + 1e-5);
n6(x) = x * rsqrt(sum(x * x) / 32 + 1e-5);
n7(x) = x * rsqrt(mean(x * x) + 1e-5) * (x * rsqrt(mean(x * x) + 1e-5));
layer(x) = x + n1(x) + n2(x) + n3(x) + n4(x) + n5(x) + n6(x) + n7(x);
""",
    "norms of one channel": """
layer(x) = x
  + rmsnorm(linear(x, 1))
  + layernorm(linear(x, 1))
  + merge_heads(rmsnorm(split_heads(x, 32)))
  + softmax(linear(x, 1));
""",
    "norms of several widths": """
layer(x) = x
  + linear(rmsnorm(linear(x, 8)), 32)
  + linear(rmsnorm(linear(x, 12), eps = 0.1), 32)
  + merge_heads(rmsnorm(split_heads(x, 4)))
  + merge_heads(layernorm(split_heads(x, 2)));
""",
    "shifts beyond the start": """
layer(x) = x
  + shift(x, by = 5)
  + shift(x, by = 13)
  + shift(x, by = 100)
  + conv(x, kernel = 1)
  + conv(x, kernel = 20)
  + merge_heads(shift(split_heads(x, 4)) + conv(split_heads(x, 4), kernel = 3));
""",
    "long numbers": "layer(x) = x * 2 ** 0.5 + 3 - 1e-3 + 1e5 / 7e4 + 123456789.0 * 1e-9 + 0.1 * 1e16 / 1e16 + pi;",
}
ODD_GENOMES = {name: HEADER + layer + "\n" + MODEL for name, layer in ODD_LAYERS.items()}
ODD_GENOMES |= {
    "arithmetic on tokens": """
@foundry(1);

model(tokens) = {
  a = where(tokens == 3, 1, 0) * table(tokens, [1, 2]);
  e = embed(tokens, vocab = 61, width = 16);
  c = scan(1, shift(a));
  e = e
    + linear(c, 16)
    + 0.1 * tokens * table(tokens, [1])
    + embed(remainder(tokens, 5), vocab = 5, width = 16);
  e >> unembed(vocab = 61, bias = 1)
};
""",
    "two embeddings": """
@foundry(1);

model(tokens) = {
  e = embed(tokens, vocab = 61, width = 16);
  f = embed(tokens, vocab = 61, width = 16);
  e + f + embed(min(tokens, position(tokens)), vocab = 61, width = 16) >> unembed(tied = 1)
};
""",
    "tied twice": """
@foundry(1);

model(tokens) = {
  e = embed(tokens, vocab = 61, width = 16);
  a = unembed(e, tied = 1);
  unembed(e * 2, tied = 1) + 0.1 * a + unembed(rmsnorm(e), vocab = 61)
};
""",
    "a loss of everything": """
@foundry(1);

model = embed(vocab = 61, width = 16) >> unembed(tied = 1);

recipe = train(
  loss = fn(logits, y, teacher) => cross_entropy(logits, y) * (1 + 0.1 * (y == 3))
    + 0.1 * mean((logits - teacher) ** 2)
    + 0.01 * logsumexp(logits) ** 2
    + 0.1 * (max(logits) > 2)
    + y * 1e-3
    - sum(exp(teacher - logsumexp(teacher)) * logits) * 0.1,
);
""",
    "an empty layer": """
@foundry(1);

layer(x) = x;
model = embed(vocab = 61, width = 16) >> 3 * layer >> linear(16, bias = 1) >> unembed(tied = 1);
""",
    "a loss of whole numbers": """
@foundry(1);

model = embed(vocab = 61, width = 16) >> unembed(tied = 1);
recipe = train(
  loss = fn(logits, y) => cross_entropy(logits, y) + cross_entropy((logits > 0) + (logits > 1), y),
);
""",
}
GENOMES |= ODD_GENOMES
