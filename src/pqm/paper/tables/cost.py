"""Jobs, tokens, seconds and memory of every stage."""

from collections.abc import Sequence

import pandas as pd

from pqm.paper.cost import ledger
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Cost of each stage"
NEEDS = ("everything", "checkpoints")
CAPTION = """
Cost of each stage: its number of jobs, the tokens that it counted, the sums of the CPU seconds and wall-clock seconds of its
jobs, the longest job and the highest memory of a job, from Snakemake's benchmark files. These numbers differ from build to
build. CPU seconds of short jobs are sampled and too low.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per stage."""
    frame = ledger(results)
    shown = pd.DataFrame(
        {
            "stage": frame["stage"],
            "jobs": frame["jobs"],
            "tokens": [f"{tokens / 1e6:.2f} million" if tokens else "" for tokens in frame["tokens"]],
            "what is counted": frame["counted"],
            "CPU s": frame["cpu_seconds"].map("{:.0f}".format),
            "wall-clock s": frame["seconds"].map("{:.0f}".format),
            "longest job, s": frame["longest_seconds"].map("{:.0f}".format),
            "peak MB": frame["peak_mb"].map("{:.0f}".format),
        }
    )
    return Table(frame, shown)
