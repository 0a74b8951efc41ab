"""Drawing a figure and writing it as SVG, PNG and PDF with its numbers, and what figures share."""

import importlib
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.io import formats
from pqm.paper.declared import declared
from pqm.paper.results import Results

RIGHT, FIRST_WRONG, LATER_WRONG = "right", "first wrong", "later wrong"
STEP_COLOURS = {RIGHT: "#0072B2", FIRST_WRONG: "#D55E00", LATER_WRONG: "#999999"}
LEAST_STEPS = 10  # a mean of fewer is not drawn
# Each format with the metadata that would differ from run to run, left out.
FORMATS = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}


def draw_figure(name: str, results: Results, output: Path) -> None:
    """Write `{name}.svg`, `.png`, `.pdf` and the drawn numbers, `.csv`, to the folder `output`; equal inputs give equal bytes.

    Raises:
        PqmError: there is no such figure, or the study does not list it.
    """
    module, runs = importlib.import_module(declared("figures", name).module), results.runs_of("figures", name)
    data: pd.DataFrame = module.data(results, runs)
    figure: Figure = module.draw(data)
    with formats.whole_file(output / f"{name}.csv") as part:
        data.to_csv(part, index=False, float_format="%.4f")
    with matplotlib.rc_context({"svg.hashsalt": "pqm", "svg.fonttype": "path"}):
        for file_format, metadata in FORMATS.items():
            with formats.whole_file(output / f"{name}.{file_format}") as part:
                figure.savefig(part, format=file_format, dpi=150, metadata=metadata)


def legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    """The legend of an axis below all panels."""
    handles, labels = axis.get_legend_handles_labels()
    space = 0.1 + 0.2 * -(-len(handles) // columns)
    figure.legend(handles, labels, loc="lower center", ncol=columns, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, space / figure.get_figheight(), 1, 1))
