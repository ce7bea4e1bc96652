"""Learning rates that hold across widths: which weight gets which factor, and that steps are as long at every width."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from foundry.compiler.compare import describe_difference
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.compiler.scale.search import Asked, scale
from foundry.compiler.transfer import matrices
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program

torch.set_num_threads(1)

GENOMES = Path(__file__).parents[2] / "genomes"
LLAMA = (GENOMES / "llama.genome").read_text()
ROOMS = sorted(path for path in GENOMES.glob("*/*.genome") if path.parent.name != "families")


def genome(layer, width=64, transfer=64, optimizer="adamw(lr = 0.01, decay = 0.1)", tied=1, position=""):
    return (
        f"@foundry(1); layer(x) = {layer};"
        f"model(tokens) = embed(tokens, vocab = 256, width = {width}){position} >> 2 * layer >> rmsnorm"
        f" >> unembed(tied = {tied});"
        f"recipe = train(optimizer = {optimizer}, transfer = {transfer});"
    )


def with_transfer(text, transfer):
    """A shipped genome with this argument in its recipe."""
    text = re.sub(r" *transfer = \d+,?\n?", "", text)
    return re.sub(r"recipe = train\(", f"recipe = train(transfer = {transfer}, ", text)


def stepped(text):
    """A model of a genome, and the group that steps each of its parameters, by name."""
    module = load(emit(load_program(text)))
    model = module.Model()
    model.initialise(0)
    groups = {id(p): group for o in module.optimizers(model) for group in o.param_groups for p in group["params"]}
    assert sum(len(g["params"]) for o in module.optimizers(model) for g in o.param_groups) == len(groups)
    return module, model, {name: groups[id(p)] for name, p in model.named_parameters()}


def rates(text):
    """The peak rate of each parameter, by name without the number of its layer."""
    return {re.sub(r"\.\d+\.", ".", name): group["peak_lr"] for name, group in stepped(text)[2].items()}


# ---- which weight gets which factor -----------------------------------------------------------------------------


def test_the_rate_of_a_matrix_goes_down_with_its_inputs_and_nothing_elses_does():
    found = rates(genome("x + mlp(rmsnorm(x), hidden = 256, bias = 1)", width=128, tied=0))
    assert found == {
        "embed.weight": 0.01,
        "layers.rmsnorm.weight": 0.01,
        "layers.mlp.up.weight": pytest.approx(0.01 * 64 / 128),
        "layers.mlp.up.bias": 0.01,
        "layers.mlp.down.weight": pytest.approx(0.01 * 64 / 256),
        "layers.mlp.down.bias": 0.01,
        "rmsnorm.weight": 0.01,
        "unembed.weight": pytest.approx(0.01 * 64 / 128),
    }


def test_a_tied_output_is_an_embedding():
    found = rates(genome("x + mlp(rmsnorm(x), hidden = 64)", width=128, tied=1))
    assert found["embed.weight"] == 0.01
    assert "unembed.weight" not in found


def test_filters_and_tables_of_positions_keep_their_rate():
    attention = "x + attention(rmsnorm(x), heads = 4, short = conv(kernel = 3))"
    found = rates(genome(attention, width=128, position=" + embed(position(tokens), vocab = 128, width = 128)"))
    assert {rate for name, rate in found.items() if "conv" in name or "positions" in name} == {0.01}
    assert sum("conv" in name for name in found) == 3
    assert found["layers.attention.q.weight"] == pytest.approx(0.01 * 64 / 128)


def test_experts_and_their_router_go_by_their_own_inputs():
    layer = "{ h = rmsnorm(x); x + experts(h, softmax_router(h, count = 3, active = 2), glu(hidden = 32)) }"
    found = rates(genome(layer, width=128))
    factors = {name.rsplit(".", 2)[-2]: rate / 0.01 for name, rate in found.items() if "experts" in name}
    assert factors == {"gate": pytest.approx(0.5), "up": pytest.approx(0.5), "down": pytest.approx(2.0)}
    routers = [rate for name, rate in found.items() if "rout" in name]
    assert routers == [pytest.approx(0.005)]


def test_muons_matrices_scale_by_themselves_and_its_adamw_by_inputs():
    found = rates(
        genome("x + mlp(rmsnorm(x), hidden = 256)", 128, optimizer="muon(lr = 0.02, adamw_lr = 0.01)", tied=0)
    )
    assert found["layers.mlp.up.weight"] == found["layers.mlp.down.weight"] == 0.02
    assert found["embed.weight"] == 0.01
    assert found["unembed.weight"] == pytest.approx(0.01 * 64 / 128)


@pytest.mark.parametrize("optimizer", ["adamw(lr = 0.01, decay = 0.1)", "lion(lr = 0.01, decay = 0.1)"])
def test_a_step_takes_the_same_share_of_every_matrix_away(optimizer):
    groups = stepped(genome("x + mlp(rmsnorm(x), hidden = 256)", 128, optimizer=optimizer, tied=0))[2]
    shares = {name: g["peak_lr"] * g["weight_decay"] for name, g in groups.items() if g["weight_decay"]}
    assert len(shares) == 2 * 2 + 2  # up and down in two layers, the embedding and the output
    assert list(shares.values()) == pytest.approx([0.001] * len(shares))


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_graph_and_the_emitted_file_agree_on_every_matrix(path):
    text = with_transfer(path.read_text(), 48) if "recipe" in path.read_text() else ""
    text = text or path.read_text() + "\nrecipe = train(transfer = 48);"
    program = load_program(text)
    _, model, groups = stepped(text)
    settings = program.recipe.optimizer.settings
    usual = float(settings.get("adamw_lr", settings["lr"]))
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    emitted = Counter(
        round(groups[name]["peak_lr"] / usual, 9)
        for name, p in model.named_parameters()
        if id(p) in linear and "momentum" not in groups[name]
    )
    derived = Counter()
    for matrix in matrices(program):
        derived[round(matrix.factor, 9)] += matrix.copies
    assert emitted == derived


# ---- why ----------------------------------------------------------------------------------------------------------


def moved(width, transfer):
    """How far the first step moves what the second layer gives, as a root mean square."""
    layer = "x + mlp(rmsnorm(x), hidden = width(x), act = relu)"
    module, model, _ = stepped(genome(layer, width, transfer, "adamw(lr = 0.001, decay = 0)", tied=0))
    tokens = torch.randint(256, (8, 33), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(tokens[:, :-1])
    module.loss(model(tokens[:, :-1]), tokens[:, 1:]).mean().backward()
    for optimizer in module.optimizers(model):
        optimizer.step()
    with torch.no_grad():
        return float((model(tokens[:, :-1]) - before).square().mean().sqrt())


def test_the_first_step_is_as_long_at_every_width():
    """The coordinate check of Yang et al. 2022, appendix D.1, on the logits."""
    plain = [moved(width, 0) for width in (64, 128, 256, 512)]
    fair = [moved(width, 64) for width in (64, 128, 256, 512)]
    assert plain[-1] / plain[0] > 4
    assert 0.67 < fair[-1] / fair[0] < 1.5


# ---- the language -------------------------------------------------------------------------------------------------


def test_without_it_nothing_changes():
    plain = with_transfer(LLAMA, 0)
    assert canonical_hash(load_program(plain)) == "9f46481726976b09"  # as it was before there was a transfer
    assert "by_inputs" not in emit(load_program(plain))


def test_it_is_part_of_what_a_genome_means():
    hashes = {canonical_hash(load_program(with_transfer(LLAMA, width))) for width in (0, 32, 64)}
    assert len(hashes) == 3
    assert describe_difference(with_transfer(LLAMA, 0), with_transfer(LLAMA, 64)) == ["transfer: 0 → 64"]


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("-1", "F306", "transfer of train is -1, less than 0"),
        ("0.5", "F302", "transfer of train is 0.5, which is no whole number"),
        ("1e9", "F306", "more than 16777216"),
        ("adamw", "F303", "transfer"),
    ],
)
def test_other_values_are_refused(value, code, message):
    (found, *_) = check(f"@foundry(1); model = embed(vocab = 256, width = 8) >> unembed();"
                        f"recipe = train(transfer = {value});").diagnostics  # fmt: skip
    assert found.code == code
    assert message in found.message


def test_a_genome_at_another_size_keeps_it_and_its_rates_follow():
    scaled = scale(with_transfer(LLAMA, 64), Asked(width=128))
    assert "transfer = 64" in scaled.text
    assert rates(scaled.text)["layers.attention.q.weight"] == pytest.approx(5e-3 * 64 / 128)


def test_the_emitted_file_says_the_factors():
    text = emit(load_program(genome("x + mlp(rmsnorm(x), hidden = 256)", width=128)))
    assert "# Rates are for matrices of 64 inputs: times 0.5 with 128, 0.25 with 256." in text
    many = " + ".join(f"mlp(x, hidden = {hidden})" for hidden in range(8, 200, 8))
    assert max(len(line) for line in emit(load_program(genome(many))).splitlines()) <= 120
