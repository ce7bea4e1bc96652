"""Genomes at other sizes keep their proportions; parameters are counted by hand where a number stands here."""

import re
from functools import cache
from pathlib import Path

import pytest

from foundry.compiler.graph import build_graph
from foundry.compiler.scale.candidates import Candidates
from foundry.compiler.scale.depth import depth_of
from foundry.compiler.scale.resize import widened
from foundry.compiler.scale.search import Asked, ScaleError, scale
from foundry.compiler.scale.sizes import sizes_of
from foundry.dsl.check import check, load_program
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import parameter_count
from foundry.dsl.provenance import traced
from foundry.dsl.syntax import Number, walk

GENOMES = Path(__file__).parents[2] / "genomes"
SHIPPED = {str(path.relative_to(GENOMES).with_suffix("")): path.read_text() for path in GENOMES.rglob("*.genome")}
FAMILIES = {name.partition("/")[2]: text for name, text in SHIPPED.items() if name.startswith("families/")}


def genome(layer, *definitions, width=64, model="2 * layer", more=""):
    embedded = f"embed(vocab = 256, width = {width})"
    lines = [
        "@foundry(1);",
        *definitions,
        f"layer(x) = {layer};",
        f"model = {embedded} >> {model} >> unembed(tied = 1);",
    ]
    return "\n".join([*lines, more])


def at(text, **asked):
    """The genome at a size, which checks clean and has as many parameters as is said."""
    scaled = scale(text, Asked(**asked))
    checked = check(scaled.text)
    assert not checked.diagnostics and parameter_count(checked.program) == scaled.after.parameters
    assert format_genome(parse(scaled.text)) == scaled.text
    return scaled


def numbers(text):
    return [node.value for _, node in walk(parse(text)) if isinstance(node, Number)]


def differences(old, new):
    """The numbers of a genome that changed, with what they became."""
    return {(a, b) for a, b in zip(numbers(old), numbers(new), strict=True) if a != b}


def changes(text, **asked):
    """The numbers of a genome that change at another size."""
    return differences(text, at(text, **asked).text)


@cache
def heads(text):
    """Of each attention: the heads and channels of its queries, keys and values."""
    graph = build_graph(load_program(text))
    return [
        tuple((graph.nodes[v]["type"].heads, graph.nodes[v]["type"].width) for _, v in data["operands"][:3])
        for _, data in graph.nodes(data=True)
        if data["op"] in ("attend", "linear_attend", "delta_attend")
    ]


# every genome --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [1_000_000, 30_000_000])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_genome_can_have_a_million_parameters_and_thirty(name, parameters):
    scaled = at(SHIPPED[name], parameters=parameters, vocab=256)
    assert parameters / 1.1 <= scaled.after.parameters <= parameters * 1.1
    for before, after in zip(heads(SHIPPED[name]), heads(scaled.text), strict=False):
        (queries, channels), keys, _ = before
        (more_queries, fewer_channels), more_keys, _ = after
        single = keys[0] == more_keys[0] == 1  # of one for all there may stay one
        assert single or more_queries * keys[0] == more_keys[0] * queries
        assert channels % fewer_channels == 0 and fewer_channels >= min(8, channels)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_genome_can_be_twice_as_wide(name):
    text = SHIPPED[name]
    width = int(re.search(r"width = (\d+)", text)[1])
    if name == "families/deepseek_v3":
        with pytest.raises(ScaleError, match="the genome has 2,68"):  # more parameters than a genome may have
            scale(text, Asked(width=2 * width))
        return
    scaled = at(text, width=2 * width)
    found = differences(text, scaled.text)
    assert (width, 2 * width) in found and all(new == 2 * old for old, new in found)
    for before, after in zip(heads(text), heads(scaled.text), strict=True):
        assert after == tuple((2 * count, channels) for count, channels in before)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_genome_whose_layers_repeat_can_be_deeper(name):
    text = SHIPPED[name]
    depth = Candidates(check(text)).depth
    deeper = [n for n in depth.reachable if n > depth.total]
    if deeper:
        scaled = at(text, depth=deeper[0])
        assert depth_of(traced(load_program(scaled.text))).total == deeper[0]
        assert scaled.after.parameters >= scaled.before.parameters and scaled.after.width == scaled.before.width
    else:
        assert name in ("heads/early_exit", "residual/dense_connections", "residual/unet_skips")


# widths --------------------------------------------------------------------------------------------------------------


def test_llama_by_hand():
    scaled = at(SHIPPED["llama"], width=128, depth=6)
    # 256 tokens; per layer q and o 128·128, k and v 128·64, three maps 128·352 (176 of 64), two norms; a last norm
    assert scaled.after.parameters == 256 * 128 + 6 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352 + 2 * 128) + 128
    assert "heads = 8, kv_heads = 4" in scaled.text and "hidden = 352" in scaled.text and "6 * layer" in scaled.text
    assert "lr = 5e-3" in scaled.text and "theta = 1e4" in scaled.text


