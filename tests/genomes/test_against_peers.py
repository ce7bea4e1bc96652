"""What the prelude and the genomes say of published mechanisms, against transformers, PyTorch, and formulas by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.mamba.modeling_mamba import MambaConfig, MambaMixer
from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu
from transformers.models.t5.modeling_t5 import T5Attention

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.dsl.source import resource_folder

torch.set_num_threads(1)

HEADS, TOKENS, WIDTH = 4, 21, 64


def module_of(name):
    """The module of a genome of `genomes/`."""
    return load(emit(load_program((resource_folder("genomes") / f"{name}.genome").read_text("utf-8"))))


def part(module, name, seed=0):
    """The first part of the model of a class, with weights well away from their first values."""
    model = module.Model()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator))
    return next(m for m in model.modules() if type(m).__name__ == name)


def sequence(width=WIDTH, seed=1):
    return torch.randn(2, TOKENS, width, generator=torch.Generator().manual_seed(seed))


def cut(x, heads=HEADS):
    """(B, T, H * D) to (B, H, T, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join(x):
    return x.transpose(1, 2).flatten(-2)


def causal_softmax(logits):
    hidden = ~torch.ones(logits.shape[-2:], dtype=torch.bool).tril()
    return torch.softmax(logits.masked_fill(hidden, -torch.inf), -1)


# ---- positions ----------------------------------------------------------------------------------------------------


def peer_speeds(kind, tokens, settings):
    """Radians per position of each of the 8 pairs of a head, as transformers has them for a context of `tokens`."""
    config = LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=256,
        rope_parameters={"rope_type": kind, "rope_theta": 1e4, **settings},
    )
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=tokens)[0]


def positions(module, name="rope"):
    """The cosines and sines that a model gives to its layers; name: of the function that makes them."""
    return getattr(module, name)(torch.zeros(2, TOKENS, dtype=torch.long))


def turned(x, speeds):
    """x (B, H, T, D) with the first half of its channels turned against the second."""
    angle = torch.arange(x.size(2))[:, None] * speeds
    a, b = x.chunk(2, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


@pytest.mark.parametrize(
    "name, kind, tokens, settings",
    [
        ("rope_linear", "linear", 256, {"factor": 4.0}),
        ("rope_ntk", "dynamic", 640, {"factor": 2.0}),  # 2 * 640 / 256 - 1 = 4
        ("rope_yarn", "yarn", 256, {
            "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 1,
        }),
        ("rope_llama3", "llama3", 256, {
            "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }),
        ("rope_long", "longrope", 256, {
            "short_factor": [1.0] * 8, "long_factor": [1.0, 1.05, 1.2, 1.6, 2.2, 3.0, 3.7, 4.0],
            "factor": 4.0, "original_max_position_embeddings": 64,
        }),
    ],
)  # fmt: skip
def test_stretched_rotary_positions_are_those_of_transformers(name, kind, tokens, settings):
    x = cut(sequence())
    module = module_of(f"positions/{name}")
    found = module.rotate(x, positions(module, "rope" if name == "rope_ntk" else name))
    torch.testing.assert_close(found, turned(x, peer_speeds(kind, tokens, settings)))


def test_partial_rotary_positions_leave_the_other_channels():
    x = cut(sequence())
    module = module_of("positions/rope_partial")
    found = module.partial_rope(x, positions(module))
    torch.testing.assert_close(found, torch.cat((turned(x[..., :8], 1e4 ** (-torch.arange(4) / 4)), x[..., 8:]), -1))


def test_neighbouring_pairs_are_complex_numbers_turned_by_the_position():
    x = cut(sequence())
    turns = torch.polar(torch.ones(TOKENS, 8), torch.arange(TOKENS)[:, None] * 1e4 ** (-torch.arange(8) / 8))
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (8, 2)).contiguous()) * turns).flatten(-2)
    module = module_of("positions/rope_interleaved")
    torch.testing.assert_close(module.rotate_pairs(x, positions(module, "rope_pairs")), expected)


