"""Where a genome that parses goes wrong: the tree around the place, and edits of the text in terms of the tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit
from foundry.dsl.format import format_expr
from foundry.dsl.resolve import definition_names
from foundry.dsl.syntax import (
    Binary,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    Name,
    Path,
    Span,
    Tree,
    Unary,
    put,
    walk,
)
from foundry.dsl.types import TensorType


@dataclass
class Site:
    """A diagnostic, and the text and the tree that it is about.

    sorts: what the expressions of the tree evaluated to, by path. nodes: the tree's nodes by path, parents first.
    """

    diagnostic: Diagnostic
    data: bytes
    genome: Genome
    sorts: Mapping[Path, tuple[Any, ...]]
    nodes: dict[Path, Tree] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = dict(walk(self.genome))

    # ---- the tree -----------------------------------------------------------------------------------------------

    def exactly(self, *kinds: type) -> Path | None:
        """The path of the outermost node of some kinds that has exactly the diagnostic's span."""
        start, end = self.diagnostic.span.start, self.diagnostic.span.end
        found = (
            p for p, n in self.nodes.items() if isinstance(n, kinds) and (n.span.start, n.span.end) == (start, end)
        )
        return next(found, None)

    def around(self, *kinds: type) -> Iterator[Path]:
        """The paths of the nodes of some kinds around the diagnostic's span, innermost first."""
        span = self.diagnostic.span
        for path, node in reversed(self.nodes.items()):
            if isinstance(node, kinds) and node.span.start <= span.start and span.end <= node.span.end:
                yield path

    def parent(self, path: Path) -> Path:
        """The path of the node that holds another."""
        path = path[:-1]
        while path not in self.nodes:
            path = path[:-1]
        return path

    def types(self, path: Path) -> list[TensorType]:
        """The tensors that an expression was found to be."""
        return [sort for sort in self.sorts.get(path, ()) if isinstance(sort, TensorType)]

    def is_function(self, path: Path) -> bool:
        """Whether an expression was found to be a function."""
        return "function" in map(str, self.sorts.get(path, ()))

    def first_parameter(self, path: Path) -> str:
        """The first parameter of the innermost function around a node, "" where there is none."""
        while path:
            path = self.parent(path)
            node = self.nodes[path]
            if isinstance(node, (Function, Definition)) and node.parameters:
                return node.parameters[0].name
        return ""

    def uses(self, name: str) -> Iterator[Name]:
        """The places where the genome's definition of a name is meant."""
        for definition in self.genome.definitions:
            yield from (use for use, _ in definition_names(definition) if use.id == name)

    # ---- the text -----------------------------------------------------------------------------------------------

    def source(self, node: Tree) -> str:
        """The text of a node."""
        return self.data[node.span.start : node.span.end].decode("utf-8", "surrogatepass")

    def replace(self, node: Tree, text: str) -> tuple[Edit, ...]:
        """Put text in the place of a node."""
        return (Edit(node.span.start, node.span.end, text),)

    def swap(self, path: Path, new: Expr) -> tuple[Edit, ...]:
        """Put an expression in the place of another; no edits where comments would be lost."""
        old, parent, text = self.nodes[path], self.parent(path), format_expr(new)
        if "#" in self.source(old):
            return ()
        if isinstance(self.nodes[parent], (Binary, Unary, Call)) and not self._enclosed(old.span):
            around = format_expr(put(self.nodes[parent], path[len(parent) :], new))
            text = f"({text})" if f"({text})" in around else text
        return self.replace(old, text)

    def _enclosed(self, span: Span) -> bool:
        """Whether an operand stands in parentheses."""
        return self.data[: span.start].rstrip()[-1:] == b"(" and self.data[span.end :].lstrip()[:1] == b")"

    def wrap(self, node: Tree, before: str, after: str) -> tuple[Edit, ...]:
        """Put text around a node."""
        span = node.span
        return Edit(span.start, span.start, before), Edit(span.end, span.end, after)

    def drop(self, path: Path) -> tuple[Edit, ...]:
        """Remove an argument or a parameter, with a comma beside it; no edits where comments would be lost."""
        place, index, span = path[:-1], path[-1], self.nodes[path].span
        assert isinstance(index, int)
        before, after = self.nodes.get((*place, index - 1)), self.nodes.get((*place, index + 1))
        start = before.span.end if before is not None else span.start
        end = after.span.start if before is None and after is not None else span.end
        return () if b"#" in self.data[start:end] else (Edit(start, end, ""),)

    def rename(self, definition: Definition, new: str, uses: Iterable[Name]) -> tuple[Edit, ...]:
        """Give a definition another name, there and where it is used."""
        starts = {definition.span.start, *(use.span.start for use in uses)}
        return tuple(Edit(start, start + len(definition.name), new) for start in sorted(starts))
