"""Proxy evaluation: a score that repeats itself, sizes beside it, and a recorded outcome for every failure."""

import dataclasses
import math
import statistics

import pytest
import torch

from foundry.data.corpus import load_corpus
from foundry.dsl.source import resource
from foundry.evals import proxy
from foundry.evals.proxy import Outcome, Refused, Trial, evaluate, train_and_score
from foundry.evals.screen import Feature, Screen

TINY = """
@foundry(1);
layer(x) = { x = x + attention(rmsnorm(x), heads = 2, pos = rope); x + mlp(rmsnorm(x), hidden = 64, act = relu2) };
model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = 5e-3), context = fn(t) => 32, batch = 256);
"""


@pytest.fixture(scope="session")
def corpus():
    return load_corpus()


@pytest.fixture(scope="session")
def scored(corpus):
    return evaluate(TINY, corpus, compute=1.5e10, seed=1)


def train_module(module, corpus, compute=256.0 * 20, split="validation"):
    found = {}
    train_and_score(Trial(module, compute, lambda context: 1.0), corpus, 0, split, found)
    return found


def test_a_genome_gets_a_score_between_guessing_and_the_implausible(scored):
    assert (scored.status, scored.error_code, scored.message) == ("ok", "", "")
    assert 2 < scored.bits_per_byte < 7
    assert scored.steps >= 8
    assert scored.tokens == scored.steps * 256
    assert scored.compute == pytest.approx(1.5e10, rel=0.5 / scored.steps)
    assert 8 <= len(scored.train_curve) <= 20
    assert scored.train_curve[0][1] > scored.train_curve[-1][1]


def test_sizes_are_those_of_arithmetic_by_hand(scored):
    layer = 4 * 32 * 32 + 2 * 32 * 64 + 2 * 32  # attention, mlp, two norms
    assert scored.parameters == 256 * 32 + 2 * layer + 32
    assert scored.cache_bytes_per_token == 2 * 2 * 32 * 4  # two layers, keys and values, float32
    assert scored.flops_per_token > 2 * (256 * 32 + 2 * layer)
    assert scored.bytes_per_token > 0


def test_resources_are_reported(scored):
    assert 0.05 < scored.cpu_s < 60
    assert 50e6 < scored.peak_rss < 1.5e10


def test_equal_arguments_give_an_equal_score_to_the_bit_and_another_seed_another(scored, corpus):
    def score(outcome):
        return dataclasses.replace(outcome, cpu_s=0.0, peak_rss=0)

    assert score(evaluate(TINY, corpus, compute=1.5e10, seed=1)) == score(scored)
    assert evaluate(TINY, corpus, compute=1.5e10, seed=2).bits_per_byte != scored.bits_per_byte


def test_the_test_split_gives_another_score_of_the_same_training(scored, corpus):
    test = evaluate(TINY, corpus, compute=1.5e10, seed=1, split="test")
    assert test.train_curve == scored.train_curve
    assert test.bits_per_byte != scored.bits_per_byte


def test_twice_the_depth_gets_about_half_the_tokens(scored, corpus):
    twice = evaluate(TINY.replace("2 * layer", "4 * layer"), corpus, compute=1.5e10, seed=1)
    assert twice.compute == pytest.approx(scored.compute, rel=0.05)
    assert 0.4 < twice.tokens / scored.tokens < 0.6


@pytest.mark.parametrize(
    "text, code, message",
    [
        ("", "F003", ""),
        ("@foundry(1); model = ", "F101", ""),
        (TINY.replace("rope", "rop"), "F201", "rop"),
        (TINY.replace("heads = 2", "heads = 5"), "F302", ""),
        (TINY.replace("256,", "300,"), "vocab", "the vocabulary is 300"),
        (TINY.replace("=> 32", "=> 1 / t - 1 / t"), "plan", "the context"),
    ],
)
def test_a_bad_genome_is_rejected_with_its_code(corpus, text, code, message):
    outcome = evaluate(text, corpus, compute=1.5e10, seed=0)
    assert (outcome.status, outcome.error_code) == ("rejected", code)
    assert message in outcome.message
    assert outcome.bits_per_byte is None


def test_compute_for_fewer_than_eight_steps_is_rejected_before_a_model_is_built(corpus):
    huge = TINY.replace("width = 32", "width = 8192").replace("2 * layer", "90 * layer")
    outcome = evaluate(huge, corpus, compute=1.5e10, seed=0)
    assert (outcome.status, outcome.error_code) == ("rejected", "plan")
    assert outcome.parameters > 1e10
    assert outcome.peak_rss < 1.5e10