def test_t5_buckets_are_those_of_transformers():
    relative = part(module_of("positions/t5_relative"), "Relative")
    i, j = torch.arange(300)[:, None], torch.arange(300)
    j = torch.minimum(i, j)
    buckets = T5Attention._relative_position_bucket(j - i, bidirectional=False, num_buckets=32, max_distance=128)
    (table,) = relative.parameters()
    torch.testing.assert_close(relative(i, j), table[:, buckets])


def test_sandwich_adds_the_product_of_two_sinusoidal_positions_by_head():
    """The formula of Chi et al. 2022, appendix: cos summed over 16 speeds, divided by 8 * (h + 1) / heads."""
    module = module_of("positions/sandwich")
    q, k = cut(sequence()), cut(sequence(seed=2))
    bias = (module.waves(q) @ module.waves(k).mT - q @ k.mT) / math.sqrt(16 + 32)
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    waves = torch.cos(distance[..., None] * 1e4 ** (-torch.arange(16) / 16)).sum(-1)
    expected = waves / (8 * (torch.arange(HEADS)[:, None, None] + 1) / HEADS)
    torch.testing.assert_close(bias, expected.expand(2, -1, -1, -1), atol=1e-4, rtol=1e-4)


def test_sinusoidal_positions_are_sines_and_cosines_of_falling_speeds():
    x = sequence()
    angle = torch.arange(TOKENS)[:, None] / 1e4 ** (torch.arange(0, WIDTH, 2) / WIDTH)
    expected = x + torch.cat((angle.sin(), angle.cos()), -1)
    torch.testing.assert_close(module_of("positions/sinusoidal").sinusoidal(x), expected, atol=1e-5, rtol=1e-5)


# ---- mixers -------------------------------------------------------------------------------------------------------


def test_mamba_is_that_of_transformers():
    ours = part(module_of("attention/mamba"), "Mamba")
    config = MambaConfig(hidden_size=64, intermediate_size=128, state_size=8, time_step_rank=4, use_conv_bias=False)
    peer = MambaMixer(config, 0)
    weights = ours.state_dict()
    (rate,) = (w for key, w in weights.items() if key.endswith("rate"))
    with torch.no_grad():
        peer.in_proj.weight.copy_(torch.cat((weights["value.weight"], weights["gate.weight"])))
        peer.conv1d.weight.copy_(ours.value_conv.weight)
        peer.x_proj.weight.copy_(torch.cat([weights[f"{key}.weight"] for key in ("down", "write", "read")]))
        peer.dt_proj.weight.copy_(weights["time.weight"])
        peer.dt_proj.bias.copy_(weights["time.bias"] - 3)
        peer.A_log.copy_(rate[:, 0] + torch.log(1.0 + torch.arange(8)))
        peer.D.copy_(ours.scaled.weight)
        peer.out_proj.weight.copy_(weights["out.weight"])
    x = sequence()
    torch.testing.assert_close(ours(x), peer(x), atol=1e-4, rtol=1e-4)


