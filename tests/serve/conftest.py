"""A tiny model that writes nonsense in letters and signs, and servers of it on free ports."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES
from foundry.dsl.check import load_program
from foundry.serve.app import create_app
from foundry.serve.limits import Limits
from foundry.serve.served import Served
from foundry.serve.server import LOCAL, listen, make_server, url
from foundry.train.checkpoint import read_checkpoint, weights, write_model

GENOME = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, pos = rope(theta = 1e4));
  x + glu(rmsnorm(x), hidden = 64, act = silu)
};

model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 0);

recipe = train(optimizer = adamw(lr = 1e-2), schedule = warmup_cosine, batch = 512, transfer = 32);
"""


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """A checkpoint of bytes whose next token, a printable one, depends wildly on all that it has read."""
    model = load(emit(load_program(GENOME, "tiny"))).Model()
    model.initialise(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3
        printable = torch.arange(256)[:, None].clamp(32, 126) == torch.arange(256)[:, None]
        model.unembed.weight *= printable
    place = tmp_path_factory.mktemp("serve") / "tiny"
    write_model(place, text=GENOME, weights=weights(model), tokenizer=BYTES, config={})
    return place


@pytest.fixture(scope="package")
def checkpoint(folder):
    return read_checkpoint(folder)


@pytest.fixture(scope="package")
def model(checkpoint):
    return checkpoint.build()


@pytest.fixture(scope="package")
def server(checkpoint, model):
    """A server with the usual limits; its `url` and what is `served`."""
    with running(Served("tiny", checkpoint, model)) as found:
        yield found


@pytest.fixture(scope="package")
def narrow(checkpoint, slow):
    """A server with a slow model, small limits and a key."""
    limits = Limits(context=100_000, body=2000, requests=2)
    with running(Served("tiny", checkpoint, slow, limits), key="sesame") as found:
        yield found


@pytest.fixture
def hasty(checkpoint, slow):
    """A server with a slow model and no time."""
    with running(Served("tiny", checkpoint, slow, Limits(context=100_000, seconds=0.3))) as found:
        yield found


@pytest.fixture(scope="package")
def slow(model):
    """The model with a hundredth of a second for each token: one that is still at it when something happens."""

    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, past=None):
            time.sleep(0.01)
            return self.model(tokens, past)

    return Slow()


@contextmanager
def running(served, key=None):
    """A real server in a thread of its own."""
    with listen("127.0.0.1", 0) as opened:
        server = make_server(create_app(served, key=key, hosts=() if key else LOCAL))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield SimpleNamespace(url=url(opened), served=served)
        finally:
            server.should_exit = True
            thread.join()
