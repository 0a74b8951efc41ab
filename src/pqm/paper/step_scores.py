"""Step scores of the benchmark solutions by kind of step: right, first wrong, later wrong."""

import numpy as np
import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.first_errors import with_known_truth
from pqm.io.formats import NO_ERROR
from pqm.paper.figure import FIRST_WRONG, LATER_WRONG, RIGHT
from pqm.paper.results import Results

KINDS = sorted([RIGHT, FIRST_WRONG, LATER_WRONG])


def steps_by_kind(results: Results, run: str) -> pd.DataFrame:
    """One row per step of the distinct benchmark solutions with known truth: the training seed, the kind, the score.

    Raises:
        PqmError: the truth of no solution is known.
    """
    parts = [
        _steps(with_known_truth(results.solutions(scorer, benchmark))).assign(seed=seed)
        for seed, scorer in enumerate(results.scorers(run))
        for benchmark in results.evaluation.benchmarks
    ]
    steps = pd.concat(parts, ignore_index=True)
    if steps.empty:
        raise PqmError(f"run {run}: the first wrong step of no benchmark solution is known, which this result needs")
    return steps


def _steps(solutions: pd.DataFrame) -> pd.DataFrame:
    """The kind and score of each step of solutions with `step_scores` and a known `first_error`."""
    scores = solutions["step_scores"].tolist()
    steps = np.array([len(one) for one in scores], dtype=np.int64)
    errors = np.repeat(solutions["first_error"].to_numpy(), steps)
    places = np.arange(len(errors)) - np.repeat(np.cumsum(steps) - steps, steps)
    is_right = (places < errors) | (errors == NO_ERROR)
    codes = np.select([is_right, places == errors], [KINDS.index(RIGHT), KINDS.index(FIRST_WRONG)], KINDS.index(LATER_WRONG))
    return pd.DataFrame({"kind": pd.Categorical.from_codes(codes, KINDS), "score": np.concatenate([[], *scores])})
