"""Whole runs: what goes on after an end, whenever it came, is what would have gone on without it."""

import errno
import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foundry.train.checkpoint import CheckpointError, read_checkpoint, read_state, write_state
from foundry.train.devices import ALONE
from foundry.train.loop import Diverged
from foundry.train.plan import Length, plan_length
from foundry.train.run import Stopped, run, validation_steps
from foundry.train.terms import Asked, RunError, locked, resumed

GENOME = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2);
  x + glu(rmsnorm(x), hidden = 32)
};

model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 128, context = 32);
"""
STEPS = 24


@pytest.fixture(scope="module", autouse=True)
def words(tmp_path_factory):
    """Three hundred small documents, and a cache for them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr("foundry.train.run.peak_flops", lambda *_: None)  # which takes longer than a run
    folder = tmp_path_factory.mktemp("words")
    for number in range(300):
        (folder / f"{number}.txt").write_text(" ".join(f"word{(number * k) % 97}" for k in range(1, 200)))
    torch.set_num_threads(1)
    yield str(folder)
    patch.undo()


@pytest.fixture
def asked(words, tmp_path):
    """A run of STEPS steps with four validations; arguments change it."""

    def ask(name="run", **changes):
        settings = {"text": GENOME, "data": words, "unit": "steps", "amount": STEPS, "validations": 4, "sample": 0}
        return Asked(out=tmp_path / name, **(settings | changes))

    return ask


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(Asked(folder, GENOME, data=words, unit="steps", amount=STEPS, validations=4, sample=0), ALONE)
    return folder


