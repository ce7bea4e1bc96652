"""Syntax tree to text, in the one format that genomes have.

Parsing the text gives the tree back. Comments stand above the statement that they belong to, blocks
take a line per binding, operators have spaces around them and parentheses stand only where they
are needed. What is too long for a line breaks from the outside in: calls and lists into one
item per line, chains of operators before each operator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from foundry.dsl.syntax import (
    Argument,
    Binary,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Parameter,
    Unary,
)

WIDTH = 110
INDENT = 2

# How tightly forms bind, loosest first, as in grammars/foundry.lark.
FUNCTION, PIPE, EITHER, BOTH, COMPARISON, SUM, PRODUCT, UNARY, POWER, POSTFIX, ATOM = range(11)
LEVELS = {
    ">>": PIPE, "|": EITHER, "&": BOTH, "<": COMPARISON, "<=": COMPARISON, ">": COMPARISON, ">=": COMPARISON,
    "==": COMPARISON, "!=": COMPARISON, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "**": POWER,
}  # fmt: skip
# The loosest form that each operator takes on its left and on its right without parentheses.
_SIDES = {operator: (level, level + 1) for operator, level in LEVELS.items()}
_SIDES |= {operator: (SUM, SUM) for operator, level in LEVELS.items() if level == COMPARISON}
_SIDES["**"] = (POSTFIX, UNARY)


def format_genome(genome: Genome) -> str:
    """The text of a genome.

    Raises:
        ValueError: a number in it is not finite.
    """
    lines = [*_remarks(genome.comments, 0), f"@foundry({genome.version});"]
    tight = False  # whether a one-line definition may follow without a blank line
    for definition in genome.definitions:
        text = _definition(definition)
        simple = "\n" not in text
        if not (tight and simple and not definition.comments):
            lines.append("")
        lines += [*_remarks(definition.comments, 0), text]
        tight = simple
    if genome.closing:
        lines += ["", *_remarks(genome.closing, 0)]
    return "\n".join(lines) + "\n"


def format_expr(expr: Expr) -> str:
    """The text of an expression on one line, without its comments.

    Raises:
        ValueError: a number in it is not finite.
    """
    return _flat(expr, FUNCTION)


def format_number(value: int | float) -> str:
    """The text of a number: plain where that is short or usual, `1e-6` where it is shorter.

    Raises:
        ValueError: the number is not finite.
    """
    if isinstance(value, int):
        return str(int(value))
    if not math.isfinite(value):
        raise ValueError(f"a genome cannot hold the number {value}")
    plain = repr(value)
    if 0.01 <= abs(value) < 1000 or value == 0:
        return plain
    mantissa, _, exponent = plain.partition("e")
    if exponent:
        return f"{mantissa}e{int(exponent)}"
    digits = mantissa.replace("-", "").replace(".", "").strip("0")
    fraction = f".{digits[1:]}" if digits[1:] else ""
    short = f"{'-' if value < 0 else ''}{digits[0]}{fraction}e{math.floor(math.log10(abs(value)))}"
    return short if len(short) < len(plain) and float(short) == value else plain


def _remarks(comments: Iterable[str], indent: int) -> list[str]:
    """Comment lines, an empty one as a blank line between paragraphs."""
    lines = [line.rstrip() for comment in comments for line in comment.replace("\r", "\n").split("\n")]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return [" " * indent + "# " + line if line else "" for line in lines]


def _definition(definition: Definition) -> str:
    head = definition.name
    if definition.parameters is not None:
        head = _signature(head, definition.parameters, 0, len(" = {"))
    return _named(head, definition.value, 0) + ";"


def _named(head: str, value: Expr, indent: int) -> str:
    """`head = value`, with room for one sign behind it; arithmetic goes to the next line where it fits there alone."""
    head += " = "
    column = _last_column(head, 0)
    if isinstance(value, Binary) and value.operator != ">>":
        flat, inner = _flat(value, FUNCTION), indent + INDENT
        if "{" not in flat and inner + len(flat) + 1 <= WIDTH < column + len(flat) + 1:
            return f"{head.rstrip()}\n{' ' * inner}{flat}"
    return head + _layout(value, FUNCTION, indent, column, 1)


def _signature(name: str, parameters: tuple[Parameter, ...], indent: int, tail: int) -> str:
    """`name(parameters)`: the parameters fill lines that begin under the first of them."""
    parts = [_flat_item(parameter.name, parameter.default) for parameter in parameters]
    whole = f"{name}({', '.join(parts)})"
    if "{" not in whole and indent + len(whole) + tail <= WIDTH:
        return whole
    if any("{" in part for part in parts):
        items = [(parameter.name, parameter.default) for parameter in parameters]
        return f"{name}(" + _one_per_line(items, indent) + ")"
    hang = indent + len(name) + 1
    if hang > WIDTH // 2:
        hang = indent + 2 * INDENT
    return f"{name}(" + _filled(parts, hang, indent + len(name) + 1, tail + 1) + ")"


def _filled(parts: list[str], indent: int, column: int, tail: int) -> str:
    """Short items, as many to a line as fit, separated by commas."""
    text = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        room = len(part) + (tail if last else 1)
        if index and column + 1 + room > WIDTH:
            text, column = text + "\n" + " " * indent, indent
        elif index:
            text, column = text + " ", column + 1
        text += part if last else part + ","
        column += len(part) + 1
    return text


def _flat_item(name: str, value: Expr | None) -> str:
    if value is None:
        return name
    return f"{name} = {_flat(value, FUNCTION)}" if name else _flat(value, FUNCTION)


def _level(node: Expr) -> int:
    if isinstance(node, Binary):
        return LEVELS[node.operator]
    if isinstance(node, Unary):
        return UNARY
    if isinstance(node, Function):
        return FUNCTION
    if isinstance(node, Number):
        return UNARY if math.copysign(1, node.value) < 0 else ATOM
    return POSTFIX if isinstance(node, Call) else ATOM


def _flat(node: Expr, level: int) -> str:
    """The node on one line, in parentheses if it binds more loosely than `level`."""
    match node:
        case Name():
            return node.id
        case Number():
            text = format_number(node.value)
            return f"({text})" if text[0] == "-" and level > UNARY else text
        case Call():
            arguments = ", ".join([_flat_item(a.name, a.value) for a in node.arguments])
            return f"{_flat(node.function, POSTFIX)}({arguments})"
        case Binary():
            left, right = _SIDES[node.operator]
            text = f"{_flat(node.left, left)} {node.operator} {_flat(node.right, right)}"
            return f"({text})" if LEVELS[node.operator] < level else text
        case Unary():
            text = node.operator + _flat(node.operand, UNARY)
            return f"({text})" if level > UNARY else text
        case ListOf():
            return f"[{', '.join([_flat(item, FUNCTION) for item in node.items])}]"
        case Function():
            parameters = ", ".join([_flat_item(p.name, p.default) for p in node.parameters])
            text = f"fn({parameters}) => {_flat(node.body, FUNCTION)}"
            return f"({text})" if level > FUNCTION else text
        case Block():
            bindings = "".join([f"{b.name} = {_flat(b.value, FUNCTION)}; " for b in node.bindings])
            return f"{{ {bindings}{_flat(node.result, FUNCTION)} }}"


def _layout(node: Expr, level: int, indent: int, column: int, tail: int) -> str:
    """The node from `column` on; its further lines begin at `indent` or beyond, and `tail` characters follow it."""
    flat = _flat(node, level)
    if "{" not in flat and column + len(flat) + tail <= WIDTH:
        return flat
    if _level(node) < level:
        return f"({_layout(node, FUNCTION, indent, column + 1, tail + 1)})"
    match node:
        case Block():
            return _block(node, indent)
        case Call():
            function = _layout(node.function, POSTFIX, indent, column, 1)
            return function + _arguments(node.arguments, indent, _last_column(function, column), tail)
        case Binary():
            return _chain(node, indent, column, tail)
        case Unary():
            return node.operator + _layout(node.operand, UNARY, indent, column + 1, tail)
        case ListOf():
            return _list(node, indent, column, tail)
        case Function():
            head = _signature("fn", node.parameters, indent, len(" => {")) + " => "
            return head + _layout(node.body, FUNCTION, indent, _last_column(head, column), tail)
        case _:
            return flat


def _last_column(text: str, column: int) -> int:
    """Where a text that begins at `column` ends."""
    newline = text.rfind("\n")
    return column + len(text) if newline < 0 else len(text) - newline - 1


def _block(node: Block, indent: int) -> str:
    inner = indent + INDENT
    pad = " " * inner
    lines = ["{"]
    for binding in node.bindings:
        lines += _remarks(binding.comments, inner)
        lines.append(_named(pad + binding.name, binding.value, inner) + ";")
    lines += _remarks(node.comments, inner)
    lines.append(pad + _layout(node.result, FUNCTION, inner, inner, 0))
    lines.append(" " * indent + "}")
    return "\n".join(lines)


def _arguments(arguments: tuple[Argument, ...], indent: int, column: int, tail: int) -> str:
    """`(arguments)`, broken up; a lone argument that can itself break stays on the line."""
    if not arguments:
        return "()"
    first = arguments[0]
    if len(arguments) == 1 and not first.name and isinstance(first.value, (Call, Block, Function, ListOf)):
        return f"({_layout(first.value, FUNCTION, indent, column + 1, tail + 1)})"
    return f"({_one_per_line([(a.name, a.value) for a in arguments], indent)})"


def _one_per_line(items: Iterable[tuple[str, Expr | None]], indent: int) -> str:
    inner = indent + INDENT
    pad = " " * inner
    lines = [""]
    for name, value in items:
        if value is None:
            lines.append(f"{pad}{name},")
        elif name:
            lines.append(_named(pad + name, value, inner) + ",")
        else:
            lines.append(pad + _layout(value, FUNCTION, inner, inner, 1) + ",")
    return "\n".join(lines) + "\n" + " " * indent


def _list(node: ListOf, indent: int, column: int, tail: int) -> str:
    if not node.items:
        return "[]"
    if not all(_level(item) in (ATOM, UNARY) and "{" not in _flat(item, FUNCTION) for item in node.items):
        return f"[{_one_per_line([('', item) for item in node.items], indent)}]"
    parts = [_flat(item, FUNCTION) for item in node.items]
    return f"[{_filled(parts, column + 1 if column < WIDTH // 2 else indent + INDENT, column + 1, tail + 1)}]"


def _chain(node: Binary, indent: int, column: int, tail: int) -> str:
    """Operands of one level, each but the first on a line of its own behind its operator."""
    level = LEVELS[node.operator]
    if level == POWER:
        left = _layout(node.left, POSTFIX, indent, column, 4)
        head = f"{left} ** "
        return head + _layout(node.right, UNARY, indent, _last_column(head, column), tail)
    links: list[tuple[str, Expr]] = []
    first: Expr = node
    while isinstance(first, Binary) and LEVELS[first.operator] == level and (level != COMPARISON or not links):
        links.append((first.operator, first.right))
        first = first.left
    left_level, right_level = _SIDES[node.operator]
    text = _layout(first, left_level, indent, column, 0)
    inner = indent + INDENT
    for index, (operator, operand) in enumerate(reversed(links)):
        head = " " * inner + operator + " "
        text += "\n" + head + _layout(operand, right_level, inner, len(head), tail if index == len(links) - 1 else 0)
    return text
