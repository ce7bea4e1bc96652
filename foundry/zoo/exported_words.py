"""What is written beside an exported model: load.py and README.md."""

from __future__ import annotations

LOADER = '''"""The model in this folder with its weights; needs torch alone.

    from load import read
    model = read()                      # logits (B, T, vocabulary) = model(tokens), int64 (B, T)

    python load.py 72 101 108           print the numbers of the tokens that follow these
"""

import json
import sys
from pathlib import Path

import torch
from model import Model, generate

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def tensors(path):
    """Name and values of each tensor in a safetensors file, one at a time."""
    with open(path, "rb") as file:
        begin = 8 + (length := int.from_bytes(file.read(8), "little"))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, said in header.items():
            start, end = said["data_offsets"]
            file.seek(begin + start)
            data = torch.frombuffer(bytearray(file.read(end - start)), dtype=KINDS[said["dtype"]])
            yield name, data.view(said["shape"])


@torch.no_grad()
def read(folder=Path(__file__).parent):
    """The model for inference, in float32."""
    model = Model()
    own = model.state_dict()
    left = {tensor.data_ptr() for tensor in own.values()}
    for name, values in tensors(Path(folder) / "model.safetensors"):
        own[name].copy_(values)
        left.discard(own[name].data_ptr())
    if left:
        sys.exit("model.safetensors lacks some of the weights")
    return model.eval()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    prompt = torch.tensor([[int(number) for number in sys.argv[1:]]])
    print(*generate(read(), prompt, 32, temperature=0)[0, prompt.size(1) :].tolist())
'''

RUN = {
    "py": """`model.py` is the model, `model.safetensors` its weights, `load.py` brings them together. They need torch
alone.

```python
import torch
from load import read
from model import generate

model = read()
tokens = torch.tensor([TOKENS])
print(model(tokens).shape)  # (1, tokens, vocabulary)
print(generate(model, tokens, 20, temperature=0))
```
""",
    "torch-export": """`model.pt2` is a graph of `torch.export` with its weights, for any batch and length.

```python
import torch

model = torch.export.load("model.pt2").module()
logits = model(torch.tensor([TOKENS]))  # (1, tokens, vocabulary)
```
""",
    "onnx": """`model.onnx` takes `tokens`, int64 (batch, length), and gives `logits`, float32 (batch, length,
vocabulary).

```python
import numpy
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {"tokens": numpy.array([TOKENS])})
```
""",
}


def readme(kind: str, tokenizer: str, longest: int | None) -> str:
    """How to run an export. kind: py, torch-export or onnx. tokenizer: its kind; bytes are their own numbers."""
    if tokenizer == "bytes":
        tokens, said = 'list("Once upon".encode())', "Tokens are the bytes of UTF-8."
    else:
        tokens = 'Tokenizer.from_file("tokenizer.json").encode("Once upon").ids'
        said = "Text becomes tokens by `tokenizer.json`: `from tokenizers import Tokenizer`."
    limit = f" At most {longest:,} tokens at a time." if longest is not None else ""
    return f"# An exported model\n\n{RUN[kind].replace('[TOKENS]', f'[{tokens}]')}\n{said}{limit}\n"
