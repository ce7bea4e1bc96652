"""Proof that a compiler of genomes keeps its promises: genomes at random, and what must hold of every one of them.

Needs the extra `foundry[test]`.
"""
