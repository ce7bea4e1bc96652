"""Every genome of a single mechanism trains, decodes, costs what it says, sees no future, and stands alone."""

import argparse
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import Program, all_units
from foundry.dsl.source import resource_folder
from foundry.train.loop import train

torch.set_num_threads(1)

ROOMS = ("attention", "positions", "norms", "channels", "residual", "heads", "recipes")
FOLDER = resource_folder("genomes")
GENOMES = [f"{room}/{path.stem}" for room in ROOMS for path in sorted((FOLDER / room).glob("*.genome"))]
TEXT = np.frombuffer(Path(argparse.__file__).read_bytes(), np.uint8)  # Python, as proxies train on
LARGEST = 300_000  # parameters
STEPS, TOKENS, CONTEXT = 50, 256, 64


def source(name: str) -> str:
    return (FOLDER / f"{name}.genome").read_text("utf-8")


@dataclass(frozen=True)
class Trained:
    """A genome after 50 small steps. losses: bits per byte. reached: parameters that had a gradient."""

    program: Program
    module: ModuleType
    model: nn.Module
    losses: tuple[float, ...]
    diverged: str
    reached: frozenset[str]

    @property
    def routed(self) -> bool:
        """Whether experts compute groups of tokens, whose size changes the rounding of a matrix product."""
        return any(node.op == "experts" for unit in all_units(self.program) for node in unit.nodes)


@pytest.fixture(scope="module", params=GENOMES)
def trained(request) -> Trained:
    program = load_program(source(request.param))
    module = load(emit(program))
    module.BATCH = TOKENS
    model = module.Model()
    model.initialise(0)
    reached: set[str] = set()

    def note(step, loss):
        reached.update(name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any()))

    done = train(
        module,
        model,
        TEXT,
        compute=STEPS * TOKENS,
        compute_per_token=lambda context: 1.0,
        seed=0,
        max_context=CONTEXT,
        on_step=note,
    )
    return Trained(program, module, model.eval(), done.losses, done.diverged, frozenset(reached))


def sample(tokens: int) -> Tensor:
    return torch.from_numpy(TEXT[1000 : 1000 + tokens].astype(np.int64))[None]


@pytest.mark.parametrize("name", GENOMES)
def test_it_checks_clean_is_formatted_and_begins_with_what_it_is(name):
    text = source(name)
    assert check(text).diagnostics == ()
    assert format_genome(parse(text)) == text
    assert text.startswith("# ")


def test_no_two_say_the_same():
    hashes = {canonical_hash(load_program(source(name))): name for name in GENOMES}
    assert sorted(hashes.values()) == sorted(GENOMES)


def test_it_trains_on_bytes_without_trouble(trained):
    assert trained.diverged == ""
    assert len(trained.losses) == STEPS
    assert np.isfinite(trained.losses).all()
    assert np.mean(trained.losses[-5:]) < 0.75 * trained.losses[0]


def test_every_parameter_learns(trained):
    assert {name for name, _ in trained.model.named_parameters()} - trained.reached == set()


def test_it_has_as_many_parameters_as_the_cost_model_says(trained):
    count = sum(p.numel() for p in trained.model.parameters())
    assert cost(trained.program).parameters == count <= LARGEST


@torch.no_grad()
def test_decoding_with_the_cache_equals_the_full_pass(trained):
    tokens = sample(40)
    full = trained.model(tokens)
    for pieces in ([1] * 40, [27, 13]):
        past = trained.module.Past()
        found = torch.cat([trained.model(piece, past) for piece in tokens.split(pieces, 1)], 1)
        torch.testing.assert_close(found, full, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_later_tokens_change_no_earlier_logit(trained):
    tokens = sample(40)
    changed = tokens.clone()
    changed[:, 25:] = (changed[:, 25:] + 17) % 256
    before, after = trained.model(tokens), trained.model(changed)
    if trained.routed:
        torch.testing.assert_close(after[:, :25], before[:, :25], rtol=1e-5, atol=1e-5)
    else:
        assert torch.equal(after[:, :25], before[:, :25])
    assert not torch.equal(after[:, 25:], before[:, 25:])


ALONE = """
import importlib.util, pathlib, sys, traceback
sys.modules["foundry"] = None  # importing it fails
import torch
torch.set_num_threads(1)
for file in sorted(pathlib.Path("alone").glob("*.py")):
    try:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.BATCH = 128
        module.main("train", "--steps", "2", "text")
        model = module.Model()
        model.load_state_dict(torch.load("model.pt", weights_only=True))
        made = module.generate(model.eval(), torch.tensor([[84, 104, 101]]), 5)
        assert made.shape == (1, 8)
        print("alone:", file.stem)
    except Exception:
        traceback.print_exc()
"""


def test_the_emitted_files_train_and_generate_with_nothing_but_torch(tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "text").write_bytes(TEXT.tobytes())
    for name in GENOMES:
        (tmp_path / "alone" / f"{name.replace('/', '-')}.py").write_text(emit(load_program(source(name))), "utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    stood = {line.removeprefix("alone: ") for line in done.stdout.splitlines() if line.startswith("alone: ")}
    assert stood == {name.replace("/", "-") for name in GENOMES}, done.stderr


def test_the_page_of_mechanisms_has_them_all_as_they_are():
    folder = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("mechanisms_page", folder / "mechanisms.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    page = (folder / "mechanisms.md").read_text("utf-8")
    assert writer.page(page) == page, "python docs/mechanisms.py writes it anew"
    for name in GENOMES:
        assert page.count(f"(../genomes/{name}.genome) |") >= 1
