"""Text to typed program: grammar, syntax tree, types, diagnostics, formatter, canonical form."""
