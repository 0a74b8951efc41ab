"""Finding the first wrong step on the benchmarks."""

from collections.abc import Sequence
from functools import cache

import pandas as pd

from pqm.paper.first_error_rows import Split, first_error_row, first_error_table
from pqm.paper.results import Results
from pqm.paper.rows import in_order
from pqm.paper.table import Table
from pqm.paper.truth import with_truth
from pqm.study.layout import reference_scorer

TITLE = "Finding the first wrong step"
NEEDS = ("scores", "validation")
CAPTION = """
F1 of finding the first wrong step, as ProcessBench defines it. It is the harmonic mean of two shares: how many of the wrong
solutions have their first wrong step found, and how many of the correct solutions have no step flagged. The first step that
scores below a threshold is flagged. The threshold is the one with the highest F1 on the validation questions. The truth of a
step is the arithmetic of the word problem. Each distinct solution of the policies counts once. Means over training seeds, with
intervals over questions and seeds. ORM is trained on last steps only.
"""
CLASSIFIER = "step-classifier"


def table(results: Results, runs: Sequence[str]) -> Table:
    """F1 on the distinct solutions of all policies, with thresholds from the validation set."""
    scorers = {results.method(run): results.scorers(run) for run in runs}
    if CLASSIFIER in results.evaluation.references:
        scorers[CLASSIFIER] = [reference_scorer(CLASSIFIER)]

    def solutions(scorer: str, dataset: str) -> pd.DataFrame:
        return with_truth(results.solutions(scorer, dataset), dataset)

    validation = cache(lambda scorer: solutions(scorer, results.validation))  # the same for every benchmark

    def split(scorer: str, benchmark: str) -> Split:
        return validation(scorer), solutions(scorer, benchmark)

    rows = [
        first_error_row(results, method, benchmark, [split(seed, benchmark) for seed in seeds])
        for benchmark in results.evaluation.benchmarks
        for method, seeds in scorers.items()
    ]
    return first_error_table(in_order(results, pd.DataFrame(rows)), ["method"], "Distinct solutions")