def test_heads_stay_as_wide_as_they_are_where_their_number_can_follow():
    assert changes(SHIPPED["llama"], width=96) == {(64, 96), (4, 6), (2, 3), (176, 264)}


def test_heads_are_halved_where_their_number_cannot_follow():
    scaled = at(SHIPPED["llama"], width=80)
    assert scaled.heads == ((16, 8),) and "heads = 10, kv_heads = 5" in scaled.text  # five of 16 would leave half a key


def test_a_single_head_of_keys_is_a_ratio_like_any_other():
    assert "heads = 8, kv_heads = 2" in at(SHIPPED["hybrid"], width=128).text


def test_numbers_that_follow_from_the_width_are_left_alone():
    text = genome("x + attention(x, heads = 4) + mlp(x, hidden = 3 * width(x))")
    assert changes(text, width=128) == {(64, 128), (4, 8)}


def test_bounds_of_slices_and_joined_widths_fit():
    text = genome("x + slice(linear(x, 192), 0, 64) * slice(linear(x, 192), 64, 128)")
    assert changes(text, width=96) == {(64, 96), (192, 288), (128, 192)}


def test_latent_attention_keeps_the_channels_of_its_heads_and_the_ratio_of_its_ranks():
    found = changes(FAMILIES["deepseek_v2_lite"], width=4096)
    assert found == {(2048, 4096), (16, 32), (512, 1024), (10944, 21888), (1408, 2816)}


def test_slices_for_rotary_positions_follow_the_heads():
    text = genome("x + attention(x, heads = 4, pos = fn(z) => concat(rope(slice(z, 0, 8)), slice(z, 8, width(z))))")
    assert changes(text, width=128) == {(64, 128), (4, 8)}
    assert changes(text, width=40) == {(64, 40), (4, 5), (8, 4)}  # heads of 8 channels, half of which turn


def test_a_list_with_a_number_for_each_pair_is_thinned_out_with_the_heads():
    text = SHIPPED["positions/rope_long"]
    assert "[1.0, 1.05, 1.2, 1.6, 2.2, 3.0, 3.7, 4.0]" in at(text, width=128).text
    assert "[1.0, 1.2, 2.2, 3.7]" in at(text, width=40).text


def test_state_channels_of_a_recurrence_stay():
    assert changes(SHIPPED["attention/mamba"], width=128) == {(64, 128), (128, 256)}


def test_the_root_of_the_width_on_the_embedding_follows():
    assert "sqrt(4608) * embed" in at(FAMILIES["gemma2_2b"], width=4608).text
    text = "@foundry(1);\nmodel(tokens) = 8 * embed(tokens, vocab = 256, width = 64) >> 2 * mlp >> unembed(tied = 1);"
    assert "16 * embed" in at(text, width=256).text and "11.31 * embed" in at(text, width=128).text


def test_a_scale_of_logits_follows_the_channels_of_a_head():
    definition = "f(x) = { q = split_heads(linear(x, 128), 2); linear(merge_heads(%s), width(x)) };"
    text = genome("x + f(x)", definition % "attend(q, q, q, scale = 64 ** -0.5)")
    assert "scale = 64 ** -0.5" in at(text, width=128).text  # heads of 64 channels, as before
    assert "scale = 0.1768" in at(text, width=16).text  # of 32: 32 ** -0.5


@pytest.mark.parametrize(
    ("value", "old", "new", "expected"),
    [
        (176, 64, 128, 352),
        (176, 64, 80, 224),
        (11008, 4096, 128, 344),
        (32, 64, 100, 50),
        (30, 64, 16, 8),
        (1, 64, 32, 1),
    ],
)
def test_widths_are_exact_or_rounded_to_few_factors(value, old, new, expected):
    assert widened(value, old, new) == expected


# depth ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "depth", "expected"),
    [
        ("llama3_2_1b", 20, "20 * block"),
        ("gemma3_1b", 14, "2 * (5 * local_block >> full_block) >> 2 * local_block"),  # the unfinished period stays
        ("gemma2_2b", 8, "4 * (local_block >> full_block)"),
        ("deepseek_v2_lite", 6, "dense_block >> 5 * sparse_block"),
        ("deepseek_v3", 20, "1 * dense_block >> 19 * sparse_block"),
    ],
)
def test_the_pattern_of_the_layers_stays(name, depth, expected):
    assert expected in at(FAMILIES[name], depth=depth).text


