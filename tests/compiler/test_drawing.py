"""Pictures of genomes: everything is drawn, nothing overlaps, and the file is safe and stands alone."""

import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib
import pytest

from foundry.compiler.drawing import PAGE, draw
from foundry.compiler.outline import outline
from foundry.compiler.picture.layout import arrange
from foundry.compiler.picture.scene import scene
from foundry.compiler.picture.text import compact, mono, width
from foundry.dsl.check import load_program
from foundry.dsl.program import parameter_count
from foundry.dsl.source import resource, resource_folder
from foundry.dsl.trace import trace

GENOMES = resource_folder("genomes")
SHIPPED = sorted(str(path.relative_to(GENOMES)) for path in GENOMES.rglob("*.genome"))
SVG = "{http://www.w3.org/2000/svg}"


def program(name):
    return load_program(resource("genomes", f"{name}.genome"))


def genome(model, definitions=""):
    return load_program(f"@foundry(1);\n{definitions}\nmodel = {model};\n")


def picture(text_or_program, depth):
    return scene(outline(trace(text_or_program)), depth)


def titles(of):
    return [box.title for box in of.all_boxes()]


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def named(of, title):
    (box,) = (box for box in of.all_boxes() if box.title == title)
    return box


def frames_with_bodies(of, body):
    """Each scene of a picture with the body that it shows."""
    yield of, body
    for box in of.boxes:
        if box.inner is not None:
            yield from frames_with_bodies(box.inner, box.steps[-1].body)


# what is drawn -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED[::3])
def test_every_step_of_what_is_opened_is_drawn_once_and_its_weights_add_up(name):
    program = load_program(resource("genomes", name))
    body = outline(trace(program))
    for depth in (0, 1, 3):
        shown = scene(body, depth)
        assert sum(box.parameters for box in shown.boxes) == parameter_count(program)
        for part, of in frames_with_bodies(shown, body):
            drawn = [step for box in part.boxes for step in box.steps]
            apart = {step for step in of.steps if step.op in ("param", "number", "position", "table", "channel_index")}
            assert set(drawn) | apart >= set(of.steps)
            assert len({*drawn} - apart) == len([step for step in drawn if step not in apart])


def test_a_block_that_is_repeated_is_drawn_once():
    svg = draw(program("llama"), "llama")
    assert words(svg).count("attention") == 1 and words(svg).count("× 4") == 1


def test_repeats_inside_repeats_are_frames_inside_frames():
    block = "block(x) = x + mlp(rmsnorm(x));\nlast(x) = x + glu(rmsnorm(x));"
    of = picture(genome("embed(vocab = 256, width = 64) >> 3 * (5 * block >> last) >> unembed(tied = 1)", block), 1)
    outer = next(box for box in of.boxes if box.shape == "frame")
    assert outer.badge == "× 3"
    assert [(box.title, box.badge) for box in outer.inner.boxes] == [("block", "× 5"), ("last", "")]


def test_passes_through_one_set_of_weights_say_so():
    block = "block(x) = x + mlp(rmsnorm(x));"
    of = picture(genome("embed(vocab = 256, width = 64) >> share(6 * block) >> unembed(tied = 1)", block), 1)
    assert named(of, "block").badge == "6 ×, shared"


def test_queries_keys_and_values_lead_into_attend():
    of = picture(program("llama"), 2)
    attend = named(of, "attend")
    assert attend.names == ("q", "k", "v")
    assert [box.title for box in attend.inputs] == ["pos: rope(theta = 1e4)", "pos: rope(theta = 1e4)", "v"]
    assert [box.inputs[0].title for box in attend.inputs[:2]] == ["q", "k"]


def test_a_residual_goes_around_into_the_side_of_a_plus():
    of = next(box for box in picture(program("llama"), 1).boxes if box.shape == "frame").inner
    arranged = arrange(of)
    for plus in (p for p in arranged.placed if p.box.title == "+"):
        around, through = sorted(
            (line for line in arranged.lines if line.target is plus.box), key=lambda line: -len(line.points)
        )
        middle = plus.y + plus.height / 2
        assert around.points[-1] == pytest.approx((plus.x, middle)) and len(through.points) == 2
        assert through.points[-1] == pytest.approx((plus.x + plus.width / 2, plus.y))


