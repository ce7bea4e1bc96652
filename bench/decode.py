"""Greedy decoding of a 135M llama against transformers' `generate`, with the same weights, in float32 on a processor.

    python bench/decode.py [--pairs 5] [--layers 30] [--prompt 128] [--tokens 128] [--threads 1]

The sizes are SmolLM2-135M's: 30 layers of width 576, 9 heads and 3 of keys, hidden 1536, 49152 tokens, tied; the
weights are random. Both decode the same prompts in one process, in turn, as their users would: `decode` on a model
that `for_decoding` laid out, as `foundry generate` does it, and `generate` with its defaults for greedy decoding. The
tokens must be equal, but where rounding decides between two that are nearly as likely. Prints the median of the paired
ratios theirs / ours, and their quartiles; above 1, ours is faster.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "families"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from torch import Tensor
from weights import translate

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.decode.decoder import decode
from foundry.decode.layout import for_decoding
from foundry.decode.sampling import Sampling
from foundry.dsl.check import load_program

FAMILY = "llama3_2_1b"  # the blocks are the same; the weights' names follow from it
GENOME = """@foundry(1);

norm = rmsnorm(eps = 1e-5);

block(x) = {
  x = x + attention(norm(x), heads = 9, kv_heads = 3, pos = rope(theta = 1e5));
  x + glu(norm(x), hidden = 1536, act = silu)
};

model = embed(vocab = 49152, width = 576) >> LAYERS * block >> norm >> unembed(tied = 1);
"""
Continue = Callable[[Tensor, int], Tensor]  # a prompt (T,) and a count to the new tokens (count,)


class AnyIds:
    """A tokenizer of 49152 ids that never ends a text, so that every token is decoded."""

    vocab, end, begin, hash = 49152, None, None, "bench"

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
    for_decoding(own)

    def run(prompt: Tensor, count: int) -> Tensor:
        sampling = Sampling(temperature=0, max_tokens=count)
        return torch.tensor([e.id for e in decode(module, own, [prompt.tolist()], [sampling], AnyIds())])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pairs", 5), ("layers", 30), ("prompt", 128), ("tokens", 128), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()

    model = peer(args.layers)
    sides = {"ours": ours(model, args.layers), "theirs": theirs(model)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():  # not measured
        run(torch.randint(49152, (args.prompt,)), 2)
    alike = 0
    for turn in range(args.pairs):
        prompt, found = torch.randint(49152, (args.prompt,)), {}
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
    main()