def test_rwkv_is_that_of_transformers():
    ours = part(module_of("attention/rwkv"), "TimeMix")
    caught = {}
    for name in ("k", "v", "receptance", "out"):
        getattr(ours, name).register_forward_hook(lambda m, x, y, name=name: caught.update({name: (x[0], y)}))
    ours(sequence())
    found = caught["out"][0] / torch.sigmoid(caught["receptance"][1])
    expected, _ = rwkv_linear_attention_cpu(ours.kept.rate, ours.bonus.more, caught["k"][1], caught["v"][1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def read_by(mixer, *inputs):
    """What a mixer hands to the norm per head, the last thing before its gate: (B, H, T, D)."""
    caught = {}
    norm = next(m for m in mixer.modules() if type(m).__name__.startswith("RMSNorm"))
    norm.register_forward_hook(lambda m, args, y: caught.update(x=args[0]))
    mixer(*inputs)
    return caught["x"]


def test_the_gated_delta_rule_is_that_of_transformers():
    ours, x = part(module_of("attention/gated_delta_net"), "GatedDeltaAttention"), sequence()
    q, k, v = (cut(F.silu(getattr(ours, f"{n}_conv")(getattr(ours, n)(x)))) for n in "qkv")
    (rate,) = (w for key, w in ours.state_dict().items() if key.endswith("rate"))
    g = -rate.flatten().exp() * F.softplus(ours.step(x))  # (B, T, H)
    expected, _ = torch_recurrent_gated_delta_rule(
        *(y.transpose(1, 2) for y in (q, k, v)),
        g,
        torch.sigmoid(ours.beta(x)),
        None,
        False,
        use_qk_l2norm_in_kernel=True,
    )
    found = read_by(ours, x) / 4  # transformers divides queries by the root of the head dimension, before the norm
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-4, rtol=1e-4)


def test_the_delta_rule_is_that_of_transformers_without_decay():
    ours, x = part(module_of("attention/delta_net"), "DeltaAttention"), sequence()
    q, k, v = (cut(F.silu(getattr(ours, f"{n}_conv")(getattr(ours, n)(x)))) for n in "qkv")
    beta = torch.sigmoid(ours.beta(x))
    expected, _ = torch_recurrent_gated_delta_rule(
        *(y.transpose(1, 2) for y in (q, k, v)), 0 * beta, beta, None, False, use_qk_l2norm_in_kernel=True
    )
    torch.testing.assert_close(read_by(ours, x) / 4, expected.transpose(1, 2), atol=1e-4, rtol=1e-4)


def test_linear_attention_is_a_mean_of_the_values_by_products_of_features():
    ours, x = part(module_of("attention/linear"), "LinearAttention"), sequence()
    q, k = (1 + F.elu(cut(y(x))) for y in (ours.q, ours.k))
    weights = (q @ k.mT).tril()
    expected = ours.out(join(weights / weights.sum(-1, keepdim=True) @ cut(ours.v(x))))
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)


def test_retention_weighs_by_powers_of_a_decay_per_head():
    """The parallel form of Sun et al. 2023, equations 5 and 8."""
    module, x = module_of("attention/retention"), sequence()
    ours = part(module, "Retention")
    q, k = (turned(cut(y(x)), 1e4 ** (-torch.arange(8) / 8)) for y in (ours.q, ours.k))
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    decay = (1 - 2.0 ** (-5 - torch.arange(HEADS)))[:, None, None] ** distance
    y = ((q @ k.mT / 4) * decay).tril() @ cut(ours.v(x))
    expected = ours.out(F.silu(ours.gate(x)) * join(F.rms_norm(y, (16,), eps=1e-6)))
    torch.testing.assert_close(ours(x, positions(module)), expected, atol=1e-4, rtol=1e-4)


def test_gated_linear_attention_forgets_channel_by_channel():
    """The recurrence of Yang et al. 2023, section 4.1, token by token."""
    ours, x = part(module_of("attention/gated_linear"), "GatedLinearAttention"), sequence()
    q, k, v = cut(ours.q(x)), cut(ours.k(x)) / 4, cut(ours.v(x))
    decay = cut(torch.sigmoid(ours.forget(ours.down(x))) ** (1 / 16))
    state, outputs = torch.zeros(2, HEADS, 16, 16), []
    for t in range(TOKENS):
        state = decay[:, :, t, :, None] * state + k[:, :, t, :, None] * v[:, :, t, None]
        outputs.append((q[:, :, t, None] @ state)[:, :, 0])
    torch.testing.assert_close(read_by(ours, x), torch.stack(outputs, 2), atol=1e-4, rtol=1e-4)


