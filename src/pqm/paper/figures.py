"""The figures: what is drawn (a data frame, kept as CSV) and how, both functions; each named in `FIGURES`."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import comb
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate.estimators import area_under_curve, probability
from pqm.evaluate.first_errors import with_known_truth
from pqm.paper import theory
from pqm.paper.cost import seconds_a_sample
from pqm.paper.statistics import Bootstrap, Floats, interval
from pqm.paper.study import Study
from pqm.paper.style import method_order, printed, style
from pqm.questions.stories import ALL_RIGHT, step_truth

RIGHT, FIRST_WRONG, LATER_WRONG = "right", "first wrong", "later wrong"
STEP_COLOURS = {RIGHT: "#0072B2", FIRST_WRONG: "#D55E00", LATER_WRONG: "#999999"}
POLICY_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MONTE_CARLO = "Monte Carlo"
LEAST_STEPS = 10  # a mean of fewer is not drawn


# ---------------------------------------------------------------- curves over n


def _panels(table: pd.DataFrame) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A panel for each benchmark (row) and policy (column), in the table's order."""
    policies, benchmarks = list(dict.fromkeys(table["policy"])), list(dict.fromkeys(table["benchmark"]))
    figure, axes = plt.subplots(
        len(benchmarks),
        len(policies),
        figsize=(3.6 * len(policies), 3 * len(benchmarks) + 0.8),
        sharex=True,
        squeeze=False,
    )
    panels = {}
    for row, benchmark in enumerate(benchmarks):
        for column, policy in enumerate(policies):
            axis = panels[benchmark, policy] = axes[row][column]
            axis.set_title(f"{policy} policy, {benchmark}", fontsize=10)
            axis.grid(alpha=0.25)
            if column == 0:
                axis.set_ylabel("right answers, %")
    return figure, panels


def _legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    handles, labels = axis.get_legend_handles_labels()
    space = 0.1 + 0.2 * -(-len(handles) // columns)
    figure.legend(handles, labels, loc="lower center", ncol=columns, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, space / figure.get_figheight(), 1, 1))


def _curves(table: pd.DataFrame, methods: Sequence[str], bands: Sequence[str], columns: int) -> Figure:
    figure, panels = _panels(table)
    for (benchmark, policy), axis in panels.items():
        panel = table[(table["policy"] == policy) & (table["benchmark"] == benchmark)]
        for method in methods:
            line = panel[panel["method"] == method].sort_values("n")
            look = style(method)
            axis.plot(line["n"], 100 * line["accuracy"], color=look.colour, linestyle=look.line, linewidth=1.5, label=look.name)
            if method in bands:
                axis.fill_between(line["n"], 100 * line["low"], 100 * line["high"], color=look.colour, alpha=0.15, linewidth=0)
        _log2(axis, panel["n"])
    for axis in list(panels.values())[-len(set(table["policy"])) :]:
        axis.set_xlabel("n, samples to choose from")
    _legend_below(figure, next(iter(panels.values())), columns)
    return figure


def _log2(axis: Axes, values: pd.Series) -> None:
    axis.set_xscale("log", base=2)
    ticks = sorted(set(values))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()


def best_of_n_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """The main table without votes by reward models."""
    table = study.table("main")
    return table[~table["method"].str.contains("+", regex=False) & (table["method"] != "pass@1")]


def _draw_best_of_n(data: pd.DataFrame) -> Figure:
    methods = sorted(set(data["method"]) - {"policy-likelihood"}, key=method_order)
    return _curves(data, methods, [name for name in ("bce", "pqm-zeta4") if name in methods], 4)


def votes_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """The self-consistency table."""
    return study.table("self_consistency")


def _draw_votes(data: pd.DataFrame) -> Figure:
    return _curves(data, sorted(set(data["method"]), key=method_order), ["self-consistency"], 3)


