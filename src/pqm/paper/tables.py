"""The tables: each a function of the study and of the runs that the study gives it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate.estimators import AGGREGATIONS, probability
from pqm.evaluate.first_errors import best_threshold, harmonic_mean, hits, with_known_truth
from pqm.paper import cost
from pqm.paper.published import disagreements, judged_solutions
from pqm.paper.statistics import (
    Bootstrap,
    accuracies,
    bootstraps,
    compare,
    holm,
    interval,
    smallest_difference,
    summarise,
)
from pqm.paper.study import Study
from pqm.paper.style import SELF_CONSISTENCY, method_order, printed

DIGITS = 4
CASE_STEPS = 5


@dataclass
class Table:
    """A result: `rows` for machines (CSV), `shown` for people (Markdown, LaTeX), and what the caption adds once it is made."""

    rows: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""


# ---------------------------------------------------------------- accuracy against n


def _summary(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Intervals of every method by its own aggregation, in the study's order of policies and benchmarks."""
    paper = study.paper
    return _in_order(study, summarise(_own_aggregation(metrics), paper.confidence, paper.resamples, paper.seed))


def _in_order(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Benchmarks and policies as the study names them, methods as printed, n rising."""
    judged = (*study.evaluation.benchmarks, *study.evaluation.annotated)
    order = {"benchmark": judged.index, "policy": study.evaluation.policies.index, "method": method_order}
    keys = [key for key in ("benchmark", "policy", "backbone", "method", "n") if key in rows]
    # Method keys are tuples, which pandas sorts when they are objects of one column.
    return rows.sort_values(
        keys, key=lambda column: column.map(order[column.name]) if column.name in order else column, kind="stable"
    ).reset_index(drop=True)


def _percent(rows: pd.DataFrame, column: str = "accuracy", sign: str = "") -> list[str]:
    """Percentages with their intervals; `sign` "+" writes the sign of positive ones, too."""
    form = f"{sign}.1f"
    return [
        f"{100 * value:{form}} [{100 * low:{form}}, {100 * high:{form}}]" if value == value else "not defined"
        for value, low, high in zip(rows[column], rows["low"], rows["high"])
    ]


def _own_aggregation(metrics: pd.DataFrame) -> pd.DataFrame:
    """Each method by the aggregation that it was made for, its first."""
    first = metrics.groupby(["method", "backbone"], sort=False)["aggregation"].transform("first")
    return metrics[metrics["aggregation"] == first]


def _wide(rows: pd.DataFrame, keys: Sequence[str], marks: dict[tuple[str, ...], str] | None = None) -> pd.DataFrame:
    """Percentages with their intervals, one column for each n; `marks` are added at the largest n, by `keys`."""
    cells = rows.assign(cell=_percent(rows))
    if marks:
        at_largest = cells["n"] == cells["n"].max()
        names = [marks.get(tuple(key), "") for key in cells[list(keys)].itertuples(index=False)]
        cells["cell"] = [
            f"{cell} {mark}" if mark and largest else cell for cell, mark, largest in zip(cells["cell"], names, at_largest)
        ]
    order = cells[list(keys)].drop_duplicates()
    wide = cells.pivot(index=list(keys), columns="n", values="cell").fillna("")
    wide = wide.loc[list(order.itertuples(index=False, name=None))]
    wide.columns = [f"n = {n}" for n in wide.columns]
    wide = wide.reset_index()
    wide["method"] = wide["method"].map(printed)
    return wide


def main(study: Study, runs: Sequence[str]) -> Table:
    """Policy x benchmark x method x n, with letters for the differences that hold at the largest n."""
    metrics = study.metrics(runs)
    rows = _summary(study, metrics)
    tests = _tests(study, metrics, runs)
    marks: dict[tuple[str, ...], str] = {}
    for test in tests[tests["holds"] & (tests["family"] == "cells")].itertuples():
        key = (test.benchmark, test.policy, test.method)
        arrow = "" if test.difference > 0 else "↓"
        marks[key] = (marks.get(key, "") + f" {LETTERS[test.reference]}{arrow}").strip()
    return Table(rows, _wide(rows, ["benchmark", "policy", "method"], marks), _tests_note(study, tests))


# Which reference a letter in the main table stands for.
LETTERS = {"self-consistency": "s", "proofreader": "m", "bce": "b"}


def differences(study: Study, runs: Sequence[str]) -> Table:
    """Every test behind the letters of the main table."""
    tests = _tests(study, study.metrics(runs), runs)
    shown = pd.DataFrame(
        {
            "benchmark": tests["benchmark"],
            "policy": tests["policy"],
            "method": tests["method"].map(printed),
            "against": tests["reference"].map(printed),
            "difference": _percent(tests, "difference", "+"),
            "p": tests["p"].map(_p),
            "p, Holm": tests["p_holm"].map(_p),
            "holds": np.where(tests["holds"], "yes", ""),
        }
    )
    return Table(tests, shown, _tests_note(study, tests))


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


ALL = "all"


def _tests(study: Study, metrics: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """Each trained method against self-consistency, the backbone's own mark and BCE, at the largest n.

    Two families, each corrected by itself: over all cells together (a question's mean over the policies, all benchmarks'
    questions, clusters shared between benchmarks), and cell by cell.
    """
    paper = study.paper
    own = _own_aggregation(metrics[metrics["n"] == max(study.evaluation.n)])
    keys = ["method", "seed", "question_id", "cluster"]
    together = own.groupby(keys, sort=False, as_index=False)["accuracy"].mean().assign(policy=ALL, benchmark=ALL)
    draws = bootstraps(pd.concat([own, together]), paper.resamples, paper.seed)
    methods = sorted({study.run(run).method for run in runs}, key=method_order)
    rows = []
    for policy, benchmark in [(ALL, ALL), *study.cells]:
        cell = together if policy == ALL else own[(own["policy"] == policy) & (own["benchmark"] == benchmark)]
        values = {method: accuracies(part, draws[benchmark]) for method, part in cell.groupby("method", sort=False)}
        for method in methods:
            for reference in (name for name in LETTERS if name in values and name != method):
                rows.append(
                    {"family": ALL if policy == ALL else "cells", "benchmark": benchmark, "policy": policy, "method": method}
                    | {"reference": reference, "n": max(study.evaluation.n)}
                    | vars(compare(draws[benchmark], values[method], values[reference], paper.confidence))
                )
    tests = pd.DataFrame(rows)
    tests["p_holm"] = tests.groupby("family")["p"].transform(lambda p: holm(p.tolist()))
    tests["holds"] = tests["p_holm"] < 1 - paper.confidence
    return tests


def _tests_note(study: Study, tests: pd.DataFrame) -> str:
    """How many tests there were and hold, and the median over them of the difference that could have been found."""
    alpha = 1 - study.paper.confidence
    parts = []
    for family, name in ((ALL, "Over all cells together"), ("cells", "Cell by cell")):
        part = tests[tests["family"] == family]
        found = [smallest_difference(row.error, row.freedom, alpha / len(part)) for row in part.itertuples() if row.error > 0]
        held = f"{int(part['holds'].sum())} of {len(part)} tests hold"
        parts.append(
            f"{name} {held}; a true difference of {100 * np.median(found or [np.nan]):.0f} points is found with a chance of 80 %."
        )
    above = tests[(tests["family"] == ALL) & tests["holds"] & (tests["difference"] > 0)]
    together = "; ".join(
        f"{printed(method)} above {', '.join(printed(name) for name in part['reference'])}"
        for method, part in above.groupby("method", sort=False)
    )
    return " ".join([*parts, f"Over all cells together: {together or 'no method above any of the three'}."])


def backbones(study: Study, runs: Sequence[str]) -> Table:
    """The same losses from several backbones."""
    metrics = study.metrics(runs)
    trained = metrics[~metrics["method"].str.endswith(SELF_CONSISTENCY)]
    methods = {study.run(run).method for run in runs}
    rows = _summary(study, trained[trained["method"].isin(methods | {"pass@1", "self-consistency"})])
    order = list(dict.fromkeys(["none", *(study.run(run).backbone for run in runs)]))
    rows = _in_order(study, rows.assign(backbone=pd.Categorical(rows["backbone"], order))).astype({"backbone": str})
    return Table(rows, _wide(rows, ["benchmark", "policy", "backbone", "method"]), _seeds_note(study, runs))


def ablation(study: Study, runs: Sequence[str]) -> Table:
    """The runs of a table, without votes and references but pass@1, on the policies that all of them are judged on."""
    metrics = study.metrics(runs)
    kept = {study.run(run).method for run in runs} | {"pass@1"}
    judged = [policy for policy in study.evaluation.policies if all(policy in study.policies(run) for run in runs)]
    rows = _summary(study, metrics[metrics["method"].isin(kept) & metrics["policy"].isin(judged)])
    return Table(rows, _wide(rows, ["benchmark", "policy", "method"]), _seeds_note(study, runs))


def _seeds_note(study: Study, runs: Sequence[str]) -> str:
    counts = {run: len(study.seeds(run)) for run in runs}
    groups = {count: [run for run in runs if counts[run] == count] for count in sorted(set(counts.values()), reverse=True)}
    return "Training seeds: " + "; ".join(f"{count} for {', '.join(names)}" for count, names in groups.items()) + "."


def self_consistency(study: Study, runs: Sequence[str]) -> Table:
    """Votes, reward models, and both together."""
    metrics = study.metrics(runs)
    alone = {study.run(run).method for run in runs}
    kept = alone | {method + SELF_CONSISTENCY for method in alone} | {"self-consistency"}
    rows = _summary(study, metrics[metrics["method"].isin(kept)])
    return Table(rows, _wide(rows, ["benchmark", "policy", "method"]))


def aggregations(study: Study, runs: Sequence[str]) -> Table:
    """Best-of-n by each aggregation of the step scores, and how often the lowest step is the last."""
    metrics = study.metrics(runs, references=False)
    metrics = metrics[~metrics["method"].str.endswith(SELF_CONSISTENCY)]
    paper = study.paper
    rows = _in_order(study, summarise(metrics, paper.confidence, paper.resamples, paper.seed))
    last = {
        (study.run(run).method, benchmark, policy): _minima_on_last(study, run, policy, benchmark)
        for run in runs
        for policy, benchmark in study.cells
    }
    rows["minimum_is_last"] = [last[row.method, row.benchmark, row.policy] for row in rows.itertuples()]
    largest = rows[rows["n"] == rows["n"].max()]
    grouped = largest.groupby(["benchmark", "method", "aggregation"], sort=False)["accuracy"].mean().unstack()
    shown = (100 * grouped[[name for name in AGGREGATIONS if name in grouped]]).map(
        lambda value: f"{value:.1f}" if value == value else ""
    )
    shares = largest.groupby(["benchmark", "method"], sort=False)["minimum_is_last"].mean()
    shown["minimum is the last step"] = [f"{100 * shares[key]:.0f} %" for key in shown.index]
    shown = _in_order(study, shown.reset_index())
    shown["method"] = shown["method"].map(printed)
    return Table(rows, shown, f"Printed: n = {rows['n'].max()}.")


def _minima_on_last(study: Study, run: str, policy: str, benchmark: str) -> float:
    """Share of the solutions with two and more steps whose lowest step score is the last step's."""
    shares = []
    for scorer in study.scorers(run):
        scores = [np.asarray(one) for one in study.scored(scorer, policy, benchmark)["step_scores"] if len(one) > 1]
        shares.append(np.mean([int(np.argmin(one)) == len(one) - 1 for one in scores]))
    return float(np.mean(shares))


# ---------------------------------------------------------------- steps


def first_error(study: Study, runs: Sequence[str]) -> Table:
    """F1 of finding the first wrong step on the distinct solutions of all policies, threshold from validation."""
    scorers = {study.run(run).method: study.scorers(run) for run in runs}
    if "proofreader" in study.evaluation.references:
        scorers["proofreader"] = ["references/proofreader"]

    def judged(scorer: str, dataset: str) -> pd.DataFrame:
        return _with_truth(study.solutions(scorer, dataset), dataset)

    rows = [
        _method_row(study, method, benchmark, [(judged(one, study.validation), judged(one, benchmark)) for one in seeds])
        for benchmark in study.evaluation.benchmarks
        for method, seeds in scorers.items()
    ]
    return _f1_table(_in_order(study, pd.DataFrame(rows)), ["method"], "Distinct solutions")


def annotated_errors(study: Study, runs: Sequence[str]) -> Table:
    """F1 of finding the step that people marked as the first wrong one, threshold from validation's Monte Carlo labels."""
    rows = [
        {"backbone": study.run(run).backbone}
        | _method_row(
            study,
            study.run(run).method,
            dataset,
            [(study.labelled(one), _with_truth(study.annotated(one, dataset), dataset)) for one in study.scorers(run)],
        )
        for dataset in study.evaluation.annotated
        for run in runs
    ]
    return _f1_table(_in_order(study, pd.DataFrame(rows)), ["backbone", "method"], "Solutions")


def _with_truth(solutions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    known = with_known_truth(solutions)
    if known.empty:
        raise PqmError(f"{dataset}: no solution's first wrong step is known, which this table is about")
    return known


def _method_row(study: Study, method: str, benchmark: str, seeds: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, Any]:
    """One method's row; `seeds` has the solutions that choose the threshold and those that are judged, for each training seed."""
    counts, thresholds = [], []
    for validation, solutions in seeds:
        threshold = best_threshold(validation)
        found = hits(solutions, threshold)
        counts.append(
            solutions[["question_id", "cluster"]]
            .assign(
                erroneous=found.erroneous.astype(float),
                found=(found.right & found.erroneous).astype(float),
                correct=(~found.erroneous).astype(float),
                passed=(found.right & ~found.erroneous).astype(float),
            )
            .groupby(["question_id", "cluster"], as_index=False)
            .sum()
        )
        thresholds.append(threshold)
    paper = study.paper
    f1 = _f1_over_seeds(counts, paper.confidence, paper.resamples, paper.seed)
    return {"benchmark": benchmark, "method": method} | f1 | {"threshold": float(np.mean(thresholds)), "seeds": len(seeds)}


def _f1_table(frame: pd.DataFrame, who: Sequence[str], judged: str) -> Table:
    shown = pd.DataFrame(
        {
            "benchmark": frame["benchmark"],
            **{column: frame[column].map(printed if column == "method" else str) for column in who},
            "first error found": frame["on_erroneous"].map(_share),
            "right solutions passed": frame["on_correct"].map(_share),
            "F1": _percent(frame, "f1"),
            "threshold (logit)": frame["threshold"].map("{:.2f}".format),
        }
    )
    sizes = frame.drop_duplicates("benchmark")
    described = "; ".join(f"{row.benchmark}: {row.erroneous} with an error, {row.correct} without" for row in sizes.itertuples())
    return Table(frame, shown, f"{judged}: {described}.")


def _share(value: float) -> str:
    return f"{value:.1%}" if value == value else "no such solution"


def _f1_over_seeds(counts: Sequence[pd.DataFrame], confidence: float, resamples: int, seed: int) -> dict[str, float]:
    """F1 averaged over seeds with its interval; `counts` has a row a question for each seed."""
    clusters = counts[0].set_index("question_id")["cluster"]
    bootstrap = Bootstrap(clusters, resamples, seed)
    stacked = {
        name: np.stack([part.set_index("question_id")[name].loc[bootstrap.questions].to_numpy() for part in counts])
        for name in ("erroneous", "found", "correct", "passed")
    }
    totals = {name: values.sum(axis=1) for name, values in stacked.items()}
    with np.errstate(invalid="ignore"):
        found, passed = totals["found"] / totals["erroneous"], totals["passed"] / totals["correct"]
    per_seed = [harmonic_mean(*pair) for pair in zip(found, passed)]
    drawn = [bootstrap.shares(stacked[hit], stacked[total]) for hit, total in (("found", "erroneous"), ("passed", "correct"))]
    low, high = interval(bootstrap.over_seeds(2 * drawn[0] * drawn[1] / np.maximum(drawn[0] + drawn[1], 1e-12)), confidence)
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


def case_study(study: Study, runs: Sequence[str]) -> Table:
    """One solution, step by step; which one is fixed by a rule that looks at no score."""
    benchmark = study.evaluation.benchmarks[0]
    solution, rule = _case(_with_truth(study.solutions(study.scorers(runs[0])[0], benchmark), benchmark))
    rows = pd.DataFrame(
        {
            "step": range(1, len(solution.steps) + 1),
            "text": solution.steps,
            "right": [not 0 <= solution.first_error <= place for place in range(len(solution.steps))],
        }
    )
    shown = rows.assign(right=np.where(rows["right"], "right", "wrong")).rename(columns={"right": "truth"})
    for run in runs:
        scores = []
        for scorer in study.scorers(run):
            table = study.scored(scorer, solution.policy, benchmark).set_index(["question_id", "sample_id"])
            scores.append(table.at[(solution.question_id, solution.sample_id), "step_scores"])
        method = study.run(run).method
        rows[method] = probability(np.mean(scores, axis=0))
        shown[printed(method)] = rows[method].map("{:.3f}".format)
    question = study.questions(benchmark).at[solution.question_id, "question"]
    note = f"Here: {solution.question_id}, {solution.policy} policy; {rule}. The question: {question}"
    return Table(rows, shown, note)


def _case(solutions: pd.DataFrame) -> tuple[pd.Series, str]:
    """The first solution, by question, policy and sample, with an error inside and `CASE_STEPS` steps; fewer where none has them."""
    inner = solutions[(solutions["first_error"] > 0) & (solutions["first_error"] < solutions["steps"].map(len) - 1)]
    for length in range(CASE_STEPS, 2, -1):
        long = inner[inner["steps"].map(len) >= length].sort_values(["question_id", "policy", "sample_id"])
        if len(long):
            return long.iloc[0], f"{length} or more steps, whose first error is neither the first nor the last step"
    ordered = solutions.sort_values(["question_id", "policy", "sample_id"])
    return ordered.iloc[0], "any number of steps (none has an error inside)"


# ---------------------------------------------------------------- graders, cost, the published numbers


def grader_disagreement(study: Study, runs: Sequence[str]) -> Table:
    """How often `math-verify` and the authors' rules give a sample the same grade."""
    rows = []
    for policy, benchmark in study.cells:
        grades = study.grades(policy, benchmark)
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
            }
        )
    frame = _in_order(study, pd.DataFrame(rows))
    return Table(frame, frame.rename(columns=lambda name: name.replace("_", " ").replace("math verify", "math-verify")))