def test_types_stand_on_the_lines():
    assert {"tokens", "seq[64]", "heads[4, 16]", "heads[2, 16]", "seq[176]", "seq[256]"} <= set(
        words(draw(program("llama")))
    )


def test_a_tied_output_says_whose_weights_it_has():
    assert "shares the embedding" in words(draw(program("llama")))
    assert "shares the embedding" not in words(draw(program("families/llama2_7b")))


def test_experts_have_their_number_and_how_many_a_token_uses():
    box = named(picture(program("families/mixtral_8x7b"), 2), "experts")
    assert (box.badge, box.details) == ("× 8", ("2 active",))
    assert box.parameters == 8 * 3 * 4096 * 14336


def test_functions_that_were_handed_in_are_called_by_their_parameter():
    of = picture(program("hybrid"), 2)
    assert {"mix: recurrence", "mix: attention", "act: gelu_tanh"} <= set(titles(of))
    assert "mask: window(size = 64)" in named(of, "attend").details


def test_an_operation_that_this_file_has_never_heard_of_is_a_box():
    body = outline(trace(program("llama")))
    step = body.steps[0]
    step.op = step.title = "brand_new"
    assert "brand_new" in titles(scene(body, 0))


def test_depth_says_how_far_calls_are_opened():
    llama = program("llama")
    assert titles(picture(llama, 0)) == ["embed", "layer", "rmsnorm", "unembed"]
    assert "attention" in titles(picture(llama, 1)) and "attend" not in titles(picture(llama, 1))
    assert "attend" in titles(picture(llama, 2))
    assert titles(picture(llama, 3)) == titles(picture(llama, 9))


def test_the_default_depth_fills_about_a_page():
    for name in ("llama", "gpt2", "hybrid", "families/deepseek_v3", "families/gpt_oss_20b"):
        height = float(ET.fromstring(draw(program(name))).get("height"))
        deeper = float(ET.fromstring(draw(program(name), depth=9)).get("height"))
        assert height <= PAGE + 200 and (height == deeper or deeper > PAGE)


