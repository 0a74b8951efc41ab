"""The figures. To add one: a name in `paper.yaml`, a function here, a caption in `workflow/report/`."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from pqm import formats
from pqm.errors import PqmError
from pqm.paper.style import METHODS, method_order, printed

DRAWN_IN_BEST_OF_N = (
    "pass@n", "random", "self-consistency", "backbone-likelihood", "proofreader",
    "orm", "mse-hard", "mse-soft", "bce", "pqm-zeta2", "pqm-zeta4",
)  # fmt: skip
WITH_BAND = ("bce", "pqm-zeta4")


def best_of_n(table: pd.DataFrame) -> Figure:
    """Accuracy against n for every method, a panel for each benchmark and policy."""
    policies, benchmarks = sorted(table["policy"].unique()), sorted(table["benchmark"].unique(), reverse=True)
    policies.sort(key=lambda policy: table[(table["policy"] == policy) & (table["method"] == "pass@1")]["accuracy"].mean())
    figure, axes = plt.subplots(
        len(benchmarks), len(policies), figsize=(3.6 * len(policies), 3.1 * len(benchmarks) + 1.1), sharex=True, squeeze=False
    )
    for row, benchmark in enumerate(benchmarks):
        for column, policy in enumerate(policies):
            axis = axes[row][column]
            panel = table[(table["policy"] == policy) & (table["benchmark"] == benchmark)]
            for method in sorted(set(panel["method"]) & set(DRAWN_IN_BEST_OF_N), key=method_order):
                line = panel[panel["method"] == method].sort_values("n")
                _, colour, style = METHODS[method]
                axis.plot(line["n"], 100 * line["accuracy"], color=colour, linestyle=style, linewidth=1.5, label=printed(method))
                if method in WITH_BAND:
                    axis.fill_between(line["n"], 100 * line["low"], 100 * line["high"], color=colour, alpha=0.15, linewidth=0)
            axis.set_xscale("log", base=2)
            axis.set_xticks(ticks := sorted(panel["n"].unique()), [str(n) for n in ticks])
            axis.set_title(f"{policy} policy, {benchmark}", fontsize=10)
            axis.grid(alpha=0.25)
            if column == 0:
                axis.set_ylabel("right answers, %")
            if row == len(benchmarks) - 1:
                axis.set_xlabel("n, samples to choose from")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.9 / figure.get_figheight(), 1, 1))
    return figure


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"best_of_n": best_of_n}


def draw_figure(name: str, table: Path, output: Path) -> None:
    """Write `{name}.svg` and `{name}.png` to the folder `output`; the same table gives the same bytes.

    Raises:
        PqmError: no figure has this name.
    """
    if name not in FIGURES:
        raise PqmError(f"no figure is named {name!r}; expected one of {', '.join(FIGURES)}")
    plt.rcParams.update({"svg.hashsalt": "pqm", "svg.fonttype": "path"})
    try:
        content = pd.read_csv(table)
    except FileNotFoundError:
        raise PqmError(f"{table}: missing; figure {name} is drawn from it") from None
    figure = FIGURES[name](content)
    for form, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        with formats.whole_file(output / f"{name}.{form}") as part:
            figure.savefig(part, format=form, dpi=150, metadata=metadata)
    plt.close(figure)
