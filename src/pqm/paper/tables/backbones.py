"""The same losses from several backbones."""

from collections.abc import Sequence

from pqm.paper.ablation import with_equal_seeds
from pqm.paper.accuracy import summary, wide
from pqm.paper.results import Results
from pqm.paper.style import OF_BACKBONE
from pqm.paper.table import Table

TITLE = "Backbones"
NEEDS = ("metrics",)
BY_BACKBONE = True
CAPTION = """
Best-of-n accuracy in percent of the same losses from several backbones, with intervals. Beside them are methods without reward
training: pass@1 and self-consistency need no backbone; the likelihood and the step classifier are those of the backbone named
in their row. All runs are compared by the same training seeds.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs, backbone by backbone, beside methods without reward training."""
    metrics, note = with_equal_seeds(results, runs, ("pass@1", "self-consistency", *OF_BACKBONE))
    rows = summary(results, metrics)
    return Table(rows, wide(rows, ["benchmark", "policy", "backbone", "method"]), note)