def test_the_largest_are_drawn_at_once_without_torch():
    code = (
        "import sys\nfrom foundry.compiler.drawing import draw\nfrom foundry.dsl.check import load_program\n"
        "from foundry.dsl.source import resource\n"
        "draw(load_program(resource('genomes', 'families/deepseek_v3.genome')))\nassert 'torch' not in sys.modules"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert time.perf_counter() - start < 10


def test_ten_thousand_layers_are_one_frame():
    layer = "layer(x) = x + mlp(x);"
    svg = draw(genome("embed(vocab = 256, width = 64) >> 100 * (100 * layer) >> unembed(tied = 1)", layer))
    assert words(svg).count("layer") == 1 and words(svg).count("× 100") == 2


# where it stands -----------------------------------------------------------------------------------------------------


def overlap(a, b, by=0.1):
    return a[0] + by < b[0] + b[2] and b[0] + by < a[0] + a[2] and a[1] + by < b[1] + b[3] and b[1] + by < a[1] + a[3]


def rectangle(placed):
    return placed.x, placed.y, placed.width, placed.height


def scenes_of(arranged):
    yield arranged
    for placed in arranged.placed:
        if placed.inner is not None:
            yield from scenes_of(placed.inner)


def strokes(line):
    for (x, y), (u, v) in pairwise(line.points):
        assert x == pytest.approx(u, abs=0.5) or y == pytest.approx(v, abs=0.5), "lines run down or across"
        yield min(x, u), min(y, v), abs(u - x), abs(v - y)


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_overlaps(name):
    body = outline(trace(load_program(resource("genomes", name))))
    for depth in (0, 1, 2, 4):
        for part in scenes_of(arrange(scene(body, depth))):
            boxes = [(placed.box, rectangle(placed)) for placed in part.placed]
            labels = [(label.x, label.y - 9, mono(label.text, 9.5), 10) for label in part.labels]
            whole = (-0.5, -0.5, part.width + 1, part.height + 1)
            for _, box in boxes:
                assert overlap(box, whole) and box[0] >= -0.5 and box[0] + box[2] <= part.width + 0.5
                assert box[1] >= -0.5 and box[1] + box[3] <= part.height + 0.5
            assert not any(overlap(a, b) for (_, a), (_, b) in combinations(boxes, 2))
            assert not any(overlap(a, b) for a, b in combinations(labels, 2))
            assert not any(overlap(box, label) for _, box in boxes for label in labels)
            for line in part.lines:
                for stroke in strokes(line):
                    grown = (stroke[0], stroke[1], stroke[2] + 0.2, stroke[3] + 0.2)
                    others = [box for of, box in boxes if of not in (line.source, line.target)]
                    assert not any(overlap(grown, box) for box in others), (line.source.title, line.target.title)
                    assert not any(overlap(grown, label) for label in labels)


def test_frames_hold_what_is_inside_of_them():
    for part in scenes_of(arrange(picture(program("families/mixtral_8x7b"), 3))):
        for placed in part.placed:
            if placed.inner is not None:
                x, y = placed.inner_at
                assert x >= 0 and x + placed.inner.width <= placed.width
                assert y >= 20 and y + placed.inner.height <= placed.height


@pytest.mark.parametrize(("file", "bold"), [("Helvetica.afm", False), ("Helvetica-Bold.afm", True)])
def test_text_takes_no_more_room_than_it_is_given(file, bold):
    """Against the metrics that Adobe published, as matplotlib has them."""
    metrics = (Path(matplotlib.get_data_path()) / "fonts" / "pdfcorefonts" / file).read_text("latin-1")
    found = re.findall(r"^C (\d+) ; WX (\d+) ;", metrics, re.MULTILINE)
    printable = {chr(int(code)): int(wide) for code, wide in found if 32 <= int(code) < 127}
    assert len(printable) == 95
    for letter, wide in printable.items():
        assert wide <= width(letter, 1000, bold) <= 1.35 * wide + 40


def test_numbers_of_weights_by_three_digits():
    given = [7, 999, 1000, 4096, 16_384, 999_999, 2_359_296, 671_026_404_352]
    assert [compact(n) for n in given] == ["7", "999", "1K", "4.1K", "16.4K", "1M", "2.36M", "671B"]


# the file ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED[::6])
def test_the_file_is_xml_that_stands_alone(name):
    svg = draw(load_program(resource("genomes", name)), name)
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg" and float(root.get("width")) > 100
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "style", "rect", "circle", "path", "text", "title", "g")
    }
    assert not re.search(r"href|url\(|@import|<script|on\w+=", svg)
    assert "prefers-color-scheme:dark" in svg


def test_names_and_formulas_inject_no_markup():
    hostile = '"><script>alert(1)</script>&\x00\x1b<!--'
    of = genome(
        "embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1)",
        "layer(x) = { y = linear(x, 64); x + where((y < 0) & (y > -1), y, relu(y)) };",
    )
    svg = draw(of, hostile)
    root = ET.fromstring(svg)
    assert not list(root.iter(f"{SVG}script")) and "\x00" not in svg
    assert any("<script>" in (text or "") for text in words(svg))  # as text it is there
    assert {"y < 0", "y > -1", "&"} <= set(words(svg))


def test_what_a_box_hides_is_said_where_one_points():
    tips = [element.text for element in ET.fromstring(draw(program("llama"))).iter(f"{SVG}title")]
    assert "gate, 64 → 176, 11,264 parameters" in tips
    assert any(tip.startswith("layer × 4, ") and tip.endswith(" parameters") for tip in tips)
