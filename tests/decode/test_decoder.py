"""Decoding with a cache gives the tokens of the full pass, for genomes of every kind and any company in the batch."""

import os
from pathlib import Path

import pytest
import torch

import foundry.decode.decoder as decoder
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES
from foundry.decode.decoder import Cohort, DecodeError, Event, Memory, Request, alike, answer, decode
from foundry.decode.layout import Together, for_decoding, maps_of_one_input
from foundry.decode.sampling import Sampling
from foundry.dsl.check import load_program

torch.set_num_threads(1)

GENOMES = {
    path.stem: path
    for path in sorted(Path(__file__).parents[2].joinpath("genomes").rglob("*.genome"))
    if path.parent.name not in ("families", "recipes")  # those are too large, and these differ in training alone
}
EVERY = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2  # a sample of each room is enough every day
SAMPLE = [name for n, name in enumerate(GENOMES) if n % EVERY == 0 or GENOMES[name].parent.name == "genomes"]
TINY = """@foundry(1);
layer(x) = { x = x + attention(rmsnorm(x), heads = 2, pos = rope); x + glu(rmsnorm(x), hidden = 48) };
model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);
"""
PROMPTS = [list(b"def f(x):"), list(b"de"), list(b"class A"), list(b"import os, re")]


def build(text):
    """A model in float64 with weights away from their neutral initial values, so that all parts of it matter."""
    module = load(emit(load_program(text)))
    model = module.Model()
    model.initialise(1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return module, model.double().eval()


@pytest.fixture(scope="module")
def tiny():
    return build(TINY)


def tokens_of(events, count):
    rows = [[] for _ in range(count)]
    for event in events:
        rows[event.row].append(event.id)
    return rows


@torch.no_grad()
def without_cache(module, model, prompt, count):
    """Greedy tokens by the full pass over everything, again for each token."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        if tokens[-1] == BYTES.end:
            break
    return tokens[len(prompt) :]


@pytest.mark.parametrize("name", SAMPLE)
def test_cached_decoding_of_unequal_prompts_gives_the_tokens_of_the_full_pass(name):
    module, model = build(GENOMES[name].read_text())
    prompts, counts = PROMPTS[:3], (4, 2, 4)
    samplings = [Sampling(temperature=0, max_tokens=count) for count in counts]
    found = tokens_of(decode(module, model, prompts, samplings, BYTES), 3)
    assert found == [without_cache(module, model, p, c) for p, c in zip(prompts, counts, strict=True)]


def test_a_row_gets_the_same_tokens_alone_and_in_any_company(tiny):
    samplings = [Sampling(temperature=t, seed=n, max_tokens=9 + n) for n, t in enumerate((1.0, 0.7, 1.3, 0.0))]
    together = tokens_of(decode(*tiny, PROMPTS, samplings, BYTES), 4)
    requests = [Request(n, tuple(PROMPTS[n]), sampling) for n, sampling in enumerate(samplings)]
    cohort = Cohort(*tiny, requests, BYTES)
    in_step = [event for _ in range(40) for event in cohort.step()]
    assert tokens_of(in_step, 4) == together and cohort.rows == [] and cohort.step() == []
    for n, (prompt, sampling) in enumerate(zip(PROMPTS, samplings, strict=True)):
        assert tokens_of(decode(*tiny, [prompt], [sampling], BYTES), 1)[0] == together[n]


def test_equal_seeds_repeat_and_others_do_not(tiny):
    def drawn(seed):
        return tokens_of(decode(*tiny, PROMPTS[:1], [Sampling(seed=seed, max_tokens=20)], BYTES), 1)[0]

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(None) != drawn(None)


def test_a_dropped_row_is_never_heard_of_again_and_disturbs_nobody(tiny):
    requests = [Request(n, tuple(p), Sampling(temperature=0, max_tokens=12)) for n, p in enumerate(PROMPTS)]
    alone = [without_cache(*tiny, p, 12) for p in PROMPTS]
    cohort, events = Cohort(*tiny, requests, BYTES), []
    for step in range(40):
        if step == 8:
            cohort.drop(0)
            before = len([e for e in events if e.row == 0])
        events += cohort.step()
    found = tokens_of(events, 4)
    assert len(found[0]) == before < 12
    assert found[1:] == alone[1:]


def test_an_event_for_each_token_and_the_last_says_why(tiny):
    events = list(decode(*tiny, [PROMPTS[0]], [Sampling(temperature=0, max_tokens=6)], BYTES))
    assert [e.finish for e in events] == [""] * 5 + ["length"]
    assert "".join(e.text for e in events) == bytes(e.id for e in events).decode(errors="replace")


def loving(module, model, favourite):
    """The model with logits that make it say `favourite` bytes for ever, whatever it reads."""

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, tokens, past=None):
            start = past.position
            self.inner(tokens, past)
            logits = torch.zeros(len(tokens), 1, 256, dtype=torch.float64)
            place = start + tokens.size(1) - 4  # the prompt is 4 tokens long
            logits[..., favourite[place % len(favourite)]] = 50
            return logits

    return Fixed()


def said(tiny, text, **settings):
    module, model = tiny
    fixed = loving(module, model, text.encode())
    return list(decode(module, fixed, [list(b"1234")], [Sampling(temperature=0, **settings)], BYTES))


def test_a_stop_string_ends_the_text_and_is_not_part_of_it(tiny):
    events = said(tiny, "one two three ", stop=("o t", "wo th"), max_tokens=40)
    assert "".join(e.text for e in events) == "one tw" and events[-1].finish == "stop"


def test_what_was_held_back_for_a_stop_string_comes_at_the_end(tiny):
    events = said(tiny, "stopped", stop=("stopping",), max_tokens=5)
    assert [e.text for e in events] == ["", "", "", "", "stopp"] and events[-1].finish == "length"


def test_characters_are_never_broken(tiny):
    events = said(tiny, "aé€😀", max_tokens=10)
    assert [e.text for e in events] == ["a", "", "é", "", "", "€", "", "", "", "😀"]
    cut = said(tiny, "aé€😀", max_tokens=5)
    assert "".join(e.text for e in cut) == "aé\ufffd"  # half of the euro sign


def test_the_end_token_ends_a_row_without_text(tiny):
    events = said(tiny, "ab\0cd", max_tokens=10)
    assert [(e.id, e.text, e.finish) for e in events] == [(97, "a", ""), (98, "b", ""), (0, "", "stop")]
    events = said(tiny, "abc", ends=(99,), max_tokens=10)
    assert [(e.id, e.text, e.finish) for e in events][-1] == (99, "", "stop") and len(events) == 3


def test_log_probabilities_are_told_where_asked_for(tiny):
    module, model = tiny
    asked = Sampling(temperature=0, max_tokens=2, logprobs=3)
    first = next(decode(module, model, [PROMPTS[0]], [asked], BYTES))
    with torch.no_grad():
        expected = model(torch.tensor([PROMPTS[0]]))[0, -1].log_softmax(-1).topk(3)
    assert [n for n, _ in first.likely] == expected.indices.tolist()
    assert [p for _, p in first.likely] == pytest.approx(expected.values.tolist())
    assert first.logprob == pytest.approx(first.likely[0][1])
    plain = next(decode(module, model, [PROMPTS[0]], [Sampling(max_tokens=1)], BYTES))
    assert plain.logprob is None and plain.likely == ()


def test_where_the_positions_end_the_text_ends():
    module, model = build(GENOMES["gpt2"].read_text())
    assert module.LONGEST == 128
    prompt = [65] * 125
    events = list(decode(module, model, [prompt], [Sampling(temperature=0, max_tokens=50)], BYTES))
    assert len(events) == 4 and events[-1].finish == "length"  # the last from what is read at position 128


def test_bad_prompts_are_refused_before_anything_is_computed(tiny):
    module, model = build(GENOMES["gpt2"].read_text())
    for prompt, words in (([], "no tokens"), ([5, 256], "token 256"), ([-1], "token -1"), ([1] * 129, "129 tokens")):
        with pytest.raises(DecodeError, match=words):
            decode(module, model, [[1, 2], prompt], [Sampling(), Sampling()], BYTES)


def test_logits_that_are_no_numbers_are_an_error_not_a_token(tiny):
    module, model = build(TINY)
    with torch.no_grad():
        model.rmsnorm.weight[3] = float("nan")
    with pytest.raises(DecodeError, match="not finite after 9 tokens"):
        list(decode(module, model, [PROMPTS[0]], [Sampling()], BYTES))


def watched(model, seen, broken=-1):
    """The model, which notes the shape of its logits in `seen`, and gives none after the byte `broken`."""

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, tokens, past=None):
            logits = self.inner(tokens, past)
            seen.append((*tokens.shape, logits.size(1)))
            return logits.masked_fill((tokens[:, -1] == broken)[:, None, None], float("nan"))

    return Watched()


def test_a_row_that_fails_ends_alone(tiny):
    module, model = tiny
    expected = [without_cache(module, model, prompt, 6) for prompt in PROMPTS[1:3]]
    broken = next(byte for byte in range(1, 256) if not any(byte in row for row in [*PROMPTS, *expected]))
    prompts = [[*PROMPTS[0][:5], broken], *PROMPTS[1:3]]
    events, samplings = [], [Sampling(temperature=0, max_tokens=6) for _ in prompts]
    with pytest.raises(DecodeError, match="not finite after 6 tokens"):
        for event in decode(module, watched(model, [], broken), prompts, samplings, BYTES):
            events.append(event)
    assert tokens_of(events, 3) == [[None], *expected]
    assert {event.row: event.finish for event in events} == {0: "error", 1: "length", 2: "length"}


def test_no_more_rows_than_there_is_room_for_are_decoded_at_a_time(tiny, monkeypatch):
    module, model = tiny
    samplings = [Sampling(temperature=0, max_tokens=n) for n in (5, 2, 4, 3)]
    expected = tokens_of(decode(module, model, PROMPTS, samplings, BYTES), 4)
    monkeypatch.setattr(decoder, "ROWS", 2)
    seen = []
    assert tokens_of(decode(module, watched(model, seen), PROMPTS, samplings, BYTES), 4) == expected
    assert max(rows for rows, _, _ in seen) == 2


def test_a_prompt_is_read_for_the_logits_of_its_last_position_alone(tiny):
    seen = []
    list(decode(tiny[0], watched(tiny[1], seen), PROMPTS[:1], [Sampling(max_tokens=2)], BYTES))
    assert seen[0] == (1, 9, 1)


@pytest.mark.parametrize("name", ["llama", "hybrid", "primer", "mla"])
def test_a_conversation_goes_on_from_what_was_read(name):
    module, model = build(GENOMES[name].read_text())
    memory, seen, prompt = Memory(), [], PROMPTS[0]
    for turn in range(3):
        asked = Sampling(temperature=0, max_tokens=5)
        found = tokens_of(answer(module, watched(model, seen), prompt, asked, BYTES, memory), 1)[0]
        assert found == without_cache(module, model, prompt, 5)
        prompt = prompt + found + PROMPTS[turn + 1]
    told = sum(tokens for _, tokens, _ in seen)
    assert told == len(prompt) - len(PROMPTS[3]) - 1  # all but the last token, each once


def test_a_conversation_that_was_changed_or_cut_off_is_read_again(tiny):
    module, model = tiny
    memory, asked = Memory(), Sampling(temperature=0, max_tokens=5)
    for prompt in (PROMPTS[0], PROMPTS[0], PROMPTS[0][:4], PROMPTS[3]):  # as it was, shorter, another
        found = tokens_of(answer(module, model, prompt, asked, BYTES, memory), 1)[0]
        assert found == without_cache(module, model, prompt, 5)
    cut = answer(module, model, PROMPTS[3], asked, BYTES, memory)
    next(cut)
    cut.close()
    assert memory.tokens == () and memory.past is None


def test_prompts_of_like_length_go_together():
    assert alike([10, 100, 12, 19, 21, 100, 3]) == [[6], [0, 2, 3], [4], [1, 5]]
    assert alike([]) == []


def test_only_the_last_position_of_a_prompt_gets_logits(tiny):
    module, model = tiny
    tokens = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        assert model(tokens, module.Past(last=True)).shape == (1, 1, 256)
        torch.testing.assert_close(model(tokens, module.Past(last=True)), model(tokens)[:, -1:])


def test_the_layout_for_decoding_changes_no_name_shape_or_value():
    model = build(TINY)[1].float()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tokens = torch.tensor([PROMPTS[0], PROMPTS[0][::-1]])
    with torch.no_grad():
        expected = model(tokens)
        faster = for_decoding(model)
        torch.testing.assert_close(faster(tokens), expected)
    after = faster.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert faster.embed.weight.stride() == (1, 256)  # 256 x 32, by columns
    attention = faster.layers[0].attention
    assert attention.out.weight.stride() == (32, 1) and attention.q.weight.stride() == (1, 96)  # q, k and v together


def test_maps_of_one_input_are_found_and_others_are_not():
    model = build(TINY)[1]
    groups = [{id(linear) for linear in group} for group in maps_of_one_input(model)]
    expected = []
    for layer in model.layers:
        expected.append({id(layer.attention.q), id(layer.attention.k), id(layer.attention.v)})
        expected.append({id(layer.glu.gate), id(layer.glu.up)})
    assert groups == expected


def test_a_map_that_gets_another_input_than_the_others_is_still_right():
    maps = [torch.nn.Linear(8, n, bias=False) for n in (4, 6)]
    before = [linear.weight.detach().clone() for linear in maps]
    Together(maps)
    x, y = torch.randn(3, 8), torch.randn(3, 8)
    with torch.no_grad():
        for n, z in ((0, x), (1, y), (0, y), (1, x), (1, y)):
            torch.testing.assert_close(maps[n](z), z @ before[n].T)


@pytest.mark.parametrize("name", ["llama", "hybrid", "primer", "moe_softmax", "mla"])
def test_decoding_after_the_new_layout_gives_the_same_tokens(name):
    module, model = build(GENOMES[name].read_text())
    samplings = [Sampling(temperature=0, max_tokens=8) for _ in PROMPTS]
    expected = tokens_of(decode(module, model, PROMPTS, samplings, BYTES), 4)
    assert tokens_of(decode(module, for_decoding(model.float()), PROMPTS, samplings, BYTES), 4) == expected


def test_events_are_values():
    assert Event(0, 1, "a") == Event(0, 1, "a", "", None, ())