def test_differential_attention_subtracts_a_part_of_one_attention_from_another():
    """Ye et al. 2024, equation 1, with two heads of two times 16 channels."""
    module, x = module_of("attention/differential"), sequence()
    ours = part(module, "DifferentialAttention")
    speeds = 1e4 ** (-torch.arange(8) / 8)
    v = cut(ours.v(x), 2)
    first, second = (
        causal_softmax(turned(q, speeds) @ turned(k, speeds).mT / 4) @ v
        for q, k in zip(cut(ours.q(x), 2).chunk(2, -1), cut(ours.k(x), 2).chunk(2, -1), strict=True)
    )
    (share,) = (p for name, p in ours.named_parameters() if name.endswith("factor"))
    torch.testing.assert_close(read_by(ours, x, positions(module)), first - share * second, atol=1e-5, rtol=1e-4)


def test_latent_attention_shares_a_latent_and_a_rotary_key():
    """DeepSeek-AI 2024, equations 9 to 19."""
    module, x = module_of("attention/mla"), sequence()
    ours = part(module, "MLA")
    speeds = 1e4 ** (-torch.arange(4) / 4)
    q = cut(ours.q(x))
    latent = ours.kv_norm(ours.kv_down(x))
    k, v = cut(ours.k(latent)), cut(ours.v(latent))
    logits = q[..., :16] @ k.mT + turned(q[..., 16:], speeds) @ turned(ours.k_rope(x)[:, None], speeds).mT
    expected = ours.out(join(causal_softmax(logits / math.sqrt(24)) @ v))
    torch.testing.assert_close(ours(x, positions(module)), expected, atol=1e-5, rtol=1e-4)


# ---- routers ------------------------------------------------------------------------------------------------------


def best(row, count):
    """The indices of the largest numbers of a row."""
    return sorted(range(len(row)), key=lambda e: -row[e])[:count]


def gates_by_hand(router, x, score, choose, renormalise):
    """The gates of one token at a time."""
    out = torch.zeros(*x.shape[:2], router.out_features)
    for b in range(x.size(0)):
        for t in range(x.size(1)):
            p = score(router(x[b, t]))
            chosen = choose(p.tolist())
            out[b, t, chosen] = p[chosen] / (p[chosen].sum() if renormalise else 1)
    return out


def three_of_two_groups(row):
    groups = [(0, 1), (2, 3), (4, 5)]
    kept = best([max(row[e] for e in group) for group in groups], 2)
    return best([p if e // 2 in kept else -1 for e, p in enumerate(row)], 3)


@pytest.mark.parametrize(
    "genome, router, score, choose, renormalise",
    [
        ("moe_softmax", "SoftmaxRouter", "softmax", lambda row: best(row, 2), False),
        ("moe_renormalised", "RenormalisedRouter", "softmax", lambda row: best(row, 2), True),
        ("moe_sigmoid", "SigmoidRouter", "sigmoid", lambda row: best(row, 2), True),
        ("moe_group_limited", "GroupedRouter", "softmax", three_of_two_groups, False),
    ],
)
def test_routers_choose_and_weigh_as_published(genome, router, score, choose, renormalise):
    ours, x = part(module_of(f"channels/{genome}"), router), sequence()
    linear = next(m for m in ours.modules() if isinstance(m, torch.nn.Linear))
    scores = {"softmax": lambda y: y.softmax(-1), "sigmoid": torch.sigmoid}[score]
    torch.testing.assert_close(ours(x), gates_by_hand(linear, x, scores, choose, renormalise), atol=1e-6, rtol=1e-5)


def router_gradient(ours, x):
    """The gradient that a router's penalty alone gives to its weights."""
    ours.train()
    (gradient,) = torch.autograd.grad(0 * ours(x).sum(), ours.router.weight)
    return gradient


def test_the_balance_loss_is_that_of_switch_transformers():
    """Fedus et al. 2021, equations 4 to 6: 0.01 * N * sum of f_e * P_e, with one expert per token."""
    ours, x = part(module_of("channels/moe_balance_loss"), "BalancedRouter"), sequence()
    p = ours.router(x).softmax(-1).flatten(0, 1)
    share = F.one_hot(p.argmax(-1), 6).float().mean(0)
    (expected,) = torch.autograd.grad(0.01 * 6 * (share * p.mean(0)).sum(), ours.router.weight)
    torch.testing.assert_close(router_gradient(ours, x), expected)


def test_the_router_z_loss_is_that_of_st_moe():
    """Zoph et al. 2022, equation 5."""
    ours, x = part(module_of("channels/moe_z_loss"), "SteadyRouter"), sequence()
    (expected,) = torch.autograd.grad(1e-3 * (ours.router(x).logsumexp(-1) ** 2).mean(), ours.router.weight)
    torch.testing.assert_close(router_gradient(ours, x), expected)


def test_a_correcting_bias_falls_where_the_load_is_above_the_mean_and_weighs_nothing():
    """Wang et al. 2024, algorithm 1: the choice sees the bias, the gates do not."""
    ours, x = part(module_of("channels/moe_bias_corrected"), "CorrectedRouter"), sequence()
    (bias,) = (p for name, p in ours.named_parameters() if name.startswith("bias"))
    with torch.no_grad():
        bias.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, -0.5]))
    p = torch.sigmoid(ours.router(x))
    chosen = torch.zeros_like(p).scatter(-1, (p + bias).topk(2, -1).indices, 1)
    gates = p * chosen / (p * chosen).sum(-1, keepdim=True)
    ours.train()
    found = ours(x)
    torch.testing.assert_close(found, gates)
    found.sum().backward()
    load = chosen.mean((0, 1))
    torch.testing.assert_close(bias.grad, load - load.mean())