def test_a_learning_rate_that_explodes_is_recorded_as_diverged(corpus):
    exploding = TINY.replace("batch = 256", "batch = 256, schedule = fn(t) => 1e5")
    outcome = evaluate(exploding, corpus, compute=1.5e10, seed=0)
    assert outcome.status == "diverged"
    assert outcome.error_code == "loss"
    assert outcome.steps >= 1


def test_positions_that_end_before_the_validation_context_are_rejected(module, corpus):
    module.LONGEST = 64
    with pytest.raises(Refused, match="reaches 64 positions, and validation needs 128") as caught:
        train_module(module, corpus)
    assert (caught.value.status, caught.value.code) == ("rejected", "context")


def test_a_leak_is_quarantined(module, corpus):
    class Leaky(module.Model):
        def forward(self, tokens, past=None):
            logits = super().forward(tokens)
            return logits + 1e-3 * logits.mean(1, keepdim=True)

    module.Model = Leaky
    with pytest.raises(Refused, match="change the logits before it") as caught:
        train_module(module, corpus)
    assert (caught.value.status, caught.value.code) == ("quarantined", "leak")


MIXTURE = TINY.replace("mlp(rmsnorm(x), hidden = 64, act = relu2)", "moe(rmsnorm(x))").replace(
    "layer(x)",
    """moe(x) = {
  p = softmax(linear(x, 4));
  kept = p * top(p, 2);
  penalty(experts(x, kept / sum(kept), mlp(hidden = 32)), 0.01 * p, stop(kept))
};
layer(x)""",
)


def test_a_mixture_of_experts_is_causal_though_its_tokens_share_matrix_products(corpus):
    outcome = evaluate(MIXTURE, corpus, compute=1.5e10, seed=0)
    assert (outcome.status, outcome.message) == ("ok", "")
    assert 2 < outcome.bits_per_byte < 7


@pytest.mark.parametrize(
    "honest, leaking",
    [
        # each expert takes the tokens that want it most: Zhou et al. 2022, arXiv:2202.09368, which is not causal
        ("gates[:, e].nonzero().squeeze(-1)", "gates[:, e].topk(len(gates) // 4).indices"),
        ("x.flatten(0, 1)[None]", "(x + 1e-6 * x.roll(-1, 1)).flatten(0, 1)[None]"),
    ],
)
def test_a_leak_among_experts_is_quarantined(corpus, monkeypatch, honest, leaking):
    emit = proxy.emit

    def tampered(program):
        source = emit(program)
        assert honest in source
        return source.replace(honest, leaking)

    monkeypatch.setattr(proxy, "emit", tampered)
    outcome = evaluate(MIXTURE, corpus, compute=1.5e10, seed=0)
    assert (outcome.status, outcome.error_code) == ("quarantined", "leak")


def test_a_score_too_good_to_be_true_is_quarantined(module, corpus, monkeypatch):
    monkeypatch.setattr(proxy, "bits_per_byte", lambda model, text: 0.4)
    with pytest.raises(Refused, match=r"0\.400 bits per byte, and below 0\.\d+ is not credible") as caught:
        train_module(module, corpus)
    assert (caught.value.status, caught.value.code) == ("quarantined", "implausible")


def test_weights_that_end_as_not_a_number_are_diverged(module, corpus):
    plain, calls = module.loss, []

    def last_step_breaks(logits, y):
        calls.append(1)
        return (
            plain(logits, y) if len(calls) < 20 else plain(logits, y) + (logits - logits).sqrt().mean(-1, keepdim=True)
        )

    module.loss = last_step_breaks
    with pytest.raises(Refused, match="not a number") as caught:
        train_module(module, corpus)
    assert caught.value.status == "diverged"


