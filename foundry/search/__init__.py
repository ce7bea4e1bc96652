"""Population, operators, budget, workers, archive, confirmation, report."""