# ---- losses -------------------------------------------------------------------------------------------------------


def logits_and_targets():
    generator = torch.Generator().manual_seed(5)
    return 3 * torch.randn(2, 9, 256, generator=generator), torch.randint(256, (2, 9), generator=generator)


def test_label_smoothing_is_that_of_pytorch():
    logits, y = logits_and_targets()
    expected = F.cross_entropy(logits.mT, y, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(module_of("heads/label_smoothing").loss(logits, y)[..., 0], expected)


def test_distillation_pulls_towards_the_teacher_as_a_divergence_does():
    logits, y = logits_and_targets()
    teacher = torch.randn(2, 9, 256, generator=torch.Generator().manual_seed(6))
    logits.requires_grad_()
    found = module_of("heads/distillation").loss(logits, y, teacher).sum()
    ours = F.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    expected = 0.5 * F.cross_entropy(logits.mT, y, reduction="sum") + 0.5 * ours
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (found, expected)))


def test_the_focal_loss_is_that_of_lin_et_al():
    logits, y = logits_and_targets()
    p = logits.softmax(-1).gather(-1, y[..., None])
    torch.testing.assert_close(module_of("heads/focal").loss(logits, y), -((1 - p) ** 2) * p.log())


def test_a_second_head_learns_the_token_after_the_next():
    """Training's gradient is that of the loss plus 0.3 times the second head's cross-entropy, two tokens ahead."""
    module = module_of("heads/multi_token")
    model = module.Model()
    model.initialise(0)
    caught = {}
    ahead = next(m for m in model.modules() if type(m).__name__ == "MLP")
    ahead.register_forward_hook(lambda m, x, y: caught.update(ahead=y))
    tokens = torch.randint(256, (2, TOKENS), generator=torch.Generator().manual_seed(7))
    module.loss(model(tokens[:, :-1]), tokens[:, 1:]).mean().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    module.penalty = lambda x, term: x
    loss = module.loss(model(tokens[:, :-1]), tokens[:, 1:]).mean()
    guess = caught["ahead"] @ next(m for m in model.modules() if isinstance(m, torch.nn.Embedding)).weight.mT
    (loss + 0.3 * F.cross_entropy(guess.mT, tokens[:, :-1])).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(found[name], p.grad, atol=1e-6, rtol=1e-4)
