"""llama.cpp as a peer: what it makes of a GGUF file, in float32 as far as it goes."""

import numpy as np
import pytest


def opened(path, context=256):
    """A model with the logits of every position."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="the peer for GGUF files: pip install llama-cpp-python")
    return llama_cpp.Llama(
        str(path), n_ctx=context, n_batch=context, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False,
        type_k=0, type_v=0, flash_attn=False, n_gpu_layers=0,
    )  # fmt: skip


def logits(peer, ids):
    """(T, vocabulary) of a text."""
    peer.reset()
    peer.eval(list(ids))
    return np.array(peer.scores[: len(ids)])


def greedy(peer, ids, count):
    """The likeliest next token, `count` times."""
    peer.reset()
    peer.eval(list(ids))
    new = []
    for _ in range(count):
        new.append(int(np.argmax(peer.scores[peer.n_tokens - 1])))
        peer.eval(new[-1:])
    return new
