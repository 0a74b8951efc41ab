"""One solution, step by step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pqm.estimation.estimators import probability
from pqm.paper.results import Results
from pqm.paper.style import printed
from pqm.paper.table import Table
from pqm.paper.truth import with_truth

TITLE = "One solution, step by step"
NEEDS = ("scores",)
CAPTION = """
One sampled solution, step by step, with sigma of each step's score (mean over the training seeds) and the truth. It is chosen by
a rule that uses no score: the first by question, policy and sample of the first benchmark that has five or more steps (fewer,
where there is none) and its first error neither at the first nor at the last step.
"""
STEPS = 5


def table(results: Results, runs: Sequence[str]) -> Table:
    """The steps of one solution with the score of every run."""
    benchmark = results.evaluation.benchmarks[0]
    solution, rule = choose(with_truth(results.solutions(results.scorers(runs[0])[0], benchmark), benchmark))
    rows = pd.DataFrame(
        {
            "step": range(1, len(solution.steps) + 1),
            "text": solution.steps,
            "right": [not 0 <= solution.first_error <= place for place in range(len(solution.steps))],
        }
    )
    shown = rows.assign(right=np.where(rows["right"], "right", "wrong")).rename(columns={"right": "truth"})
    for run in runs:
        scores = []
        for scorer in results.scorers(run):
            scored = results.scored(scorer, solution.policy, benchmark).set_index(["question_id", "sample_id"])
            scores.append(scored.at[(solution.question_id, solution.sample_id), "step_scores"])
        method = results.method(run)
        rows[method] = probability(np.mean(scores, axis=0))
        shown[printed(method)] = rows[method].map("{:.3f}".format)
    question = results.questions(benchmark).at[solution.question_id, "question"]
    note = f"Here: {solution.question_id}, {solution.policy} policy; {rule}. The question: {question}"
    return Table(rows, shown, note)


def choose(solutions: pd.DataFrame) -> tuple[pd.Series, str]:
    """The first solution by question, policy and sample with an error inside and `STEPS` steps, and the rule that it meets."""
    inner = solutions[(solutions["first_error"] > 0) & (solutions["first_error"] < solutions["steps"].map(len) - 1)]
    for length in range(STEPS, 2, -1):
        long = inner[inner["steps"].map(len) >= length].sort_values(["question_id", "policy", "sample_id"])
        if len(long):
            return long.iloc[0], f"{length} or more steps, and the first error is neither the first nor the last step"
    ordered = solutions.sort_values(["question_id", "policy", "sample_id"])
    return ordered.iloc[0], "any number of steps, because no solution has an error inside"
