"""Step scores of the benchmark solutions by kind of step: right, first wrong, later wrong."""

import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.first_errors import with_known_truth
from pqm.io.formats import NO_ERROR
from pqm.paper.figure import FIRST_WRONG, LATER_WRONG, RIGHT
from pqm.paper.results import Results


def steps_by_kind(results: Results, run: str) -> pd.DataFrame:
    """One row per step of the distinct benchmark solutions with known truth: the training seed, the kind, the score.

    Raises:
        PqmError: the truth of no solution is known.
    """
    rows = []
    for seed, scorer in enumerate(results.scorers(run)):
        for benchmark in results.evaluation.benchmarks:
            for solution in with_known_truth(results.solutions(scorer, benchmark)).itertuples():
                error = solution.first_error if solution.first_error != NO_ERROR else len(solution.steps)
                for place, score in enumerate(solution.step_scores):
                    rows.append((seed, RIGHT if place < error else FIRST_WRONG if place == error else LATER_WRONG, score))
    if not rows:
        raise PqmError(f"run {run}: the first wrong step of no benchmark solution is known, which this result needs")
    return pd.DataFrame(rows, columns=["seed", "kind", "score"])
