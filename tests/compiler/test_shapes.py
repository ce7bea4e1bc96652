"""The rows of `foundry show`."""

import pytest

from foundry.compiler.cost import cost
from foundry.compiler.shapes import shape_rows
from foundry.dsl.check import load_program

TEXT = """@foundry(1);
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2, score = softcap);
  x + glu(x, hidden = 12)
};
model = embed(vocab = 16, width = 8) >> 3 * layer >> recurrence(hidden = 4) >> rmsnorm >> unembed(tied = 1);
"""


@pytest.fixture(scope="module")
def rows():
    return shape_rows(load_program(TEXT))


def test_rows_add_up_to_the_cost(rows):
    whole = cost(load_program(TEXT))
    assert sum(row.parameters for row in rows) == whole.parameters
    assert sum(row.flops for row in rows) == pytest.approx(whole.flops_per_token)


def test_a_layer_has_its_names_shapes_and_multiplicity(rows):
    found = {row.path: (row.op, row.shape, row.times, row.parameters) for row in rows if row.op != "elementwise"}
    assert found["layer/attention/q"] == ("linear", "seq[8]", 3, 3 * 8 * 8)
    assert found["layer/attention/attend"] == ("attend", "heads[2, 4]", 3, 0)
    assert found["layer/glu/gate"] == ("linear", "seq[12]", 3, 3 * 8 * 12)
    assert found["layer/rmsnorm"] == ("rmsnorm", "seq[8]", 3, 3 * 8)
    assert found["recurrence/state"] == ("scan", "seq[4]", 1, 0)
    assert found["unembed"] == ("unembed", "seq[16]", 1, 0)  # tied: the embedding has the weights


def test_operations_without_weights_are_one_row_for_each_function(rows):
    assert [row.path for row in rows if row.op == "elementwise" and row.path.startswith("layer")].count(
        "layer/glu"
    ) == 1
    assert ("layer/attention/attend/score", "score") in {(row.path, row.op) for row in rows}
