"""One solution, step by step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pqm.estimation.estimators import probability
from pqm.estimation.first_errors import with_known_truth
from pqm.paper.results import Results
from pqm.paper.style import printed
from pqm.paper.table import Table
from pqm.paper.truth import with_truth

TITLE = "One solution, step by step"
NEEDS = ("scores", "audit labels")
CAPTION = """
One sampled solution, step by step, with sigma of each step's score (mean over the training seeds) and the truth. Where the truth
of the benchmark's steps is unknown, the solution is from the audit set, and the table has its Monte Carlo labels instead. It is
chosen by a rule that uses no score: the first by question, policy and sample that has five or more steps (fewer, where there is
none) and its first error neither at the first nor at the last step.
"""
STEPS = 5


def table(results: Results, runs: Sequence[str]) -> Table:
    """The steps of one solution with the score of every run."""
    dataset, solutions = _solutions(results, results.scorers(runs[0])[0])
    solution, rule = choose(solutions)
    rows, shown, judged = (_by_labels if "labels" in solutions else _by_truth)(solution)
    for run in runs:
        scores = []
        for scorer in results.scorers(run):
            scored = results.scored(scorer, solution.policy, dataset).set_index(["question_id", "sample_id"])
            scores.append(scored.at[(solution.question_id, solution.sample_id), "step_scores"])
        method = results.method(run)
        rows[method] = probability(np.mean(scores, axis=0))
        shown[printed(method)] = rows[method].map("{:.3f}".format)
    question = results.questions(dataset).at[solution.question_id, "question"]
    note = f"Here: {solution.question_id}, {solution.policy} policy; {rule}. {judged}The question: {question}"
    return Table(rows, shown, note)


def _solutions(results: Results, scorer: str) -> tuple[str, pd.DataFrame]:
    """The first benchmark and its solutions with a known first error; if there is none, the labelled ones of the audit set.

    Raises:
        PqmError: no first error is known, and the study has no audit set.
    """
    benchmark = results.evaluation.benchmarks[0]
    solutions = results.solutions(scorer, benchmark)
    if results.evaluation.audit is not None and with_known_truth(solutions).empty:
        return results.audit, results.labelled(scorer, results.audit)
    return benchmark, with_truth(solutions, benchmark)


def _by_truth(solution: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The rows of the steps with their truth, the rows as shown, and nothing to note."""
    right = [not 0 <= solution.first_error <= place for place in range(len(solution.steps))]
    rows = pd.DataFrame({"step": range(1, len(right) + 1), "text": solution.steps, "right": right})
    return rows, rows.assign(right=np.where(right, "right", "wrong")).rename(columns={"right": "truth"}), ""


def _by_labels(solution: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The rows of the steps with their hard labels, hits and counts, the rows as shown, and what a label is."""
    right = [label == 1 for label in solution.labels]
    rows = pd.DataFrame({"step": range(1, len(right) + 1), "text": solution.steps, "right": right})
    rows = rows.assign(hits=solution.hits, count=solution.counts)
    completions = [f"{hits} of {count}" for hits, count in zip(solution.hits, solution.counts)]
    shown = rows[["step", "text"]].assign(**{"right completions": completions, "label": np.where(right, "right", "wrong")})
    judged = (
        "Its steps have Monte Carlo labels: a step is right if any completion from it is (the last step: if the solution is). "
    )
    return rows, shown, judged


def choose(solutions: pd.DataFrame) -> tuple[pd.Series, str]:
    """The first solution by question, policy and sample with an error inside and `STEPS` steps, and the rule that it meets."""
    inner = solutions[(solutions["first_error"] > 0) & (solutions["first_error"] < solutions["steps"].map(len) - 1)]
    for length in range(STEPS, 2, -1):
        long = inner[inner["steps"].map(len) >= length].sort_values(["question_id", "policy", "sample_id"])
        if len(long):
            return long.iloc[0], f"{length} or more steps, and the first error is neither the first nor the last step"
    ordered = solutions.sort_values(["question_id", "policy", "sample_id"])
    return ordered.iloc[0], "any number of steps, because no solution has an error inside"