@pytest.mark.parametrize(
    "error, status, code",
    [
        (ZeroDivisionError("float division by zero"), "crashed", "ZeroDivisionError"),
        (RuntimeError("shape mismatch\nlong story"), "crashed", "RuntimeError"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (RecursionError("maximum recursion depth exceeded"), "crashed", "RecursionError"),
    ],
)
def test_an_exception_becomes_an_outcome(corpus, monkeypatch, error, status, code):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(proxy, "train_and_score", fail)
    outcome = evaluate(TINY, corpus, compute=1.5e10, seed=0)
    assert (outcome.status, outcome.error_code) == (status, code)
    assert outcome.parameters > 0
    assert "\n" not in outcome.message


def test_torch_running_out_of_memory_is_told_from_a_crash(corpus, monkeypatch):
    monkeypatch.setattr(proxy, "train_and_score", lambda *args: torch.empty(2**60))
    assert evaluate(TINY, corpus, compute=1.5e10, seed=0).status == "out_of_memory"


def test_ctrl_c_is_not_an_outcome(corpus, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(proxy, "train_and_score", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(TINY, corpus, compute=1.5e10, seed=0)


@pytest.mark.parametrize("name", ["gpt2", "llama", "primer", "hybrid"])
def test_the_baselines_train_and_are_causal(corpus, name):
    text = resource("genomes", f"{name}.genome")
    outcome = evaluate(text, corpus, compute=8e10, seed=0)
    assert (outcome.status, outcome.message) == ("ok", "")
    assert outcome.bits_per_byte < 7.5
    assert math.isfinite(statistics.mean(bits for _, bits in outcome.train_curve))


COMPUTE = 1.5e10


@pytest.fixture(scope="session")
def probed(corpus):
    return evaluate(TINY, corpus, compute=COMPUTE, seed=1, probe=True)


def test_a_look_before_training_changes_no_score(probed, scored):
    assert len(probed.fingerprint) == 16 and scored.fingerprint == ""
    assert probed.bits_per_byte == scored.bits_per_byte
    assert probed.train_curve == scored.train_curve
    assert probed.signals["initial_bits"] == pytest.approx(scored.train_curve[0][1], abs=0.2)
    assert {"gradient_norm", "effective_rank", "bits_at_25"} <= probed.signals.keys()
    assert scored.signals.keys() == {"bits_at_10", "bits_at_25", "bits_at_50"}


def test_what_computes_the_same_as_a_known_genome_shares_its_result_untrained(probed, corpus):
    known = {probed.fingerprint: "an evaluation"}
    again = TINY.replace("x + mlp(", "0 + x + mlp(")
    shared = evaluate(again, corpus, compute=COMPUTE, seed=1, known=known)
    assert (shared.status, shared.shared_with, shared.fingerprint) == ("ok", "an evaluation", probed.fingerprint)
    assert (shared.bits_per_byte, shared.compute, shared.steps, shared.train_curve) == (None, 0.0, 0, ())
    assert shared.parameters == probed.parameters
    other = evaluate(TINY.replace("relu2", "relu"), corpus, compute=COMPUTE, seed=1, known=known)
    assert other.shared_with == "" and other.bits_per_byte is not None


def test_training_above_a_limit_is_abandoned_with_what_it_spent(scored, corpus):
    outcome = evaluate(TINY, corpus, compute=COMPUTE, seed=1, limits=((0.5, 1.0),))
    assert (outcome.status, outcome.error_code, outcome.bits_per_byte) == ("abandoned", "limit", None)
    assert "above 1.000" in outcome.message
    assert 0.4 * COMPUTE < outcome.compute < 0.7 * COMPUTE
    assert outcome.steps < scored.steps and "bits_at_50" not in outcome.signals
    assert evaluate(TINY, corpus, compute=COMPUTE, seed=1, limits=((0.5, 9.0),)).bits_per_byte == scored.bits_per_byte


def test_what_the_screen_rejects_is_not_trained(corpus):
    screen = Screen((Feature("parameters", (0.0,), higher_is_worse=True),), limit=0.9)
    outcome = evaluate(TINY, corpus, compute=COMPUTE, seed=1, screen=screen)
    assert (outcome.status, outcome.error_code, outcome.steps) == ("rejected", "screened", 0)
    assert outcome.fingerprint and outcome.signals
    assert evaluate(TINY, corpus, compute=COMPUTE, seed=1, screen=Screen(screen.features, 1.0)).status == "ok"


def test_a_look_that_fails_is_no_reason_to_fail(scored, corpus, monkeypatch):
    def fail(*args):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(proxy, "fingerprint", fail)
    monkeypatch.setattr(proxy, "untrained", fail)
    outcome = evaluate(TINY, corpus, compute=COMPUTE, seed=1, probe=True)
    assert (outcome.status, outcome.fingerprint) == ("ok", "")
    assert outcome.bits_per_byte == scored.bits_per_byte


def test_every_field_of_an_outcome_is_plain_data():
    assert dataclasses.asdict(Outcome("ok"))["train_curve"] == ()
    assert dataclasses.asdict(Outcome("ok"))["signals"] == {}
