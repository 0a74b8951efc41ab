"""The audit set: solutions with labels from many completions, and whether each of their steps is right."""

import pandas as pd

from pqm.errors import PqmError
from pqm.io.formats import NO_ERROR
from pqm.paper.results import Results
from pqm.problems.word_problems import step_truth


def audit(results: Results) -> pd.DataFrame:
    """The labelled solutions of the audit set, with their `steps` and whether each is truly `right`.

    Raises:
        PqmError: a question is not a word problem, so the truth of its steps is unknown.
    """
    labelled, known = audit_by_truth_or_labels(results)
    if not known:
        raise PqmError(
            f"labels {results.audit}: the truth of their steps is unknown; expected word problems, or annotated solutions"
        )
    return labelled


def audit_by_truth_or_labels(results: Results) -> tuple[pd.DataFrame, bool]:
    """The labelled solutions of the audit set, with their `steps` and whether each is `right`; and whether this is the truth.

    The truth of word problems is computed, and that of annotated solutions is known: their steps are right before the first error.
    The truth of others is unknown. Then a step is right if its hard Monte Carlo label is 1.
    """
    labelled = results.labels(results.audit)
    labelled["steps"] = labelled["completions"].map(tuple)
    if results.audit in results.evaluation.annotated:
        errors = results.first_errors(results.audit)
        first = [errors[solution] for solution in zip(labelled["question_id"], labelled["steps"])]
        labelled["right"] = [
            [error == NO_ERROR or step < error for step in range(len(steps))] for error, steps in zip(first, labelled["steps"])
        ]
        return labelled, True
    try:
        labelled["right"] = [step_truth(prompt, steps) for prompt, steps in zip(labelled["prompt"], labelled["steps"])]
    except ValueError:
        labelled["right"] = [[label == 1 for label in labels] for labels in labelled["labels"]]
        return labelled, False
    return labelled, True


def distinct_prefixes(labelled: pd.DataFrame) -> pd.DataFrame:
    """One row per distinct prefix that has completions: its length, whether it is right, hits and counts."""
    rows: dict[tuple[str, tuple[str, ...]], dict[str, object]] = {}
    for solution in labelled.itertuples():
        # The last label is the solution's own grade, not from completions.
        for place, (right, hits, count) in enumerate(list(zip(solution.right, solution.hits, solution.counts))[:-1]):
            if count:
                found = {"question_id": solution.question_id, "step": place + 1, "right": right, "hits": hits, "count": count}
                rows[solution.question_id, solution.steps[: place + 1]] = found
    return pd.DataFrame(rows.values(), columns=["question_id", "step", "right", "hits", "count"])


def audited_prefixes(results: Results) -> pd.DataFrame:
    """The distinct prefixes of the audit set that have completions, with their truth, see `distinct_prefixes`."""
    return distinct_prefixes(audit(results))
