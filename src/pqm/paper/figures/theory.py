"""Theorem 3.5 in exact processes: where its order holds and where it breaks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.estimation.theory import chain, q_star, two_roads
from pqm.paper.figure import FIRST_WRONG, RIGHT, STEP_COLOURS
from pqm.paper.results import Results

TITLE = "Theorem 3.5 in exact processes"
NEEDS = ()
CAPTION = """
Q* in exact processes of six steps, by backward induction. Left: a right step follows a right one with chance .95 and a wrong one
with chance .10; the Q of right steps rises above the start and that of wrong ones falls below it, as Theorem 3.5 states. Middle:
the share of the theorem's adjacent inequalities that are reversed, in expectation over the policy's trajectories, for every pair
of chances. Above the diagonal a wrong step is more likely to be corrected than a right one to stay right, and the order is
reversed. Right: a first right step takes an easy road (stay .99) or a hard one (.85). On both, right steps are far likelier after
right ones, and yet the step onto the hard road lowers Q: the order also needs that no right step lowers the chance of success.
The last step, where Q is infinite, is not drawn.
"""
STEPS = 6
ROADS = {"easy road": STEP_COLOURS[RIGHT], "hard road": "#56B4E9", "wrong": STEP_COLOURS[FIRST_WRONG]}


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """A chain that keeps the theorem's order, the share of reversed inequalities over all chains, and two roads that break it."""
    roads = two_roads(0.99, 0.85, 0.3, 0.05, STEPS)
    rows = [*_chain_rows(), *_grid_rows()]
    for t, values in enumerate(q_star(roads)[:-1]):
        series = dict(zip(ROADS, values)) if t else {"start": values[0]}
        rows += [{"panel": "roads", "x": t, "y": q, "series": name} for name, q in series.items()]
    frame = pd.DataFrame(rows)
    frame.loc[frame["panel"] == "roads", "value"] = roads.violated()
    return frame


def _chain_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for t, (right, wrong) in enumerate(q_star(chain(0.95, 0.1, STEPS))[:-1]):
        rows.append({"panel": "chain", "x": t, "y": right, "series": "right"})
        if t:
            rows.append({"panel": "chain", "x": t, "y": wrong, "series": "wrong"})
    return rows


def _grid_rows() -> list[dict[str, object]]:
    grid = np.linspace(0.05, 0.95, 19)
    return [
        {"panel": "grid", "x": stay, "y": recover, "series": "violated", "value": chain(stay, recover, STEPS).violated()}
        for stay in grid
        for recover in grid
    ]


def draw(data: pd.DataFrame) -> Figure:
    """The chain, the grid and the roads side by side."""
    figure = Figure(figsize=(11.6, 3.9))
    axes = figure.subplots(1, 3, width_ratios=(1, 1.15, 1))
    parts = [data[data["panel"] == panel] for panel in ("chain", "grid", "roads")]
    _draw_chain(axes[0], parts[0])
    _draw_grid(figure, axes[1], parts[1])
    _draw_roads(axes[2], parts[2])
    figure.tight_layout()
    return figure


def _draw_chain(axis: Axes, part: pd.DataFrame) -> None:
    for name, colour in (("right", STEP_COLOURS[RIGHT]), ("wrong", STEP_COLOURS[FIRST_WRONG])):
        line = part[part["series"] == name]
        axis.plot(line["x"], line["y"], color=colour, marker="o", markersize=4, label=f"after a {name} step")
    axis.set_title("stay .95, recover .10: the order holds", fontsize=10)
    _finish(axis)
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_grid(figure: Figure, axis: Axes, part: pd.DataFrame) -> None:
    square = part.pivot(index="y", columns="x", values="value")
    image = axis.pcolormesh(square.columns, square.index, 100 * square, cmap="cividis", vmin=0)
    axis.plot([0.05, 0.95], [0.05, 0.95], color="white", linestyle="--", linewidth=1.2)
    axis.set_xlabel("chance to stay right")
    axis.set_ylabel("chance to recover")
    axis.set_title("inequalities reversed, %", fontsize=10)
    axis.set_xticks(np.linspace(0.1, 0.9, 5))
    axis.set_yticks(np.linspace(0.1, 0.9, 5))
    axis.set_aspect("equal")
    figure.colorbar(image, ax=axis, fraction=0.046)


def _draw_roads(axis: Axes, part: pd.DataFrame) -> None:
    start = part[part["series"] == "start"]["y"].iloc[0]
    axis.axhline(start, color="#999999", linestyle=":", label="start")
    for name, colour in ROADS.items():
        line = part[part["series"] == name]
        axis.plot(line["x"], line["y"], color=colour, marker="o", markersize=4, label=name)
    axis.set_ylim(bottom=part["y"].min() - 1.6)  # room for the legend
    axis.set_title(f"two roads: {100 * part['value'].iloc[0]:.0f} % reversed", fontsize=10)
    _finish(axis)
    axis.legend(fontsize=8, frameon=False, loc="lower left", ncol=2)


def _finish(axis: Axes) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel("Q*")
    axis.grid(alpha=0.25)
