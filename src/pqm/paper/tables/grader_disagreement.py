"""How often the two graders agree."""

from collections.abc import Sequence

import pandas as pd

from pqm.paper.results import Results
from pqm.paper.rows import in_order
from pqm.paper.table import Table

TITLE = "Agreement of the two graders"
NEEDS = ("grades",)
CAPTION = """
How often the two graders, ``math-verify`` and the authors' rules as they applied them (only the gold answer is normalised), agree
on the samples of each policy and benchmark. Both grade a truncated sample as wrong. Last column: samples that the authors' rules
take for right only if both sides are normalised.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """Counts of samples by both grades."""
    rows = []
    for policy, benchmark in results.cells:
        grades = results.grades(policy, benchmark)
        first, second = grades["correct"].to_numpy(), grades["second_correct"].to_numpy()
        rows.append(
            {
                "benchmark": benchmark,
                "policy": policy,
                "samples": len(grades),
                "both_right": int((first & second).sum()),
                "both_wrong": int((~first & ~second).sum()),
                "only_math_verify": int((first & ~second).sum()),
                "only_authors_rules": int((~first & second).sum()),
                "only_both_sides_normalised": int((grades["rules_correct"].isin([True]).to_numpy() & ~second).sum()),
            }
        )
    frame = in_order(results, pd.DataFrame(rows))
    return Table(frame, frame.rename(columns=lambda name: name.replace("_", " ").replace("math verify", "math-verify")))