class At:
    """Looks on, and does something after a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def __call__(self, steps):
        return self

    def row(self, row):
        if row.step == self.step:
            self.act()

    def sample(self, step, text): ...

    def say(self, text): ...

    def close(self): ...


def same(one: Path, other: Path) -> bool:
    """Whether two runs have the same parameters and the same state, to the bit."""
    pairs = [(load_file(one / name), load_file(other / name)) for name in ("model.safetensors", "state.safetensors")]
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def in_a_child(act) -> int:
    """Do something in a process of its own; how that ended."""
    child = os.fork()
    if not child:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("step", [1, 7, 17])
def test_a_run_that_was_killed_ends_with_the_same_bits_as_one_that_was_not(asked, whole, step):
    kill = At(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert in_a_child(lambda: run(asked(), ALONE, kill)) == -signal.SIGKILL
    before = len(read_state(asked().out)[0]["losses"])
    assert before == 6 * ((step - 1) // 6)  # the last validation's: the rest was lost and is done again
    assert run(asked(resume=True), ALONE).ended == "complete"
    assert same(asked().out, whole)


@pytest.mark.parametrize("step, writes", [(0, 2), (0, 10), (6, 3), (STEPS, 3), (STEPS, 7), (STEPS, 11)])
def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(asked, whole, monkeypatch, step, writes):
    """The last one too: a run that says that it is complete has its last weights, and its best."""
    left, fsync = [writes], os.fsync

    def die(descriptor):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def arm():
        monkeypatch.setattr("foundry.train.tensors.os.fsync", die)

    def child():
        if not step:
            arm()
        run(asked(), ALONE, At(step, arm))

    assert in_a_child(child) == -signal.SIGKILL
    run(asked(resume=True), ALONE)
    assert same(asked().out, whole) and same_weights(asked().out / "best", whole / "best")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_the_step_that_it_was_at(asked, whole, number):
    with pytest.raises(Stopped, match=r"stopped after step 10 of 24; .* --resume goes on"):
        run(asked(), ALONE, At(10, lambda: os.kill(os.getpid(), number)))
    assert len(read_state(asked().out)[0]["losses"]) == 10
    run(Asked(asked().out, resume=True, sample=0), ALONE)  # the folder knows what was asked for
    assert same(asked().out, whole)
    rows = (asked().out / "log" / "metrics.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, STEPS + 1))


def test_interrupts_that_come_together_are_one_and_a_later_one_waits_for_nothing(asked, monkeypatch):
    def twice():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped):
        run(asked(), ALONE, At(10, twice))
    assert len(read_state(asked().out)[0]["losses"]) == 10
    monkeypatch.setattr("foundry.train.run.TOGETHER", -1.0)
    with pytest.raises(KeyboardInterrupt):
        run(asked(resume=True), ALONE, At(15, twice))
    assert len(read_state(asked().out)[0]["losses"]) == 12


def test_a_full_disk_leaves_the_last_good_state(asked, whole, monkeypatch):
    fsync = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        run(asked(), ALONE, At(12, lambda: monkeypatch.setattr("foundry.train.tensors.os.fsync", full)))
    monkeypatch.setattr("foundry.train.tensors.os.fsync", fsync)
    assert len(read_state(asked().out)[0]["losses"]) == 6
    read_checkpoint(asked().out).build()
    assert not list(asked().out.rglob("*.partial"))
    run(asked(resume=True), ALONE)
    assert same(asked().out, whole)


def test_a_loss_that_is_no_number_names_its_step_and_layer_and_keeps_the_last_good_weights(asked):
    text = GENOME.replace("lr = 5e-3", "lr = 1").replace(
        "glu(rmsnorm(x), hidden = 32)", "mlp(x, hidden = 32, act = exp)"
    )
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step \d+, first in \w+"):
        run(asked(text=text), ALONE)
    read_checkpoint(asked().out).build()  # refuses weights that are not finite


def test_parts_of_a_step_add_up_to_it(asked, whole):
    run(asked(micro=32), ALONE)
    ours, theirs = (load_file(folder / "state.safetensors") for folder in (asked().out, whole))
    assert torch.allclose(ours["losses"], theirs["losses"], atol=2e-5)


def test_blocks_that_are_computed_again_give_the_same_bits(asked, whole):
    run(asked(recompute=True), ALONE)
    assert same_weights(asked().out, whole)


def same_weights(one, other):
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return all(torch.equal(a[k], b[k]) for k in b)


@pytest.mark.parametrize("documents", ["apart", "streamed"])
def test_other_orders_of_the_data_go_on_as_well(asked, documents):
    run(asked("all", documents=documents, micro=64), ALONE)
    stop = At(10, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        run(asked("half", documents=documents, micro=64), ALONE, stop)
    run(asked("half", documents=documents, micro=64, resume=True), ALONE)
    assert same(asked("all").out, asked("half").out)


def test_a_checkpoint_is_where_a_new_run_may_begin(asked, whole):
    config = json.loads((whole / "config.json").read_text())
    seen = []
    first = At(1, lambda: None)
    first.row = lambda row: seen.append(row.bits_per_byte)
    run(asked(text=(whole / "model.genome").read_text(), weights=whole, amount=8), ALONE, first)
    assert seen[0] == pytest.approx(config["trained"]["bits_per_byte"], abs=0.5)
    assert len(read_state(asked().out)[0]["losses"]) == 8


def test_the_best_validation_and_the_last_are_kept_and_a_run_without_better_ones_ends(asked, monkeypatch):
    found = iter([3.0, 2.0, 2.5, 2.25, 9.0, 9.0, 9.0])
    monkeypatch.setattr("foundry.train.validation.bits_per_byte", lambda *_, **__: next(found))
    finished = run(asked(validations=8, patience=2), ALONE)
    assert (finished.validation, finished.best, finished.steps) == (2.25, 2.0, 12)
    assert finished.ended == "no better validation in 2"
    best = read_checkpoint(asked().out / "best").config["trained"]
    assert (best["steps"], best["bits_per_byte"]) == (6, 2.0)
    again = run(asked(validations=8, patience=2, resume=True), ALONE)
    assert again == finished


def test_a_run_by_the_clock_completes_its_schedule(asked, monkeypatch):
    monkeypatch.setattr("foundry.train.probe.LONG_ENOUGH", 0.02)
    rates = []
    look = At(0, lambda: None)
    look.row = lambda row: rates.append((row.progress, row.rate))
    finished = run(asked(unit="seconds", amount=1.5), ALONE, look)
    assert finished.ended == "complete" and finished.steps >= 8
    assert rates[-1][0] == 1.0 and rates[-1][1] < 0.2 < max(rate for _, rate in rates)
    assert read_state(asked().out)[1]["terms"]["length"]["amount"] > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 1}, r"--seed is not the one .* \(0 then, 1 now\)"),
        ({"text": GENOME.replace("32)", "64)")}, "the genome is not the one"),
        ({"amount": 99}, "the length is not the one"),
        ({"documents": "apart"}, "--documents"),
    ],
)
def test_going_on_changes_nothing(asked, whole, changes, message):
    with pytest.raises(RunError, match=message):
        run(Asked(**vars(asked(**changes)) | {"out": whole, "resume": True}), ALONE)


@pytest.mark.parametrize(
    "name, value",
    [
        ("seed", "0"),
        ("unit", "parsecs"),
        ("validations", 0),
        ("patience", True),
        ("amount", -1.0),
        ("length", {"amount": 0.0, "unit": "steps", "step": 1.0}),
        ("length", {"amount": "9", "unit": "steps"}),
        ("length", []),
    ],
)
def test_terms_that_nobody_could_have_asked_for_are_refused(asked, whole, name, value):
    about = read_state(whole)[1]
    found = asked(**dict.fromkeys(("text", "data", "unit", "amount", "validations")))
    with pytest.raises(RunError, match="its state does not say how the run was begun"):
        resumed(found, {"terms": about["terms"] | {name: value}})
    assert resumed(found, about).seed == 0


@pytest.mark.parametrize(
    "tensors, about, message",
    [
        ({}, {"tokens": -1}, "does not say how far the run is"),
        ({}, {"best": "low"}, "does not say how far the run is"),
        ({}, {"ended": "\x1b[2J"}, "does not say how far the run is"),
        ({"losses": torch.zeros(STEPS + 1, dtype=torch.float64)}, {}, "does not say how far the run is"),
        ({"losses": torch.zeros(2, 2)}, {}, "no losses"),
        ({"random.cpu": torch.zeros(3)}, {}, "random numbers"),
        ({"optimizer.0.embed.weight.exp_avg": torch.zeros(3, 3)}, {}, "another shape of optimizer.0.embed.weight"),
        ({"optimizer.7.embed.weight.exp_avg": torch.zeros(3, 3)}, {}, "of which this recipe knows nothing"),
        ({"model.embed.weight": torch.zeros(3)}, {}, "another shape of embed.weight"),
    ],
)
def test_a_state_that_cannot_be_gets_one_line(asked, whole, tmp_path, tensors, about, message):
    there = read_state(whole)
    write_state(tmp_path, there[0] | tensors, there[1] | about)
    (tmp_path / "lock").unlink(missing_ok=True)
    with pytest.raises((RunError, CheckpointError), match=message):
        run(Asked(**vars(asked(resume=True)) | {"out": tmp_path}), ALONE)


def test_a_folder_with_something_in_it_is_not_written_over(asked, whole):
    with pytest.raises(RunError, match="the folder is not empty; --resume goes on"):
        run(Asked(**vars(asked()) | {"out": whole}), ALONE)


def test_two_processes_do_not_train_in_one_folder(asked):
    def again():
        with pytest.raises(RunError, match="another process trains there"):
            run(asked(resume=True), ALONE)

    run(asked(), ALONE, At(7, again))


def test_what_goes_wrong_under_the_lock_is_not_put_down_to_it(tmp_path):
    with pytest.raises(BlockingIOError), locked(tmp_path):
        raise BlockingIOError


def test_data_that_changed_are_not_gone_on_with(asked, words, tmp_path):
    other = tmp_path / "words"
    other.mkdir()
    for path in Path(words).iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(Stopped):
        run(asked(data=str(other)), ALONE, At(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    (other / "more.txt").write_text("a few more words")
    with pytest.raises(RunError, match="not those that this run was begun with"):
        run(asked(data=str(other), resume=True), ALONE)


def test_the_vocabulary_must_hold_the_tokenizer(asked):
    with pytest.raises(
        RunError, match="the tokenizer has 256 tokens, and the genome's vocabulary 100: --set vocab=256"
    ):
        run(asked(text=GENOME.replace("vocab = 256", "vocab = 100")), ALONE)


def test_lengths_are_kept_to(module):
    tokens = plan_length(module, Length(256 * 10, "tokens", token=1.0), 64)
    steps = plan_length(module, Length(10, "steps", step=1.0), 64)
    assert len(tokens) == len(steps) == 10
    assert [s.progress for s in steps] == pytest.approx([k / 10 for k in range(10)])
    module.context = lambda t: 16 if t < 0.5 else 64
    timed = plan_length(module, Length(100.0, "seconds", token=0.01, reach=0.0005), 64)
    assert math.isclose(sum(s.tokens * (0.01 + 0.0005 * s.context) for s in timed), 100, rel_tol=0.1)


def test_validations_are_even_and_the_last_step_has_one():
    assert validation_steps(24, 4) == {6, 12, 18, 24}
    assert validation_steps(10, 3) == {4, 7, 10}
    assert validation_steps(3, 10) == {1, 2, 3}