def margin_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Accuracy by margin at the largest n and at 8 of it, from the margin table."""
    table = study.table("margin_ablation")
    rows = table[table["method"].str.startswith("pqm-zeta")]
    largest = rows["n"].max()
    sizes = {largest, max((n for n in rows["n"] if n <= largest // 8), default=largest)}
    rows = rows[rows["n"].isin(sizes)]
    return rows.assign(zeta=rows["method"].str.removeprefix("pqm-zeta").astype(float))


def _draw_margin(data: pd.DataFrame) -> Figure:
    benchmarks, sizes = list(dict.fromkeys(data["benchmark"])), sorted(set(data["n"]))
    figure, axes = plt.subplots(1, len(benchmarks), figsize=(4.6 * len(benchmarks), 4.0), squeeze=False)
    for axis, benchmark in zip(axes[0], benchmarks):
        panel = data[data["benchmark"] == benchmark]
        places = {zeta: place for place, zeta in enumerate(sorted(set(panel["zeta"])))}
        for colour, policy in zip(cycle(POLICY_COLOURS), dict.fromkeys(panel["policy"])):
            for n, line_style in zip(sizes[::-1], ("-", "--")):
                line = panel[(panel["policy"] == policy) & (panel["n"] == n)].sort_values("zeta")
                x = line["zeta"].map(places)
                name = f"{policy} policy, n = {n}"
                axis.plot(x, 100 * line["accuracy"], line_style, color=colour, marker="o", markersize=4, label=name)
                if n == sizes[-1]:
                    axis.fill_between(x, 100 * line["low"], 100 * line["high"], color=colour, alpha=0.12, linewidth=0)
        axis.set_xticks(list(places.values()), [f"{zeta:g}" for zeta in places])
        axis.set_title(benchmark, fontsize=10)
        axis.set_xlabel("margin ζ")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("right answers, %")
    _legend_below(figure, axes[0][0], 3)
    return figure


def compute_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Accuracy against the seconds that n samples, and their scores where there are any, take a question."""
    table = study.table("main")
    table = table[table["method"].isin({"self-consistency"} | {study.run(run).method for run in runs})]
    costs = seconds_a_sample(study, list(runs))
    joined = table.merge(costs, on=["policy", "benchmark"])
    scored = joined["method"] != "self-consistency"
    return joined.assign(seconds=joined["n"] * (joined["sampling"] + scored * joined["scoring"]))


def _draw_compute(data: pd.DataFrame) -> Figure:
    figure, panels = _panels(data)
    for (benchmark, policy), axis in panels.items():
        panel = data[(data["policy"] == policy) & (data["benchmark"] == benchmark)]
        for method in sorted(set(panel["method"]), key=method_order):
            line, look = panel[panel["method"] == method].sort_values("n"), style(method)
            axis.plot(
                line["seconds"], 100 * line["accuracy"], color=look.colour, linestyle=look.line, marker=".", label=look.name
            )
        axis.set_xscale("log")
    for axis in list(panels.values())[-len(set(data["policy"])) :]:
        axis.set_xlabel("seconds a question, one core")
    _legend_below(figure, next(iter(panels.values())), 4)
    return figure


# ---------------------------------------------------------------- what Monte Carlo says of steps


def _audit(study: Study) -> pd.DataFrame:
    """The labelled solutions of the audit set, with their steps and the truth of each.

    Raises:
        PqmError: a question is no story, so that nobody knows which steps are right.
    """
    name = study.audit
    labelled = study.labels(name)
    labelled["steps"] = labelled["completions"].map(tuple)
    try:
        labelled["truth"] = [step_truth(prompt, steps) for prompt, steps in zip(labelled["prompt"], labelled["steps"])]
    except ValueError:
        raise PqmError(f"labels {name}: the truth of their steps is not known; expected generated stories") from None
    return labelled


def _audited_prefixes(study: Study) -> pd.DataFrame:
    """One row a distinct prefix of the audit set that has completions: its length, its truth, hits and counts."""
    rows: dict[tuple[str, tuple[str, ...]], dict[str, object]] = {}
    for solution in _audit(study).itertuples():
        # The last label is the solution's own grade, no completion.
        for place, (right, hits, count) in enumerate(list(zip(solution.truth, solution.hits, solution.counts))[:-1]):
            if count:
                found = {"question_id": solution.question_id, "step": place + 1, "right": right, "hits": hits, "count": count}
                rows[solution.question_id, solution.steps[: place + 1]] = found
    return pd.DataFrame(rows.values())


