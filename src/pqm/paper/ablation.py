"""Comparisons of runs by equal training seeds, beside methods without reward training."""

from collections.abc import Sequence

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.accuracy import summary, wide
from pqm.paper.results import Results
from pqm.paper.style import OF_BACKBONE, SELF_CONSISTENCY
from pqm.paper.table import Table


def ablation(results: Results, runs: Sequence[str]) -> Table:
    """Accuracy of these runs, of pass@1 and of the reference backbone, on the policies that all runs are evaluated on.

    Raises:
        PqmError: the runs have no training seed in common.
    """
    metrics, note = with_equal_seeds(results, runs, ("pass@1", *OF_BACKBONE))
    policies = [policy for policy in results.evaluation.policies if all(policy in results.policies(run) for run in runs)]
    rows = summary(results, metrics[metrics["policy"].isin(policies)])
    return Table(rows, wide(rows, ["benchmark", "policy", "method"]), note)


def with_equal_seeds(results: Results, runs: Sequence[str], references: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Metrics of the runs, without votes, by the training seeds that all of them have, and of these references; with a note.

    Raises:
        PqmError: the runs have no training seed in common.
    """
    seeds = [seed for seed in results.seeds(runs[0]) if all(seed in results.seeds(run) for run in runs)]
    if not seeds:
        raise PqmError(f"{results.file}: runs {', '.join(runs)} have no training seed in common; expected one to compare them by")
    trained = results.metrics(runs, references=False)
    trained = trained[trained["seed"].isin(seeds) & ~trained["method"].str.endswith(SELF_CONSISTENCY)]
    others = results.metrics([])
    return pd.concat([trained, others[others["method"].isin(references)]], ignore_index=True), _note(seeds)


def _note(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return (
            f"Every run has one training seed here, {seeds[0]}, so its interval covers the uncertainty from the questions only."
        )
    return f"Every run has {len(seeds)} training seeds here: {', '.join(map(str, seeds))}."
