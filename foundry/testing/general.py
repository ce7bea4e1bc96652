"""The emitted file without shortcuts: attention in its most general form, formulas written out as the genome has them.

The shortcuts are chosen in two places of the emitter, which are replaced while a file is made.
"""

from __future__ import annotations

from unittest.mock import patch

from foundry.compiler import emit_forms
from foundry.compiler.emit import emit
from foundry.compiler.emit_slots import Attention
from foundry.dsl.program import Node, Program


def emit_written_out(program: Program) -> str:
    """The source of a program's file in which no formula is recognised as an operation of PyTorch."""
    with patch.object(emit_forms, "recognise", lambda unit: None):
        return emit(program)


def emit_with_general_attention(program: Program) -> str:
    """The source of a program's file in which each `attend` sees all logits, and the score and the mask see each."""
    with patch.object(emit_forms, "plan", _in_general):
        return emit(program)


def _in_general(node: Node) -> Attention:
    score, mask, scale = (node.attrs[name] for name in ("score", "mask", "scale"))
    return Attention("attend_general", scale, None, score, mask)
