"""Several processes: they compute what one would, and leave a checkpoint that any number of them goes on from."""

import shutil
from importlib import import_module

import pytest
import torch
from safetensors.torch import load_file
from several_processes import work
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from foundry.train.checkpoint import read_checkpoint, read_state
from foundry.train.devices import ALONE, DeviceError, blocks, machine
from foundry.train.run import run
from foundry.train.terms import Asked

GENOME = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2);
  x + glu(rmsnorm(x), hidden = 32)
};

model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = OPTIMIZER, batch = 160, context = 32);
"""
OPTIMIZERS = {"adamw": "adamw(lr = 5e-3)", "muon": "muon(lr = 1e-2)", "lion": "lion(lr = 1e-3)"}
NAMES = [f"{name}-{shard}" for name in OPTIMIZERS for shard in ("ddp", "fsdp")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs: `adamw` and so on by one process, `adamw-ddp` and so on by two, which share five rows."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setattr("foundry.train.run.peak_flops", lambda *_: None)  # which takes longer than a run
    import_module("torch.distributed.fsdp")  # once, and not in each process
    words, folder = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("runs")
    for number in range(300):
        (words / f"{number}.txt").write_text(" ".join(f"word{(number * k) % 97}" for k in range(1, 200)))
    torch.set_num_threads(1)
    files = []
    for name, optimizer in OPTIMIZERS.items():
        text = GENOME.replace("OPTIMIZER", optimizer)
        files.append(folder / f"{name}.genome")
        files[-1].write_text(text)
        run(Asked(folder / name, text, data=str(words), unit="steps", amount=8, validations=2, sample=0), ALONE)
    more = shutil.copytree(words, tmp_path_factory.mktemp("more") / "words")
    (more / "300.txt").write_text("a few more words")
    # torchrun's own launcher, which forks this process here: torch is imported once
    standalone = {"run_id": str(folder), "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "max_restarts": 0}
    elastic_launch(LaunchConfig(1, 1, 2, start_method="fork", **standalone), work)(folder, words, more, files)
    yield folder
    patch.undo()


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_two_processes_equal_those_of_one(runs, name):
    alone, shared = (read_state(runs / which)[0]["losses"] for which in (name.partition("-")[0], name))
    assert len(shared) == (5 if name == "adamw-fsdp" else 8)  # one of them was interrupted
    rounding = 5e-4 if name.startswith("lion") else 2e-5  # Lion steps by signs, and those of small numbers turn
    assert torch.allclose(shared, alone[: len(shared)], atol=rounding, rtol=0)


def test_a_checkpoint_of_two_processes_goes_on_in_one(runs):
    run(Asked(runs / "adamw-fsdp", resume=True, sample=0), ALONE)
    alone, shared = (load_file(runs / name / "state.safetensors") for name in ("adamw", "adamw-fsdp"))
    assert torch.allclose(shared["losses"], alone["losses"], atol=2e-5, rtol=0)
    for name in alone:
        if name.startswith(("model.", "optimizer.")):
            assert torch.allclose(shared[name], alone[name], atol=1e-3), name


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_the_same_kind_of_folder_whoever_wrote_it(runs, name):
    read_checkpoint(runs / name).build()
    alone, shared = (load_file(runs / which / "state.safetensors") for which in (name.partition("-")[0], name))
    assert {n: t.shape for n, t in alone.items() if n != "losses"} == {
        n: t.shape for n, t in shared.items() if n != "losses"
    }


def test_blocks_are_the_members_of_the_outermost_lists(module):
    model = module.Model()
    assert blocks(model) == list(model.blocks)
    assert blocks(torch.nn.Linear(2, 2)) == []


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(DeviceError, match="start them with torchrun"), machine("cpu", shard="fsdp"):
        pass
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA device"), machine("cuda"):
            pass
    with machine("cpu", "bfloat16") as here:
        assert here.dtype is torch.bfloat16 and here.first
    with machine("auto") as here:
        assert here.dtype is None or here.device.type == "cuda"
