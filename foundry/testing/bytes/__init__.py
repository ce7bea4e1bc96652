"""Readers of untrusted bytes, and what explores them: every bad input gets the error that its reader documents.

`targets.TARGETS` is the table; a new reader is a row in it. Exploring needs the extra `foundry[fuzz]` (atheris);
to read stored cases again does not.
"""
