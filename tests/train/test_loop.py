"""The loop: it learns, repeats itself to the bit, keeps to the recipe, and stops where there is no hope."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.order import Batch, windows
from foundry.dsl.check import load_program
from foundry.dsl.source import shipped_genomes
from foundry.train.fault import first_bad_gradient
from foundry.train.loop import Diverged, divergence, train, updates
from foundry.train.plan import Step


def run(module, text, steps=60, seed=0, on_step=None, limits=()):
    model = module.Model().initialise(seed)
    trained = train(
        module,
        model,
        text,
        compute=float(module.BATCH * steps),
        compute_per_token=lambda context: 1.0,
        seed=seed,
        max_context=64,
        on_step=on_step,
        limits=limits,
    )
    return model, trained


def test_loss_falls_from_a_guess_to_well_below_the_letter_frequencies(module, text):
    counts = np.bincount(text, minlength=256)
    share = counts[counts > 0] / len(text)
    entropy = -(share * np.log2(share)).sum()
    _, trained = run(module, text, steps=150)
    assert 7 < trained.losses[0] < 10
    assert np.mean(trained.losses[-20:]) < entropy - 0.3
    assert not trained.diverged


def test_the_same_seed_gives_the_same_weights_to_the_bit(module, text):
    (model, trained), (again, trained_again), (other, trained_other) = (run(module, text, 20, s) for s in (3, 3, 4))
    assert trained == trained_again
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert trained.losses != trained_other.losses
    assert not torch.equal(model.embed.weight, other.embed.weight)


def test_it_counts_steps_tokens_and_compute(module, text):
    _, trained = run(module, text, steps=12)
    assert (trained.steps, trained.tokens, trained.compute) == (12, 12 * 256, 12 * 256.0)
    assert len(trained.losses) == 12


def test_the_curve_has_twenty_points_that_average_the_losses(module, text):
    _, trained = run(module, text, steps=40)
    assert len(trained.curve) == 20
    assert trained.curve[0] == (pytest.approx(0.025), pytest.approx(np.mean(trained.losses[:2])))
    assert trained.curve[-1] == (pytest.approx(0.975), pytest.approx(np.mean(trained.losses[-2:])))


def test_reported_losses_are_cross_entropy_in_bits_whatever_is_trained(module, text):
    losses = run(module, text, steps=8)[1].losses
    plain = module.loss
    module.loss = lambda logits, y: 3 * plain(logits, y) + 7
    module.schedule = lambda t: 0.0
    assert run(module, text, steps=8)[1].losses[0] == losses[0]


def test_every_group_gets_its_own_peak_times_the_schedule(module, text):
    seen = []

    def two_groups(model):
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() <= 1]
        first = torch.optim.SGD([{"params": matrices, "lr": 0.0, "peak_lr": 0.5}])
        second = torch.optim.AdamW([{"params": vectors, "lr": 0.0, "peak_lr": 0.25}])
        seen.extend([first, second])
        return [first, second]

    module.optimizers = two_groups
    rates = []
    run(module, text, 8, on_step=lambda s, b: rates.append([o.param_groups[0]["lr"] for o in seen] + [s.factor]))
    for first, second, factor in rates:
        assert (first, second) == (0.5 * factor, 0.25 * factor)
    assert len({factor for *_, factor in rates}) > 4


@pytest.mark.parametrize("clip, longest_move", [(0.0, math.inf), (1.0, 1.0), (0.01, 0.01)])
def test_the_gradient_is_clipped_at_clip(module, text, clip, longest_move):
    module.CLIP, module.schedule = clip, lambda t: 1.0
    plain = module.loss
    module.loss = lambda logits, y: 100 * plain(logits, y)
    module.optimizers = lambda model: [
        torch.optim.SGD([{"params": list(model.parameters()), "lr": 1, "peak_lr": 1e-3}])
    ]
    model = module.Model().initialise(0)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    moves = []

    def measure(step, bits):
        nonlocal before
        after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        moves.append((after - before).norm().item() / 1e-3)
        before = after

    train(
        module, model, text, compute=256 * 8, compute_per_token=lambda c: 1.0, seed=0, max_context=64, on_step=measure
    )
    assert moves[0] > 2 if clip == 0 else moves[0] == pytest.approx(longest_move, rel=0.02)


def test_a_loss_that_is_not_a_number_stops_at_once(module, text):
    calls = []
    plain = module.loss

    def broken(logits, y):
        calls.append(1)
        return plain(logits, y) * (math.nan if len(calls) == 5 else 1)

    module.loss = broken
    _, trained = run(module, text, steps=50)
    assert trained.steps == 5
    assert trained.diverged == "the loss is nan at step 5"


def test_a_learning_rate_that_explodes_is_found_out_early(module, text):
    module.optimizers = lambda model: [torch.optim.SGD([{"params": list(model.parameters()), "lr": 1, "peak_lr": 1e3}])]
    _, trained = run(module, text, steps=200)
    assert trained.diverged
    assert trained.steps < 100


def test_training_stops_at_the_first_limit_that_the_loss_is_above(module, text):
    whole = run(module, text, steps=20)[1].losses
    first, second = np.mean(whole[:6]), np.mean(whole[6:11])  # steps that begin at 0 to 25 %, and on to 50 %
    kept = run(module, text, 20, limits=((0.25, first + 1e-9), (0.5, second + 1e-9)))[1]
    assert (kept.steps, kept.abandoned, kept.losses) == (20, "", whole)
    late = run(module, text, 20, limits=((0.5, second - 1e-9), (0.25, first + 1e-9)))[1]
    assert late.losses == whole[:11]
    assert late.abandoned == f"{second:.3f} bits per byte at 50% of training, above {second:.3f}"
    early = run(module, text, 20, limits=((0.25, 0.0), (0.5, 0.0)))[1]
    assert (early.steps, early.compute, early.tokens) == (6, 6 * 256.0, 6 * 256)
    assert early.curve[-1][0] == pytest.approx(0.25)
    assert not early.diverged


def test_a_limit_of_infinity_opens_a_window_and_one_at_the_end_has_no_say(module, text):
    whole = run(module, text, steps=20)[1].losses
    late = np.mean(whole[9:11])
    limits = ((0.4, math.inf), (0.5, late - 1e-9))
    assert run(module, text, 20, limits=limits)[1].steps == 11
    assert run(module, text, 20, limits=((1.0, 0.0),))[1].abandoned == ""


def test_a_bad_start_or_a_single_spike_is_no_divergence():
    assert not divergence(1.0, [40.0, *[39.0] * 100])
    assert not divergence(1.0, [*[8.0] * 30, 25.0])
    assert divergence(1.0, [8.0, *[9.5] * 30])
    assert divergence(math.inf, [8.0])
    assert divergence(1.0, [math.nan])


def test_targets_are_the_bytes_that_follow(text):
    (batch,) = windows(text, [Step(0.0, 32, 7, 1.0, 0.0)], seed=0, max_context=64)
    x, y = batch.x, batch.y
    assert x.shape == y.shape == (7, 32)
    assert torch.equal(x[:, 1:], y[:, :-1])
    haystack = text.tobytes()
    assert all(bytes([*row, last]) in haystack for row, last in zip(x.tolist(), y[:, -1].tolist(), strict=True))


def test_one_seed_reads_the_same_places_at_any_context_and_batch(text):
    short = [batch.x for batch in windows(text, [Step(0.0, 16, 4, 1.0, 0.0)] * 3, seed=5, max_context=64)]
    long = [batch.x for batch in windows(text, [Step(0.0, 64, 2, 1.0, 0.0)] * 6, seed=5, max_context=64)]
    assert torch.equal(torch.cat(short), torch.cat(long)[:, :16])
    other = [batch.x for batch in windows(text, [Step(0.0, 16, 4, 1.0, 0.0)] * 3, seed=6, max_context=64)]
    assert not torch.equal(torch.cat(short), torch.cat(other))


def test_a_curriculum_begins_with_the_easiest_text():
    noise = np.random.default_rng(0).integers(0, 256, 8192, dtype=np.uint8)
    data = np.concatenate([noise, np.full(8192, 65, np.uint8)])
    steps = [Step(t, 16, 8, 1.0, 128.0, share=share) for t, share in ((0.0, 0.5), (0.5, 1.0))]
    easy, mixed = (batch.x for batch in windows(data, steps, 0, 64))
    assert (easy == 65).all() and not (mixed == 65).all()


def gradients(module, text, micro, repeat=1):
    """The gradient of one step of eight rows, of which every `repeat` are the same; and its bits per byte."""
    model = module.Model()
    model.initialise(0)
    step = Step(0.0, 16, 8, 0.0, 0.0)
    (batch,) = windows(text, [step], seed=0, max_context=16)
    batch = replace(batch, x=batch.x[::repeat].repeat(repeat, 1), y=batch.y[::repeat].repeat(repeat, 1))
    (update,) = updates(module, model, module.optimizers(model), [step], [[batch]], [], micro=micro)
    return torch.nn.utils.parameters_to_vector(p.grad for p in model.parameters() if p.grad is not None), update


@pytest.mark.parametrize("micro", [16, 48, 64])
def test_the_gradients_of_parts_add_up_to_that_of_the_step(module, text, micro):
    module.CLIP = 0.0
    (whole, at_once), (parts, by_parts) = gradients(module, text, None), gradients(module, text, micro)
    assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-7)
    assert by_parts.bits == pytest.approx(at_once.bits, abs=1e-6) and by_parts.tokens == at_once.tokens == 128


def test_a_loss_without_targets_does_not_count(module, text):
    module.CLIP, step = 0.0, Step(0.0, 16, 4, 0.0, 0.0)
    (batch,) = windows(text, [step], seed=0, max_context=16)
    found = []
    for x, y, valid in (
        (batch.x[:2], batch.y[:2], 32),
        (batch.x, torch.where(torch.arange(4)[:, None] < 2, batch.y, -1), 32),
    ):
        model = module.Model().initialise(0)
        (update,) = updates(module, model, module.optimizers(model), [step], [[Batch(x, y, valid)]], [])
        found.append((torch.nn.utils.parameters_to_vector(p.grad for p in model.parameters()), update.bits))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-7)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-6)


def test_a_penalty_weighs_as_much_in_parts_as_at_once(text):
    emitted = load(emit(load_program(shipped_genomes()["channels/moe_balance_loss"].read_text(), "genome")))
    emitted.CLIP = 0.0
    whole, _ = gradients(emitted, text, None, repeat=2)  # two halves that are alike, so that their means are the same
    parts, _ = gradients(emitted, text, 64, repeat=2)
    assert torch.allclose(parts, whole, rtol=1e-3, atol=1e-6)
    emitted.Penalty.share = 1.0
    plain = torch.full_like
    emitted.torch = type("t", (), {**vars(torch), "full_like": staticmethod(lambda term, share: plain(term, 1.0))})
    wrong, _ = gradients(emitted, text, 64, repeat=2)
    assert not torch.allclose(wrong, whole, rtol=1e-3, atol=1e-6), "the penalty is in the gradient"


def test_bits_are_counted_per_byte_of_text(module, text):
    step = Step(0.0, 16, 2, 0.0, 0.0)
    (batch,) = windows(text, [step], seed=0, max_context=16)
    bits = []
    for lengths in (None, np.full(256, 4, np.int32)):
        model = module.Model().initialise(0)
        (update,) = updates(module, model, [], [step], [[batch]], [], byte_lengths=lengths)
        bits.append(update.bits)
    assert bits[0] == pytest.approx(4 * bits[1])


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_the_parameter_whose_gradient_breaks_is_named_whatever_is_clipped(module, text, broken):
    model = module.Model().initialise(0)
    model.blocks[1].up.weight.register_hook(lambda gradient: gradient * broken)
    step = Step(0.0, 16, 2, 0.0, 0.0)
    data = ([batch] for batch in windows(text, [step], seed=0, max_context=16))
    module.CLIP = 1.0
    (update,) = updates(module, model, [], [step], data, [])
    assert not math.isfinite(update.norm) and first_bad_gradient(model) == "blocks.1.up.weight"


def test_the_first_layer_that_breaks_is_named(module, text):
    model = module.Model().initialise(0)
    with torch.no_grad():
        model.blocks[1].up.weight[0, 0] = math.inf
    step = Step(0.0, 16, 2, 0.0, 0.0)
    data = ([batch] for batch in windows(text, [step], seed=0, max_context=16))
    with pytest.raises(Diverged, match=r"the loss is nan at step 1, first in blocks\.1\.up"):
        list(updates(module, model, module.optimizers(model), [step], data, []))