def assumption_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Share of completions that are right after right and after wrong prefixes, by the prefix's length."""
    steps, paper = _audited_prefixes(study), study.paper
    clusters = pd.Series({name: name for name in steps["question_id"].unique()})
    bootstrap = Bootstrap(clusters, paper.resamples, paper.seed)
    rows = []
    for (step, right), group in steps.groupby(["step", "right"]):
        if len(group) < LEAST_STEPS:
            continue
        sums = group.groupby("question_id")[["hits", "count"]].sum().reindex(bootstrap.questions, fill_value=0).to_numpy(float)
        low, high = interval(bootstrap.ratios(sums[None, :, 0], sums[None, :, 1]), paper.confidence)
        share = group["hits"].sum() / group["count"].sum()
        rows.append({"step": step, "right": right, "share": share, "low": low, "high": high, "prefixes": len(group)})
    return pd.DataFrame(rows, columns=["step", "right", "share", "low", "high", "prefixes"])


def _draw_assumption(data: pd.DataFrame) -> Figure:
    figure, axis = plt.subplots(figsize=(5.6, 3.8))
    for right, offset, name in ((True, -0.18, RIGHT), (False, 0.18, FIRST_WRONG)):
        part = data[data["right"] == right]
        spread = np.clip([part["share"] - part["low"], part["high"] - part["share"]], 0, None)
        axis.bar(
            part["step"] + offset,
            100 * part["share"],
            0.34,
            color=STEP_COLOURS[name],
            label=f"after a {'right' if right else 'wrong'} prefix",
        )
        axis.errorbar(
            part["step"] + offset, 100 * part["share"], 100 * spread, fmt="none", ecolor="black", elinewidth=1, capsize=2
        )
    axis.set_xlabel("steps of the prefix")
    axis.set_ylabel("completions that are right, %")
    axis.set_xticks(sorted(set(data["step"])))
    axis.set_ylim(0, 105)
    _legend_below(figure, axis, 2)
    return figure


def label_audit_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Error rates of hard Monte Carlo labels against the truth for every k up to the completions that each prefix has."""
    steps = _audited_prefixes(study)
    most = int(steps["count"].min())
    rows = []
    for k in range(1, most + 1):
        any_hit = np.array([1 - comb(c - h, k) / comb(c, k) for h, c in zip(steps["hits"], steps["count"])])
        right = steps["right"].to_numpy()
        rows.append({"k": k, "false_positive": any_hit[~right].mean(), "false_negative": (1 - any_hit[right]).mean(),
                     "right_steps": int(right.sum()), "wrong_steps": int((~right).sum())})  # fmt: skip
    return pd.DataFrame(rows)


def _draw_label_audit(data: pd.DataFrame) -> Figure:
    figure, axis = plt.subplots(figsize=(5.6, 3.8))
    wrong, right = data["wrong_steps"].iloc[0], data["right_steps"].iloc[0]
    axis.plot(
        data["k"],
        100 * data["false_positive"],
        color="#D55E00",
        marker="o",
        markersize=4,
        label=f"wrong steps labelled + (of {wrong})",
    )
    axis.plot(
        data["k"],
        100 * data["false_negative"],
        color="#0072B2",
        marker="s",
        markersize=4,
        label=f"right steps labelled − (of {right})",
    )
    axis.set_xlabel("k, completions a prefix")
    axis.set_ylabel("labels that are wrong, %")
    axis.set_xticks(sorted({1, *range(4, int(data["k"].max()) + 1, 4)}))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.25)
    _legend_below(figure, axis, 1)
    return figure


def q_values_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Q by step, of right and of wrong steps, and reversals of the theorem's order: by Monte Carlo and by models.

    Monte Carlo's Q of a place is the logit of its share of right completions; a model's is the mean of its scores.
    """
    labelled = _audit(study)
    rows = [row | _monte_carlo_reversals(labelled) for row in _monte_carlo_places(study)]
    for run in runs:
        parts = [study.solutions(scorer, study.audit) for scorer in study.scorers(run)]
        means = {
            (row.question_id, row.steps): np.mean([part.at[row.Index, "step_scores"] for part in parts], axis=0)
            for row in parts[0].itertuples()
        }
        rows += _model_places(study.run(run).method, labelled, means)
    return pd.DataFrame(rows, columns=["source", "step", "right", "q", "steps", "violated", "inequalities"])


