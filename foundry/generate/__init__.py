"""Genomes and their parts, typed and valid by construction: for search, for people, for those who test the compiler."""
