"""GGUF files: every architecture computes in llama.cpp what it computes here, comes back unchanged, and no number in a
file is believed."""

import struct
import weakref

import numpy as np
import pytest
import torch
from parity import randomise
from zoo_llama_cpp import logits, opened

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.bpe import train_tokenizer
from foundry.data.gguf_vocabulary import read_gguf_tokenizer
from foundry.data.tokenizer import BYTES
from foundry.dsl.canonical import architecture_hash
from foundry.dsl.check import load_program
from foundry.train.checkpoint import read_checkpoint, weights, write_model
from foundry.zoo import gguf_file
from foundry.zoo.failure import ZooError
from foundry.zoo.gguf_arrive import from_gguf
from foundry.zoo.gguf_depart import to_gguf
from foundry.zoo.gguf_file import NAMED, packed, read_gguf, write_gguf
from foundry.zoo.gguf_keys import config_of, keys_of
from foundry.zoo.gguf_names import gguf_moves
from foundry.zoo.gguf_rotary import rope_tensors
from foundry.zoo.gguf_tokens import token_keys

VOCAB = 288  # more than the tokenizers have
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
}  # fmt: skip
SCALED = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = SCALED | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "head_dim": 16, "sliding_window": 8}
CASES = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1}),
    "llama-3.1": ("llama", {"rope_parameters": LLAMA3, "head_dim": 24}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    "llama-yarn": ("llama", {"rope_parameters": SCALED | {"rope_type": "yarn"}}),
    "mistral": ("mistral", {"sliding_window": None, "rope_theta": 1e6}),
    "olmo2": ("olmo2", {"num_key_value_heads": 2}),
    "gpt2": ("gpt2", {"vocab_size": VOCAB, "n_positions": 128, "n_embd": 64, "n_head": 4, "n_layer": 2}),
    "qwen2": ("qwen2", {"num_key_value_heads": 2}),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "gemma2": ("gemma2", GEMMA | {
        "tie_word_embeddings": True, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }),
    "gemma3": ("gemma3", GEMMA | {
        "model_type": "gemma3_text", "tie_word_embeddings": True, "num_hidden_layers": 7,
        "layer_types": [*5 * ["sliding_attention"], "full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    }),
    "phi3": ("phi3", {}),
    "phi3-partial": ("phi3", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "phi3-longrope": ("phi3", {
        "max_position_embeddings": 512, "original_max_position_embeddings": 256, "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 256, "factor": 2.0,
            "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "long_factor": [2.0] * 8,
        },
    }),
}  # fmt: skip
LENGTH = 60  # beyond the windows, and beyond where stretched positions part from plain ones


def small(name, folder, tokenizer=BYTES, **fields):
    """A checkpoint with random weights of one of the cases."""
    kind, more = CASES[name]
    module = pytest.importorskip(f"foundry.zoo.families.{kind}", reason=f"the family {kind} is not there yet")
    config = {"model_type": kind, **({} if kind == "gpt2" else SIZES), **more, **fields}
    text = module.FAMILY.genome(config)
    model = load(emit(load_program(text))).Model()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in weights(model).items():
            noise = torch.randn(tensor.shape, generator=generator)
            scale = 1.5 / tensor.shape[-1] ** 0.5 if tensor.dim() > 1 and "embed" not in key else 0.3
            tensor.copy_(tensor + scale * noise if tensor.dim() == 1 else scale * noise)
    write_model(folder, text=text, weights=weights(model), tokenizer=tokenizer, config={"source": config})
    return read_checkpoint(folder)


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_computes_the_same(name, tmp_path):
    """Its GELU is a table in 16 bits, its cosines are those of one number after another."""
    checkpoint = small(name, tmp_path / "a")
    path = to_gguf(checkpoint, tmp_path / "model.gguf", "F32")
    ids = torch.randint(256, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    here = checkpoint.build()(ids)[0]
    there = torch.tensor(logits(opened(path), ids[0].tolist()))
    assert here.std() > 0.5
    assert (here - there).abs().max() < (1e-2 if name[:3] in ("gpt", "gem") else 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_keys_and_names_are_those_of_transformers(name, tmp_path):
    """Without our model in between: its tensors go into a file, and come out as they were."""
    transformers = pytest.importorskip("transformers")
    kind, more = CASES[name]
    config = {"model_type": kind, **({} if kind == "gpt2" else SIZES), **more}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    said = transformers.AutoConfig.for_model(**config | ids)
    torch.manual_seed(0)
    peer = transformers.AutoModelForCausalLM.from_config(said, attn_implementation="eager").float().eval()
    randomise(peer)
    held = peer.state_dict()
    if said.tie_word_embeddings:
        held.pop("lm_head.weight")
    config = {key: value for key, value in said.to_dict().items() if value is not None}
    keys = keys_of(config)
    moves = gguf_moves(keys["general.architecture"], config, list(held))
    tensors = {move.theirs[0]: move.way.back([held[move.ours[0]]])[0] for move in moves}
    tensors |= {} if kind == "gpt2" else rope_tensors(config, config.get("head_dim", 16))
    infos = {name: (NAMED["F32"], tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_gguf(tmp_path / "a.gguf", keys | token_keys(BYTES, VOCAB), infos, tensors.__getitem__)
    text = torch.randint(256, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    here, there = peer(text).logits[0], torch.tensor(logits(opened(tmp_path / "a.gguf"), text[0].tolist()))
    assert here.std() > 0.5
    assert (here - there).abs().max() < (1e-2 if name[:3] in ("gpt", "gem") else 1e-4)
    again = read_gguf(tmp_path / "a.gguf")
    back = transformers.AutoConfig.for_model(**config_of(again) | ids)
    other = transformers.AutoModelForCausalLM.from_config(back, attn_implementation="eager").float().eval()
    for move in gguf_moves(again.architecture, config_of(again), list(held)):
        other.state_dict()[move.ours[0]].copy_(move.way.there([again.read(move.theirs[0])])[0])
    assert (other(text).logits[0] - here).abs().max() < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_it_comes_back_unchanged(name, tmp_path):
    """Gemma's norms have a 1 added in the file, which rounds."""
    checkpoint = small(name, tmp_path / "a")
    path = to_gguf(checkpoint, tmp_path, "f32")
    again = read_checkpoint(from_gguf(path, tmp_path / "b"))
    assert architecture_hash(again.program) == architecture_hash(checkpoint.program)
    before, after = weights(checkpoint.build()), weights(again.build())
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        if name.startswith("gemma") and "norm" in key:
            assert torch.allclose(tensor, after[key], atol=1e-6), key
        else:
            assert torch.equal(tensor, after[key]), key


@pytest.mark.parametrize("kind", [kind for kind in NAMED if kind != "F32"])
def test_every_kind_is_read_as_the_gguf_package_reads_it(kind, tmp_path):
    """Random bytes, of which the scales are small numbers."""
    gguf = pytest.importorskip("gguf")
    generator = np.random.default_rng(0)
    held, values = NAMED[kind], generator.standard_normal((3, 512), np.float32)
    number = gguf.GGMLQuantizationType(held.number)
    try:
        raw = gguf.quants.quantize(values, number).view(np.uint8)
    except NotImplementedError:
        raw = generator.integers(0, 60, (3, held.bytes((512,))), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("x", raw, raw_dtype=number)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    found = read_gguf(tmp_path / "a.gguf").read("x")
    assert found.shape == (3, 512)
    assert np.array_equal(found.float().numpy(), gguf.quants.dequantize(raw, number))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q5_1"])
def test_what_is_packed_in_pieces_is_packed_as_a_whole(kind, monkeypatch):
    gguf = pytest.importorskip("gguf")
    monkeypatch.setattr(gguf_file, "AT_ONCE", 96)
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    expected = gguf.quants.quantize(x.numpy(), gguf.GGMLQuantizationType(NAMED[kind].number))
    assert b"".join(packed(x, NAMED[kind])) == expected.tobytes()


# Tokenizers ---------------------------------------------------------------------------------------------------------

TEXTS = ["The cat sees the dog.", "  Zoë hears\n\n\tthe night  ", "猫 😀 12345", "x", "it's don't"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_llama_cpp_cuts_text_alike(kind, text, tmp_path):
    tokenizer = BYTES if kind == "bytes" else train_tokenizer(["the cat saw the dog, the dog saw Zoë " * 9], 273)
    path = to_gguf(small("llama", tmp_path / "a", tokenizer), tmp_path / "model.gguf")
    peer = opened(path)
    assert peer.tokenize(text.encode(), add_bos=True, special=False) == tokenizer.encode(text)
    assert peer.token_eos() == tokenizer.end
    assert read_gguf_tokenizer(path).encode(text) == tokenizer.encode(text)


def test_sentencepiece_comes_back(tmp_path):
    """Scores are made of the order of merges."""
    letters = [*"▁abc", "▁a", "bc", "▁abc"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *letters]
    keys = {
        "model": "llama", "tokens": tokens, "scores": [*259 * [0.0], *4 * [-9.0], -1.0, -2.0, -3.0],
        "token_type": [2, 3, 3, *256 * [6], *7 * [1]], "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0,
    }  # fmt: skip
    write_gguf(tmp_path / "a.gguf", {f"tokenizer.ggml.{k}": v for k, v in keys.items()}, {}, None)
    tokenizer = read_gguf_tokenizer(tmp_path / "a.gguf")
    path = to_gguf(small("llama", tmp_path / "a", tokenizer), tmp_path / "model.gguf")
    again, peer = read_gguf_tokenizer(path), opened(path)
    for text in ("abc", "a bc abcabc", "é abc"):
        assert again.encode(text) == tokenizer.encode(text)
        assert peer.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text)
    assert (again.begin, again.end) == (1, 2)


# What cannot be said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"model_type": "mamba"}, "a model of the type 'mamba'"),
        ({"hidden_act": "relu"}, "the activation is 'relu'"),
        ({"model_type": "mistral", "sliding_window": 16}, "sliding_window is 16"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "rope_type is 'dynamic'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"model_type": "gemma2", "query_pre_attn_scalar": 7}, "query_pre_attn_scalar is 7"),
        ({"model_type": "gpt2", "n_embd": 8, "activation_function": "relu"}, "activation_function is 'relu'"),
    ],
)
def test_a_model_that_llama_cpp_would_compute_otherwise_is_refused(fields, said):
    one_line(lambda: keys_of({"model_type": "llama"} | SIZES | fields), said)


def test_a_model_of_no_family_is_refused(tmp_path):
    checkpoint = small("llama", tmp_path / "a")
    other = checkpoint.text.replace("act = silu", "act = relu2")
    held = weights(checkpoint.build())
    write_model(
        tmp_path / "b", text=other, weights=held, tokenizer=BYTES, config={"source": checkpoint.config["source"]}
    )
    one_line(lambda: to_gguf(read_checkpoint(tmp_path / "b"), tmp_path / "c.gguf"), "of no family that llama.cpp knows")
    one_line(lambda: to_gguf(checkpoint, tmp_path / "c.gguf", "Q3"), "no such kind as 'Q3'")
    assert not (tmp_path / "c.gguf").exists()


# Bad input ----------------------------------------------------------------------------------------------------------


def one_line(run, said):
    with pytest.raises(ZooError) as caught:
        run()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def listed(*tensors, keys=0, data=b"", count=None):
    """A file with entries of tensors: name, shape, number of the kind, place."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors) if count is None else count, keys)
    for name, shape, kind, place in tensors:
        head += struct.pack("<Q", len(name)) + name.encode()
        head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, place)
    return head + bytes(-len(head) % 32) + data


BAD = {
    "no GGUF": (b"PK\x03\x04", "not a GGUF file"),
    "terabytes": (listed(("x", (1 << 20, 1 << 20), 0, 0), data=bytes(64)), "claims the bytes up to 4,398,046,"),
    "more than numbers reach": (listed(("x", (1 << 62, 1 << 62), 0, 0), data=bytes(64)), "it is cut off or damaged"),
    "many tensors": (listed(count=1 << 50), "claims 1,125,899,906,842,624 tensors"),
    "fewer tensors than claimed": (listed(("x", (8,), 0, 0), count=9), "cut short"),
    "overlap": (listed(("x", (16,), 0, 0), ("y", (16,), 0, 32), data=bytes(96)), "y overlaps x"),
    "twice": (listed(("x", (8,), 0, 0), ("x", (8,), 0, 32), data=bytes(64)), "x stands twice"),
    "cut": (listed(("x", (16,), 0, 0), data=bytes(60)), "it is cut off or damaged"),
    "unknown kind": (listed(("x", (256,), 16, 0), data=bytes(66)), "x is quantised as kind 16"),
    "no such kind": (listed(("x", (256,), 99, 0), data=bytes(66)), "x is quantised as kind 99, which"),
    "half a block": (listed(("x", (48,), 8, 0), data=bytes(66)), "rows of 48 numbers, and Q8_0 packs 32"),
    "not aligned": (listed(("x", (8,), 0, 4), data=bytes(66)), "begins at byte 4"),
    "axes": (listed(("x", (1, 1, 1, 1, 1), 0, 0), data=bytes(32)), "x has 5 axes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_claims_what_is_not_there_gets_one_line(name, tmp_path):
    data, said = BAD[name]
    (tmp_path / "bad.gguf").write_bytes(data)
    one_line(lambda: from_gguf(tmp_path / "bad.gguf", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The keys and tensors of a file that is right."""
    folder = tmp_path_factory.mktemp("whole")
    file = read_gguf(to_gguf(small("llama", folder / "a"), folder / "a.gguf", "F32"))
    return file.keys, {name: file.read(name) for name in file.tensors}


@pytest.mark.parametrize(
    "keys, tensors, said",
    [
        ({"general.architecture": "falcon"}, {}, "its architecture is 'falcon'; known here: llama"),
        ({"llama.expert_count": 8}, {}, "llama.expert_count is not known here"),
        ({"llama.block_count": None}, {}, "llama.block_count is missing"),
        ({"llama.block_count": 4}, {}, "the tensor blk.3.attn_norm.weight is missing"),
        (
            {"llama.block_count": 2},
            {},
            "blk.2.attn_norm.weight, blk.2.attn_output.weight and 6 more",
        ),
        ({"llama.feed_forward_length": 97}, {}, "and the keys ask for (97, 64)"),
        ({"llama.feed_forward_length": [96, 96, 95]}, {}, "differs from layer to layer"),
        ({"llama.attention.head_count": 5, "llama.attention.head_count_kv": 5}, {}, "does not fit the configuration"),
        ({"llama.attention.head_count_kv": 3}, {}, "num_key_value_heads, 3, does not divide"),
        ({"llama.attention.value_length": 8}, {}, "attention.value_length is not attention.key_length"),
        ({"llama.rope.scaling.type": "ntk", "llama.rope.scaling.factor": 2.0}, {}, "scaling.type is 'ntk'"),
        ({"llama.rope.dimension_count": 8}, {}, "dimension_count is 8"),
        ({"tokenizer.ggml.pre": "new"}, {}, "take the model's tokenizer.json"),
        ({"split.count": 3}, {}, "one of 3 parts"),
        ({"general.alignment": 3}, {}, "general.alignment is 3"),
        ({"llama.context_length": "long"}, {}, "context_length is long; it must be a whole number"),
        ({}, {"blk.0.attn_q.weight": None}, "blk.0.attn_q.weight is missing"),
        ({}, {"blk.0.ffn_up.scale": torch.ones(1)}, "blk.0.ffn_up.scale: not of a model"),
        (
            {},
            {"blk.1.attn_v.weight": torch.full((32, 64), torch.nan)},
            "blk.1.attn_v.weight holds what is not a",
        ),
        ({}, {"rope_freqs.weight": torch.full((8,), 3.0)}, "rope_freqs.weight has factors that are not Llama 3's"),
        ({}, {"token_embd.weight": torch.ones(9, 64)}, "the tokenizer does not match"),
    ],
)
def test_a_model_that_contradicts_itself_gets_one_line(whole, tmp_path, keys, tensors, said):
    said_keys = {name: value for name, value in (whole[0] | keys).items() if value is not None}
    held = {name: value for name, value in (whole[1] | tensors).items() if value is not None}
    infos = {name: (NAMED["F32"], tuple(tensor.shape)) for name, tensor in held.items()}
    write_gguf(tmp_path / "a.gguf", said_keys, infos, held.__getitem__)
    one_line(lambda: from_gguf(tmp_path / "a.gguf", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(whole, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    one_line(lambda: from_gguf(tmp_path / "a.gguf", tmp_path / "out"), "name a new folder")


def test_no_more_than_a_tensor_is_in_memory(whole, tmp_path, monkeypatch):
    """Tensors are read one by one, each once, while the checkpoint is written."""
    infos = {name: (NAMED["F32"], tuple(tensor.shape)) for name, tensor in whole[1].items()}
    write_gguf(tmp_path / "a.gguf", whole[0], infos, whole[1].__getitem__)
    read, alive, most, read_one = [], set(), [0], gguf_file.GGUF.read

    def counted(file, name):
        tensor = read_one(file, name)
        read.append(name), alive.add(name), most.append(len(alive))
        weakref.finalize(tensor, alive.discard, name)
        return tensor

    monkeypatch.setattr(gguf_file.GGUF, "read", counted)
    from_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert sorted(read) == sorted(whole[1]) and max(most) <= 2