def _monte_carlo_places(study: Study) -> list[dict[str, object]]:
    places = []
    for (step, right), group in _audited_prefixes(study).groupby(["step", "right"]):
        if len(group) >= LEAST_STEPS:
            hits, count = group["hits"].sum(), group["count"].sum()
            bounded = min(max(hits, 0.5), count - 0.5)  # half a completion from never and from always
            q = float(np.log(bounded / (count - bounded)))
            places.append({"source": MONTE_CARLO, "step": step, "right": right, "q": q, "steps": len(group)})
    return places


def _monte_carlo_reversals(labelled: pd.DataFrame) -> dict[str, int]:
    """Within each solution, its last step (whose label is its own grade) and the unknown start left out."""
    pairs = [theory.violations(row.soft_labels[:-1], row.truth[:-1]) for row in labelled.itertuples()]
    return {"violated": sum(one for one, _ in pairs), "inequalities": sum(many for _, many in pairs)}


def _model_places(
    method: str, labelled: pd.DataFrame, scores: dict[tuple[str, tuple[str, ...]], Floats]
) -> list[dict[str, object]]:
    pairs = []
    seen: dict[tuple[int, bool], list[float]] = {}
    for solution in labelled.itertuples():
        q = scores[solution.question_id, solution.steps]
        pairs.append(theory.violations(q, solution.truth, 0.0))
        for place, right in enumerate(solution.truth):
            seen.setdefault((place + 1, right), []).append(float(q[place]))
    reversals = {"violated": sum(one for one, _ in pairs), "inequalities": sum(many for _, many in pairs)}
    return [
        {"source": method, "step": step, "right": right, "q": float(np.mean(qs)), "steps": len(qs)} | reversals
        for (step, right), qs in sorted(seen.items())
        if len(qs) >= LEAST_STEPS
    ]


def _draw_q_values(data: pd.DataFrame) -> Figure:
    sources = list(dict.fromkeys(data["source"]))
    figure, axes = plt.subplots(1, len(sources), figsize=(3.7 * len(sources), 4.2), squeeze=False)
    for axis, source in zip(axes[0], sources):
        part = data[data["source"] == source]
        for right, name in ((True, RIGHT), (False, FIRST_WRONG)):
            line = part[part["right"] == right]
            axis.plot(
                line["step"],
                line["q"],
                color=STEP_COLOURS[name],
                marker="o",
                markersize=4,
                label=f"{'right' if right else 'wrong'} steps",
            )
        axis.axhline(0, color="#999999", linewidth=1, linestyle=":")
        share = part["violated"].iloc[0] / max(1, part["inequalities"].iloc[0])
        title = source if source == MONTE_CARLO else printed(source)
        axis.set_title(
            f"{title}\n{part['violated'].iloc[0]} of {part['inequalities'].iloc[0]} inequalities reversed ({100 * share:.0f} %)",
            fontsize=9,
        )
        axis.set_xlabel("step")
        axis.set_xticks(sorted(set(part["step"])))
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("Q")
    _legend_below(figure, axes[0][0], 2)
    return figure


def framework_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """One audited solution: its steps, their truth, their Monte Carlo labels and the Q of a run, by a rule that sees no score."""
    labelled = _audit(study)
    right, wrong = (labelled["truth"].map(lambda truth, kind=kind: truth.count(kind)) for kind in (True, False))
    ranked = labelled.assign(scarcer=np.minimum(right, wrong), uneven=(right - wrong).abs())
    order = ["scarcer", "uneven", "question_id", "policy"]
    chosen = ranked.sort_values(order, ascending=[False, True, True, True], kind="stable").iloc[0]
    truth = chosen["truth"]
    scores = []
    for scorer in study.scorers(runs[0]):
        rows = study.solutions(scorer, study.audit)
        same = rows[(rows["question_id"] == chosen.question_id) & (rows["steps"] == chosen.steps)]
        scores.append(same["step_scores"].iloc[0])
    return pd.DataFrame(
        {
            "question": chosen.prompt,
            "step": range(1, len(truth) + 1),
            "text": list(chosen.completions),
            "right": truth,
            "hits": list(chosen.hits),
            "count": list(chosen.counts),
            "label": list(chosen.labels),
            "q": np.mean(scores, axis=0),
            "method": study.run(runs[0]).method,
        }
    )


STEP_WIDTH = 62  # characters of a line that stay left of the bars


