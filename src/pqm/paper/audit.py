"""The audit set: solutions of word problems with labels from many completions, and the truth of each step."""

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.results import Results
from pqm.problems.word_problems import step_truth


def audit(results: Results) -> pd.DataFrame:
    """The labelled solutions of the audit set, with their `steps` and the `truth` of each.

    Raises:
        PqmError: a question is not a word problem, so the truth of its steps is unknown.
    """
    name = results.audit
    labelled = results.labels(name)
    labelled["steps"] = labelled["completions"].map(tuple)
    try:
        labelled["truth"] = [step_truth(prompt, steps) for prompt, steps in zip(labelled["prompt"], labelled["steps"])]
    except ValueError:
        raise PqmError(f"labels {name}: the truth of their steps is unknown; expected generated problems") from None
    return labelled


def audited_prefixes(results: Results) -> pd.DataFrame:
    """One row per distinct prefix of the audit set that has completions: its length, its truth, hits and counts."""
    rows: dict[tuple[str, tuple[str, ...]], dict[str, object]] = {}
    for solution in audit(results).itertuples():
        # The last label is the solution's own grade, not from completions.
        for place, (right, hits, count) in enumerate(list(zip(solution.truth, solution.hits, solution.counts))[:-1]):
            if count:
                found = {"question_id": solution.question_id, "step": place + 1, "right": right, "hits": hits, "count": count}
                rows[solution.question_id, solution.steps[: place + 1]] = found
    return pd.DataFrame(rows.values())
