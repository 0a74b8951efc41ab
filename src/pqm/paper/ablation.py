"""A table of some runs beside pass@1, on the policies that all of them are evaluated on."""

from collections.abc import Sequence

from pqm.paper.accuracy import seeds_note, summary, wide
from pqm.paper.results import Results
from pqm.paper.table import Table


def ablation(results: Results, runs: Sequence[str]) -> Table:
    """Accuracy of these runs and of pass@1, without votes."""
    metrics = results.metrics(runs)
    methods = {results.method(run) for run in runs} | {"pass@1"}
    policies = [policy for policy in results.evaluation.policies if all(policy in results.policies(run) for run in runs)]
    rows = summary(results, metrics[metrics["method"].isin(methods) & metrics["policy"].isin(policies)])
    return Table(rows, wide(rows, ["benchmark", "policy", "method"]), seeds_note(results, runs))