def test_layers_that_end_in_another_one_are_a_period():
    assert "2 * (3 * layer(mix = recur) >> layer(mix = local))" in at(SHIPPED["hybrid"], depth=8).text
    assert ">> layer(mix = recur)" not in at(SHIPPED["hybrid"], depth=8).text
    assert "1 * layer(mix = recur)" in at(SHIPPED["hybrid"], depth=2).text


def test_a_number_of_layers_can_be_an_argument():
    text = genome("x + mlp(x)", "stack(x, n) = x >> n * layer;", model="stack(n = 3)")
    assert "stack(n = 7)" in at(text, depth=7).text


def test_a_small_genome_can_grow_again():
    small = at(SHIPPED["llama"], depth=1, width=32)
    assert "1 * layer" in small.text
    back = at(small.text, depth=4, width=64)
    assert numbers(back.text) == numbers(SHIPPED["llama"]) and back.text.count("# Scaled to") == 1


# parameters ----------------------------------------------------------------------------------------------------------


def test_width_and_depth_change_together():
    scaled = at(SHIPPED["llama"], parameters=30_000_000)
    assert 0.8 < (scaled.after.width / scaled.after.depth) / (64 / 4) < 1.25


def test_one_of_width_and_depth_can_be_given():
    assert at(SHIPPED["llama"], parameters=1_000_000, depth=4).after.depth == 4
    assert at(SHIPPED["llama"], parameters=1_000_000, width=128).after.width == 128


def test_the_vocabulary_changes_alone():
    assert changes(SHIPPED["gpt2"], vocab=512) == {(256, 512)}
    hidden = at(SHIPPED["gpt2"].replace("hidden = 256", "hidden = 255 + 1"), vocab=512).text
    assert "hidden = 255 + 1" in hidden and "vocab = 128" in hidden  # the longest context is no vocabulary


def test_experts_change_alone_and_those_in_use_stay():
    assert changes(FAMILIES["mixtral_8x7b"], experts=16) == {(8, 16)}


def test_the_size_is_remarked_above_the_genome():
    text = at(SHIPPED["llama"], width=128).text
    assert re.match(r"# Scaled to width 128, depth 4, 771,200 parameters\.\n@foundry\(1\);\n", text)
    assert "# Llama at proxy size" in text


# errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("llama", {"width": 100}, "its heads do not fit a width of 100; the nearest that they fit: 96 and 112"),
        ("hybrid", {"depth": 6}, "a depth of 6 breaks the pattern of its layers; the nearest that keep it: 4 and 8"),
        ("residual/unet_skips", {"depth": 9}, "its number of layers stays 5"),
        ("llama", {"depth": 1025}, "at most 1,024 layers"),
        ("llama", {"width": 2**30}, "a width is at most"),
        ("llama", {"experts": 4}, "it has no experts"),
        ("llama", {"parameters": 100}, "100 parameters cannot be reached within a tenth; the nearest"),
        ("llama", {"parameters": 10**13}, "at most 2,000,000,000,000 parameters"),
        ("families/llama3_2_1b", {"parameters": 10**6}, "ask for fewer with --vocab"),
        ("channels/moe_group_limited", {"experts": 16}, "it cannot have 16 experts: "),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_what_can(name, asked, words):
    with pytest.raises(ScaleError, match=re.escape(words)):
        scale(SHIPPED[name], Asked(**asked))


@pytest.mark.parametrize(
    "text",
    [
        genome("x + attention(x, heads = n)", "n = 4;", model="n * layer"),
        genome("x + mlp(x)", "n = 256;").replace("vocab = 256, width = 64", "vocab = n, width = n"),
        genome("{ p = softmax(linear(x, n)); x + experts(x, p * top(p, 2), glu(hidden = n)) }", "n = 8;"),
    ],
    ids=["heads and layers", "tokens and channels", "experts and channels"],
)
def test_a_number_that_stands_for_two_sizes_is_refused(text):
    with pytest.raises(ScaleError, match="one number stands for two sizes, at 2:5"):
        scale(text, Asked(width=512))


def test_what_has_no_layers_can_still_be_wider():
    text = "@foundry(1);\nmodel = embed(vocab = 256, width = 64) >> rmsnorm >> unembed(tied = 1);\n"
    assert at(text, parameters=100_000).after.width == 384  # 257 · 384 = 98,688
    with pytest.raises(ScaleError, match="its number of layers stays 0"):
        scale(text, Asked(depth=2))


def test_sizes_know_their_roles():
    sizes = sizes_of(traced(load_program(FAMILIES["deepseek_v3"])))
    roles = {role: {size.value for size in sizes.of(role)} for role in ("width", "heads", "head", "experts", "vocab")}
    assert roles["heads"] == {1, 128} and roles["head"] == {64, 128} and roles["experts"] == {256}
    assert roles["width"] == {7168, 1536, 512, 18432, 2048} and roles["vocab"] == {129280} and not sizes.tied
