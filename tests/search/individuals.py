"""Rows of an archive, and individuals of a population that have one, for tests."""


def row(name, score, rung=0, seed=0, status=None, **more):
    """A row of version 1 unless `more` has the columns of version 2."""
    return {
        "genome_hash": name,
        "rung": rung,
        "seed": seed,
        "status": status or ("ok" if score is not None else "diverged"),
        "wall_s": 2.0,
        "compute_budget": 4.0,
        "behaviour_hash": name,
        "val_bpb": score,
    } | more


def add(population, name, score, operator="wrap", parents=(), family="attend", **more):
    born = {key: more.pop(key) for key in ("arm", "number") if key in more}
    population.add(name, operator, parents, family, **born)
    population.observe(row(name, score, **more))
    return population.individuals[name]
