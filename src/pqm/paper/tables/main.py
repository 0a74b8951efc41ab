"""Best-of-n accuracy of every method: policy x benchmark x method x n."""

from collections.abc import Sequence

from pqm.paper.accuracy import summary, wide
from pqm.paper.results import Results
from pqm.paper.significance import LETTERS, significance_note, significance_tests
from pqm.paper.table import Table

TITLE = "Best-of-n"
NEEDS = ("metrics",)
CAPTION = """
Best-of-n accuracy in percent, with intervals. A method keeps the sample with the highest score among n. Accuracy is the exact
expectation over all subsets of n of a question's samples, with ties averaged. Votes are averaged over all subsets where these
are few, and else over random ones. A reward model scores a solution by its lowest step logit, ORM by its last. Intervals are
over question clusters and, with several, training seeds. Random choice equals pass@1 for every n. pass@n is the share of
questions that any of n samples solves, an upper bound for every method. The likelihoods choose the sample that the policy or
the backbone finds likeliest. The backbone's likelihood and its step classifier need no rollouts and no reward training. Letters
at the largest n mark significant differences, at the study's level and after Holm's correction over the tests of all cells:
above self-consistency (s), the backbone's likelihood (l), its step classifier (c) or BCE (b); with an arrow down, below. Table
``differences`` has these tests and those over all cells together. The difference that a test can detect is the median over its
family, at the first step of Holm's correction.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """Accuracies with letters for significant differences at the largest n."""
    metrics = results.metrics(runs)
    rows = summary(results, metrics)
    tests = significance_tests(results, metrics, runs)
    letters: dict[tuple[str, ...], str] = {}
    for test in tests[tests["holds"] & (tests["family"] == "cells")].itertuples():
        key = (test.benchmark, test.policy, test.method)
        arrow = "" if test.difference > 0 else "↓"
        letters[key] = (letters.get(key, "") + f" {LETTERS[test.reference]}{arrow}").strip()
    return Table(rows, wide(rows, ["benchmark", "policy", "method"], letters), significance_note(results, tests))
