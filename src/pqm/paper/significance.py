"""Tests of every trained method against methods without reward training, and against BCE."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pqm.estimation.statistics import accuracies, clusters_by_benchmark, compare, holm, smallest_difference
from pqm.paper.accuracy import own_aggregation
from pqm.paper.results import Results
from pqm.paper.style import in_print_order, printed

# What methods are tested against, with the letters of the main table.
LETTERS = {"self-consistency": "s", "backbone-likelihood": "l", "step-classifier": "c", "bce": "b"}
ALL = "all"


def significance_tests(results: Results, metrics: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """One row per test at the largest n: the difference, its interval, p, p by Holm's correction, and whether it `holds`.

    There are two families, corrected separately: over all cells together (a question's mean over the policies, the questions
    of all benchmarks, clusters shared between benchmarks), and cell by cell.
    """
    config, largest = results.config, max(results.evaluation.n)
    own = own_aggregation(metrics[metrics["n"] == largest])
    keys = ["method", "seed", "question_id", "cluster"]
    together = own.groupby(keys, sort=False, as_index=False)["accuracy"].mean().assign(policy=ALL, benchmark=ALL)
    clusters = clusters_by_benchmark(pd.concat([own, together]))
    methods = in_print_order(results.method(run) for run in runs)
    rows = []
    for policy, benchmark in [(ALL, ALL), *results.cells]:
        cell = together if policy == ALL else own[(own["policy"] == policy) & (own["benchmark"] == benchmark)]
        values = {method: accuracies(part, clusters[benchmark]) for method, part in cell.groupby("method", sort=False)}
        for method in methods:
            for reference in (name for name in LETTERS if name in values and name != method):
                rows.append(
                    {"family": ALL if policy == ALL else "cells", "benchmark": benchmark, "policy": policy, "method": method}
                    | {"reference": reference, "n": largest}
                    | vars(compare(clusters[benchmark], values[method], values[reference], config.confidence))
                )
    tests = pd.DataFrame(rows)
    tests["p_holm"] = tests.groupby("family")["p"].transform(lambda p: holm(p.tolist()))
    tests["holds"] = tests["p_holm"] < 1 - config.confidence
    return tests


def significance_note(results: Results, tests: pd.DataFrame) -> str:
    """How many tests are significant, the difference that each family can detect, and which methods differ over all cells."""
    alpha = 1 - results.config.confidence
    parts = []
    for family, name in ((ALL, "Over all cells together"), ("cells", "Cell by cell")):
        part = tests[tests["family"] == family]
        detected = [smallest_difference(row.error, row.freedom, alpha / len(part)) for row in part.itertuples() if row.error > 0]
        parts.append(
            f"{name}, {int(part['holds'].sum())} of {len(part)} tests are significant,"
            f" and a true difference of {100 * np.median(detected or [np.nan]):.0f} points is detected with a power of 80 %."
        )
    different = tests[(tests["family"] == ALL) & tests["holds"]]
    methods = "; ".join(
        f"{printed(method)} {'above' if better else 'below'} {', '.join(printed(name) for name in part['reference'])}"
        for (method, better), part in different.groupby(["method", different["difference"] > 0], sort=False)
    )
    return " ".join([*parts, f"Significant over all cells together: {methods or 'no difference'}."])