def _draw_framework(data: pd.DataFrame) -> Figure:
    steps = len(data)
    figure, (text, bars) = plt.subplots(1, 2, figsize=(10.5, 0.55 * steps + 1.8), width_ratios=(1.7, 1))
    colours = [STEP_COLOURS[RIGHT] if right else STEP_COLOURS[FIRST_WRONG] for right in data["right"]]
    for axis in (text, bars):
        axis.set_ylim(steps + 0.2, -1.6)
    text.set_xlim(0, 1)
    text.axis("off")
    question = data["question"].iloc[0]
    cut = question.rfind(" . ", 0, len(question) // 2 + 12) + 2
    text.text(0, -1.1, f"{question[:cut]}\n{question[cut:].strip()}", fontsize=8.5, va="center")
    text.text(0, -0.25, "right completions, label", fontsize=8, va="center", color="#555555")
    for place, (row, colour) in enumerate(zip(data.itertuples(), colours)):
        sign, box = "+" if row.label >= 0.5 else "−", {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour}
        text.text(0.11, place + 0.5, f"{row.hits}/{row.count}  {sign}", fontsize=9.5, va="center", ha="right", color=colour)
        shown = textwrap.fill(row.text, STEP_WIDTH, subsequent_indent="     ")
        text.text(0.16, place + 0.5, f"{row.step}   {shown}", fontsize=9, va="center", bbox=box)
    places = np.arange(steps) + 0.5
    bars.barh(places, data["q"], 0.6, color=colours)
    bars.axvline(0, color="black", linewidth=1)
    bars.set_yticks([])
    bars.set_xlabel(f"Q of each step, {printed(data['method'].iloc[0])} (start: 0)")
    for side in ("top", "right", "left"):
        bars.spines[side].set_visible(False)
    span = max(abs(data["q"])) or 1.0
    bars.set_xlim(-1.35 * span, 1.35 * span)
    for place, q in zip(places, data["q"]):
        outwards = 1 if q >= 0 else -1
        bars.text(q + 0.04 * outwards * span, place, f"{q:.2f}", fontsize=8.5, va="center", ha="left" if q >= 0 else "right")
    figure.tight_layout()
    return figure


# ---------------------------------------------------------------- what models say of steps


def _steps_by_kind(study: Study, run: str) -> pd.DataFrame:
    """Every step score of the distinct benchmark solutions whose truth is known, with its seed and what kind of step it is."""
    rows = []
    for seed, scorer in enumerate(study.scorers(run)):
        for benchmark in study.evaluation.benchmarks:
            for solution in with_known_truth(study.solutions(scorer, benchmark)).itertuples():
                error = solution.first_error if solution.first_error != ALL_RIGHT else len(solution.steps)
                for place, score in enumerate(solution.step_scores):
                    rows.append((seed, RIGHT if place < error else FIRST_WRONG if place == error else LATER_WRONG, score))
    if not rows:
        raise PqmError(f"run {run}: no benchmark solution's first wrong step is known, which this figure is about")
    return pd.DataFrame(rows, columns=["seed", "kind", "score"])


BINS = 48


def separation_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Histograms of step scores for right, first wrong and later wrong steps, and the chance that a right one is higher."""
    steps = {run: _steps_by_kind(study, run) for run in runs}
    reach = np.ceil(max(part["score"].abs().quantile(0.999) for part in steps.values()))
    edges = np.linspace(-reach, reach, BINS + 1)
    rows = []
    for run, part in steps.items():
        known = [seed for _, seed in part[part["kind"] != LATER_WRONG].groupby("seed")]
        auc = np.mean([area_under_curve(seed["score"].to_numpy(), (seed["kind"] == RIGHT).to_numpy()) for seed in known])
        for kind, group in part.groupby("kind"):
            counts, _ = np.histogram(np.clip(group["score"], -reach, reach), edges)
            rows += [
                {
                    "method": study.run(run).method,
                    "kind": kind,
                    "low": low,
                    "high": high,
                    "share": share,
                    "steps": len(group),
                    "auc": auc,
                }
                for low, high, share in zip(edges, edges[1:], counts / len(group))
            ]
    return pd.DataFrame(rows)


def _draw_separation(data: pd.DataFrame) -> Figure:
    methods = sorted(set(data["method"]), key=method_order)
    columns = min(3, len(methods))
    figure, axes = plt.subplots(
        -(-len(methods) // columns),
        columns,
        figsize=(3.6 * columns, 2.6 * -(-len(methods) // columns) + 0.5),
        sharex=True,
        squeeze=False,
    )
    for axis, method in zip(axes.flat, methods):
        part = data[data["method"] == method]
        for kind in STEP_COLOURS:
            line = part[part["kind"] == kind]
            axis.stairs(
                100 * line["share"],
                [*line["low"], line["high"].iloc[-1]],
                color=STEP_COLOURS[kind],
                linewidth=1.4,
                label=f"{kind} steps",
            )
        axis.set_title(f"{printed(method)}: AUC {part['auc'].iloc[0]:.3f}", fontsize=10)
        axis.grid(alpha=0.25)
    for axis in axes[:, 0]:
        axis.set_ylabel("steps, %")
    for axis in axes[-1]:
        axis.set_xlabel("step score, logit")
    for axis in list(axes.flat)[len(methods) :]:
        axis.axis("off")
    _legend_below(figure, axes[0][0], 3)
    return figure


def calibration_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Of the steps with a score in each tenth of sigma, how many are right, and the expected calibration error."""
    rows = []
    for run in runs:
        steps = _steps_by_kind(study, run)
        chance, right = probability(steps["score"].to_numpy()), (steps["kind"] == RIGHT).to_numpy()
        bins = np.minimum((10 * chance).astype(int), 9)
        error = sum(abs(chance[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist()))
        for b in sorted(set(bins.tolist())):
            inside = bins == b
            if inside.sum() < LEAST_STEPS:
                continue
            rows.append(
                {
                    "method": study.run(run).method,
                    "predicted": chance[inside].mean(),
                    "right": right[inside].mean(),
                    "steps": int(inside.sum()),
                    "calibration_error": error,
                }
            )
    return pd.DataFrame(rows)


def _draw_calibration(data: pd.DataFrame) -> Figure:
    figure, axis = plt.subplots(figsize=(5.4, 5.2))
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for method in sorted(set(data["method"]), key=method_order):
        line, look = data[data["method"] == method], style(method)
        axis.plot(
            line["predicted"],
            line["right"],
            color=look.colour,
            marker="o",
            markersize=4,
            label=f"{look.name}: {line['calibration_error'].iloc[0]:.2f}",
        )
    axis.set_xlabel("σ of the step score")
    axis.set_ylabel("share of right steps")
    axis.set_aspect("equal")
    axis.grid(alpha=0.25)
    _legend_below(figure, axis, 2)
    return figure


# ---------------------------------------------------------------- exact processes


STEPS = 6


def theory_data(study: Study, runs: Sequence[str]) -> pd.DataFrame:
    """Exact values: a chain that keeps the theorem, the share of broken inequalities over all chains, and two roads that break it."""
    rows = []
    kept = theory.chain(0.95, 0.1, STEPS)
    for t, (right, wrong) in enumerate(theory.q_star(kept)[:-1]):
        rows.append({"panel": "chain", "x": t, "y": right, "series": "right"})
        if t:
            rows.append({"panel": "chain", "x": t, "y": wrong, "series": "wrong"})
    grid = np.linspace(0.05, 0.95, 19)
    for stay in grid:
        for recover in grid:
            rows.append(
                {
                    "panel": "grid",
                    "x": stay,
                    "y": recover,
                    "series": "violated",
                    "value": theory.chain(stay, recover, STEPS).violated(),
                }
            )
    roads = theory.two_roads(0.99, 0.85, 0.3, 0.05, STEPS)
    for t, (easy, hard, wrong) in enumerate(theory.q_star(roads)[:-1]):
        if t == 0:
            rows.append({"panel": "roads", "x": 0, "y": easy, "series": "start"})
        else:
            rows += [
                {"panel": "roads", "x": t, "y": q, "series": name}
                for q, name in ((easy, "easy road"), (hard, "hard road"), (wrong, "wrong"))
            ]
    frame = pd.DataFrame(rows)
    frame.loc[frame["panel"] == "roads", "value"] = roads.violated()
    return frame


def _draw_theory(data: pd.DataFrame) -> Figure:
    figure, (chain, grid, roads) = plt.subplots(1, 3, figsize=(11.6, 3.9), width_ratios=(1, 1.15, 1))
    part = data[data["panel"] == "chain"]
    for name, colour in (("right", STEP_COLOURS[RIGHT]), ("wrong", STEP_COLOURS[FIRST_WRONG])):
        line = part[part["series"] == name]
        chain.plot(line["x"], line["y"], color=colour, marker="o", markersize=4, label=f"after a {name} step")
    chain.set_title("stay .95, recover .10: the order holds", fontsize=10)
    square = data[data["panel"] == "grid"].pivot(index="y", columns="x", values="value")
    image = grid.pcolormesh(square.columns, square.index, 100 * square, cmap="cividis", vmin=0)
    grid.plot([0.05, 0.95], [0.05, 0.95], color="white", linestyle="--", linewidth=1.2)
    grid.set_xlabel("chance to stay right")
    grid.set_ylabel("chance to recover")
    grid.set_title("inequalities reversed, %", fontsize=10)
    grid.set_xticks(np.linspace(0.1, 0.9, 5))
    grid.set_yticks(np.linspace(0.1, 0.9, 5))
    grid.set_aspect("equal")
    figure.colorbar(image, ax=grid, fraction=0.046)
    part = data[data["panel"] == "roads"]
    start = part[part["series"] == "start"]["y"].iloc[0]
    roads.axhline(start, color="#999999", linestyle=":", label="start")
    for name, colour in (("easy road", STEP_COLOURS[RIGHT]), ("hard road", "#56B4E9"), ("wrong", STEP_COLOURS[FIRST_WRONG])):
        line = part[part["series"] == name]
        roads.plot(line["x"], line["y"], color=colour, marker="o", markersize=4, label=name)
    roads.set_ylim(bottom=part["y"].min() - 1.6)  # room for the legend
    roads.set_title(f"two roads: {100 * part['value'].iloc[0]:.0f} % reversed", fontsize=10)
    for axis in (chain, roads):
        axis.set_xlabel("step")
        axis.set_ylabel("Q*")
        axis.grid(alpha=0.25)
        axis.legend(
            fontsize=8, frameon=False, loc="upper left" if axis is chain else "lower left", ncol=1 if axis is chain else 2
        )
    figure.tight_layout()
    return figure


# ---------------------------------------------------------------- writing


@dataclass(frozen=True)
class Drawing:
    """A figure: the frame that is drawn, and how."""

    data: Callable[[Study, Sequence[str]], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


FIGURES = {
    "framework": Drawing(framework_data, _draw_framework),
    "best_of_n": Drawing(best_of_n_data, _draw_best_of_n),
    "margin": Drawing(margin_data, _draw_margin),
    "votes": Drawing(votes_data, _draw_votes),
    "assumption": Drawing(assumption_data, _draw_assumption),
    "q_values": Drawing(q_values_data, _draw_q_values),
    "label_audit": Drawing(label_audit_data, _draw_label_audit),
    "separation": Drawing(separation_data, _draw_separation),
    "calibration": Drawing(calibration_data, _draw_calibration),
    "compute": Drawing(compute_data, _draw_compute),
    "theory": Drawing(theory_data, _draw_theory),
}


def draw_figure(name: str, study: Study, output: Path) -> None:
    """Write `{name}.svg`, `.png`, `.pdf` and the drawn numbers, `.csv`, to the folder `output`; the same input gives the same bytes.

    Raises:
        PqmError: no figure has this name, or the study does not list it.
    """
    if name not in FIGURES:
        raise PqmError(f"no figure is named {name!r}; expected one of {', '.join(FIGURES)}")
    if name not in study.paper.figures:
        raise PqmError(f"{study.file}: results: figure {name!r} is not listed")
    plt.rcParams.update({"svg.hashsalt": "pqm", "svg.fonttype": "path"})
    data = FIGURES[name].data(study, study.runs_of(name))
    figure = FIGURES[name].draw(data)
    with formats.whole_file(output / f"{name}.csv") as part:
        data.to_csv(part, index=False, float_format="%.4f")
    for form, metadata in (("svg", {"Date": None}), ("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        with formats.whole_file(output / f"{name}.{form}") as part:
            figure.savefig(part, format=form, dpi=150, metadata=metadata)
    plt.close(figure)
