"""The command line of an emitted file: train on the bytes of files, and generate."""

import sys
from typing import Any

import torch

from foundry.compiler.mechanisms.generate import LONGEST, generate

VOCAB, BATCH, CLIP = 256, 1024, 1.0
Model: Any = None
loss: Any = None
schedule: Any = None
context: Any = None
optimizers: Any = None


def train(model, data, steps, seed=0):
    """Train on `data`, a tensor of bytes: random windows of it, as many as make up BATCH tokens."""
    generator = torch.Generator().manual_seed(seed)
    steppers = optimizers(model)
    for step in range(steps):
        t = step / steps
        length = max(1, min(int(context(t)), len(data) - 1, LONGEST or len(data)))
        last = len(data) - length
        starts = torch.randint(last, (max(1, BATCH // length), 1), generator=generator)
        window = data[starts + torch.arange(length + 1)].long()
        value = loss(model(window[:, :-1]), window[:, 1:]).mean()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP or torch.inf)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = group["peak_lr"] * schedule(t)
            stepper.step()
            stepper.zero_grad()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step}: loss {value.item():.4f}", flush=True)


def read_weights(model, file):
    """Take the weights in a file; end the program with one line where they are not the model's."""
    try:
        model.load_state_dict(torch.load(file, weights_only=True))
        if not all(weight.isfinite().all() for weight in model.state_dict().values()):
            raise ValueError("some are not finite")
    except Exception as error:  # torch.load raises almost anything when a file is damaged
        reason = (str(error) or type(error).__name__).splitlines()[0]
        sys.exit(f"{file}: not the weights of this model ({reason})")


def main(verb="", *arguments):
    """`train [--steps N] FILE...` writes model.pt; `generate WEIGHTS [PROMPT]` goes on from the prompt."""
    steps, files = (int(arguments[1]), arguments[2:]) if arguments[:1] == ("--steps",) else (1000, arguments)
    model = Model()
    model.initialise(0)
    if VOCAB < 256:
        sys.exit(f"a vocabulary of {VOCAB} does not hold the 256 bytes")
    if verb == "train" and files:
        text = bytearray()
        for file in files:
            with open(file, "rb") as stream:
                text += stream.read()
        train(model, torch.frombuffer(text, dtype=torch.uint8), steps)
        torch.save(model.state_dict(), "model.pt")
    elif verb == "generate" and arguments:
        read_weights(model, arguments[0])
        prompt = torch.tensor([list(" ".join(arguments[1:]).encode() or b"\n")])
        print(bytes(t % 256 for t in generate(model, prompt, 200)[0].tolist()).decode(errors="replace"))
    else:
        sys.exit(__doc__)