def cost_ledger(study: Study, runs: Sequence[str]) -> Table:
    """Jobs, tokens, seconds and memory of every stage."""
    frame = cost.ledger(study)
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


REPORTED = Path("config/reported.csv")
REPORTED_COLUMNS = ("policy", "benchmark", "method", "n", "accuracy", "source")


def _reported() -> pd.DataFrame:
    """The published numbers that a user filled in.

    Raises:
        PqmError: the file or a column is missing, an accuracy is no share, or a row has no source.
    """
    try:
        reported = pd.read_csv(REPORTED)
    except (FileNotFoundError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise PqmError(f"{REPORTED}: missing or not CSV ({error}); expected columns {', '.join(REPORTED_COLUMNS)}") from None
    lost = [name for name in REPORTED_COLUMNS if name not in reported]
    if lost:
        raise PqmError(f"{REPORTED}: column {lost[0]!r} is missing; expected columns {', '.join(REPORTED_COLUMNS)}")
    for line, row in enumerate(reported.itertuples(), start=2):
        if not isinstance(row.source, str) or not row.source.strip():
            raise PqmError(f"{REPORTED}: line {line}, source: expected where the number was read, found nothing")
        if not isinstance(row.accuracy, float) or not 0 <= row.accuracy <= 1:
            raise PqmError(f"{REPORTED}: line {line}, accuracy: expected a share in [0, 1], found {row.accuracy!r}")
    return reported


def paper_comparison(study: Study, runs: Sequence[str]) -> Table:
    """Published numbers beside ours, where the study has the same policy, benchmark, method and n."""
    reported = _reported()
    ours = study.table("main")[["policy", "benchmark", "method", "n", "accuracy", "low", "high"]]
    keys = ["policy", "benchmark", "method", "n"]
    joined = reported.merge(ours, on=keys, how="left", suffixes=("_reported", "_ours"))
    measured = joined["accuracy_ours"].notna()
    shown = joined[keys].assign(
        method=joined["method"].map(printed),
        reported=joined["accuracy_reported"].map(lambda value: f"{100 * value:.1f}"),
        ours=[f"{100 * value:.1f}" if value == value else "not measured" for value in joined["accuracy_ours"]],
        interval=[f"[{100 * a:.1f}, {100 * b:.1f}]" if a == a else "" for a, b in zip(joined["low"], joined["high"])],
        source=joined["source"],
    )
    return Table(joined, shown, f"Measured in this study: {int(measured.sum())} of {len(joined)} rows.")


# ---------------------------------------------------------------- published solutions


def published_solutions(study: Study, runs: Sequence[str]) -> Table:
    """Majority vote and pass@n of published solutions, and how far our grades agree with their publishers'."""
    parts = [judged_solutions(study.solution_grades(name), study.solution_file(name)) for name in study.settings.solutions]
    rows = pd.concat(parts, ignore_index=True)
    return Table(rows, rows.assign(accuracy=rows["accuracy"].map("{:.4f}".format)))


def published_disagreements(study: Study, runs: Sequence[str]) -> Table:
    """Published solutions on which the graders and the publishers do not all agree."""
    parts = [
        disagreements(study.solution_grades(name), study.questions(item.dataset)["answer"], study.solution_file(name))
        for name, item in study.settings.solutions.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return Table(rows, rows.map(str))


# ---------------------------------------------------------------- writing


TABLES: dict[str, Callable[[Study, Sequence[str]], Table]] = {
    "main": main,
    "differences": differences,
    "backbones": backbones,
    "loss_ablation": ablation,
    "margin_ablation": ablation,
    "self_consistency": self_consistency,
    "aggregations": aggregations,
    "first_error": first_error,
    "annotated_errors": annotated_errors,
    "case_study": case_study,
    "grader_disagreement": grader_disagreement,
    "cost": cost_ledger,
    "paper_comparison": paper_comparison,
    "published_solutions": published_solutions,
    "published_disagreements": published_disagreements,
}


def make_table(name: str, study: Study, caption: Path, output: Path) -> None:
    """Write `{name}.csv` (long), `{name}.md` and `{name}.tex` to the folder `output`.

    Raises:
        PqmError: no table has this name, the study does not list it, or a run that it needs is missing.
    """
    if name not in TABLES:
        raise PqmError(f"no table is named {name!r}; expected one of {', '.join(TABLES)}")
    if name not in study.paper.tables:
        raise PqmError(f"{study.file}: results: table {name!r} is not listed")
    table = TABLES[name](study, study.runs_of(name))
    intervals = f"Intervals: {100 * study.paper.confidence:g} %." if "low" in table.rows else ""
    text = " ".join([*caption.read_text().split(), *intervals.split(), *table.note.split()])
    write_text(output / f"{name}.csv", table.rows.to_csv(index=False, float_format=f"%.{DIGITS}f"))
    escaped = table.shown.map(lambda cell: cell.replace("|", r"\|") if isinstance(cell, str) else cell)
    write_text(output / f"{name}.md", f"{escaped.to_markdown(index=False, disable_numparse=True)}\n\n{text}\n")
    write_text(output / f"{name}.tex", _latex(table.shown, name, text))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with formats.whole_file(path) as part:
        part.write_text(text)


def _latex(shown: pd.DataFrame, name: str, caption: str) -> str:
    body = shown.to_latex(index=False, escape=True, caption=_escaped(caption), label=f"tab:{name}")
    for sign, command in {"ζ": r"$\zeta$", "σ": r"$\sigma$", "↓": r"$\downarrow$", "≥": r"$\ge$"}.items():
        body = body.replace(sign, command)
    return body


def _escaped(text: str) -> str:
    """A caption as LaTeX text; the code marks of reStructuredText are dropped."""
    for sign in "\\{}%&#_$~^":
        text = text.replace(
            sign, {"\\": r"\textbackslash ", "~": r"\textasciitilde ", "^": r"\textasciicircum "}.get(sign, rf"\{sign}")
        )
    return text.replace("``", "")
