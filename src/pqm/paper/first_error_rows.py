"""Tables of finding the first wrong step: F1 by ProcessBench's definition, averaged over training seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pqm.estimation.bootstrap import Bootstrap, interval
from pqm.estimation.first_errors import best_threshold, harmonic_mean, hits
from pqm.paper.results import Results
from pqm.paper.rows import percent
from pqm.paper.style import printed
from pqm.paper.table import Table

Split = tuple[pd.DataFrame, pd.DataFrame]  # solutions that choose the threshold, and those that are evaluated
COUNTS = ("erroneous", "found", "correct", "passed")


def first_error_row(results: Results, method: str, benchmark: str, seeds: Sequence[Split]) -> dict[str, Any]:
    """The row of a method on a benchmark; `seeds` has the scored solutions of each training seed."""
    thresholds = [best_threshold(validation) for validation, _ in seeds]
    counts = [_counts(solutions, threshold) for (_, solutions), threshold in zip(seeds, thresholds)]
    f1 = _f1_over_seeds(results, counts)
    return {"benchmark": benchmark, "method": method} | f1 | {"threshold": float(np.mean(thresholds)), "seeds": len(seeds)}


def _counts(solutions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """One row per question: its erroneous solutions, those with the error found, its correct ones, those passed."""
    judged = hits(solutions, threshold)
    each = solutions[["question_id", "cluster"]].assign(
        erroneous=judged.erroneous.astype(float),
        found=(judged.right & judged.erroneous).astype(float),
        correct=(~judged.erroneous).astype(float),
        passed=(judged.right & ~judged.erroneous).astype(float),
    )
    return each.groupby(["question_id", "cluster"], as_index=False).sum()


def _f1_over_seeds(results: Results, counts: Sequence[pd.DataFrame]) -> dict[str, float]:
    """F1 averaged over training seeds, with its interval; `counts` has a table per seed."""
    config = results.config
    clusters = counts[0].set_index("question_id")["cluster"]
    bootstrap = Bootstrap(clusters, config.resamples, config.seed)
    stacked = {
        name: np.stack([part.set_index("question_id")[name].loc[bootstrap.questions].to_numpy() for part in counts])
        for name in COUNTS
    }
    totals = {name: values.sum(axis=1) for name, values in stacked.items()}
    with np.errstate(invalid="ignore"):
        found, passed = totals["found"] / totals["erroneous"], totals["passed"] / totals["correct"]
    per_seed = [harmonic_mean(*pair) for pair in zip(found, passed)]
    drawn = [bootstrap.shares(stacked[hit], stacked[total]) for hit, total in (("found", "erroneous"), ("passed", "correct"))]
    f1 = 2 * drawn[0] * drawn[1] / np.maximum(drawn[0] + drawn[1], 1e-12)
    low, high = interval(bootstrap.over_seeds(f1), config.confidence)
    return {
        "on_erroneous": float(np.mean(found)),
        "on_correct": float(np.mean(passed)),
        "f1": float(np.mean(per_seed)),
        "low": low,
        "high": high,
        "erroneous": int(totals["erroneous"][0]),
        "correct": int(totals["correct"][0]),
        "questions": len(clusters),
    }


def first_error_table(rows: pd.DataFrame, keys: Sequence[str], solutions: str) -> Table:
    """The table of these rows, in which `keys` name the reward model; `solutions` begins the sentence that counts them."""
    shown = pd.DataFrame(
        {
            "benchmark": rows["benchmark"],
            **{key: rows[key].map(printed if key == "method" else str) for key in keys},
            "first error found": rows["on_erroneous"].map(_share),
            "correct solutions passed": rows["on_correct"].map(_share),
            "F1": percent(rows, "f1"),
            "threshold (logit)": rows["threshold"].map("{:.2f}".format),
        }
    )
    sizes = rows.drop_duplicates("benchmark")
    described = "; ".join(f"{row.benchmark}: {row.erroneous} with an error, {row.correct} without" for row in sizes.itertuples())
    return Table(rows, shown, f"{solutions}: {described}.")


def _share(value: float) -> str:
    return f"{value:.1%}" if value == value else "no such solution"
