"""The tables. To add one: a name in `paper.yaml`, a function here, a caption in `workflow/report/`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pqm import formats
from pqm.config import PaperConfig
from pqm.errors import PqmError
from pqm.evaluate.estimators import pass_at_n, vote
from pqm.paper.statistics import summarise
from pqm.paper.style import method_order, printed
from pqm.progress import say
from pqm.questions.published import read_json_lines

DIGITS = 4


def main_table(metrics: pd.DataFrame, paper: PaperConfig) -> pd.DataFrame:
    """Policy x benchmark x method x n with intervals; a run is judged by its own aggregation."""
    own = metrics.groupby("method", sort=False)["aggregation"].transform("first")
    rows = summarise(metrics[metrics["aggregation"] == own], paper.confidence, paper.resamples, paper.seed)
    keys = ["policy", "benchmark", "method", "n"]
    return rows.sort_values(
        keys, key=lambda column: column.map(method_order) if column.name == "method" else column, kind="stable"
    )


TABLES: dict[str, Callable[[pd.DataFrame, PaperConfig], pd.DataFrame]] = {"main": main_table}


def make_table(name: str, paper: PaperConfig, metrics: Sequence[Path], caption: Path, output: Path) -> None:
    """Write `{name}.csv` (long), `{name}.md` and `{name}.tex` (a column for each n) to the folder `output`.

    Raises:
        PqmError: no table has this name.
    """
    if name not in TABLES:
        raise PqmError(f"no table is named {name!r}; expected one of {', '.join(TABLES)}")
    table = TABLES[name](pd.concat([formats.read(path, formats.METRICS) for path in metrics], ignore_index=True), paper)
    wide = _wide(table)
    text = " ".join(caption.read_text().split())
    _write(output / f"{name}.csv", table.to_csv(index=False, float_format=f"%.{DIGITS}f"))
    _write(output / f"{name}.md", f"{wide.to_markdown(index=False)}\n\n{text}\n")
    _write(output / f"{name}.tex", _latex(wide, name, text))


def _write(path: Path, text: str) -> None:
    with formats.whole_file(path) as part:
        part.write_text(text)


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """Percentages with half an interval's bounds in brackets, one column for each n."""
    cells = table.assign(
        method=table["method"].map(printed),
        cell=[
            f"{100 * a:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            for a, low, high in zip(table["accuracy"], table["low"], table["high"])
        ],
    )
    order = cells[["policy", "benchmark", "method"]].drop_duplicates()
    wide = cells.pivot(index=["policy", "benchmark", "method"], columns="n", values="cell").fillna("")
    wide = wide.loc[list(order.itertuples(index=False, name=None))]
    wide.columns = [f"n = {n}" for n in wide.columns]
    return wide.reset_index()


def _latex(wide: pd.DataFrame, name: str, caption: str) -> str:
    body = wide.to_latex(index=False, escape=True, caption=caption.replace("``", "").replace("%", r"\%"), label=f"tab:{name}")
    return body.replace("ζ", r"$\zeta$")


def make_real_solutions(grades: Sequence[Path], solutions: Path, output: Path) -> None:
    """Majority vote and pass@n of GSM8K's published solutions, and how far our grades agree with the publishers'.

    Args:
        grades: one grade table a model, named `{model}/...parquet`, one sample a question each.
        solutions: the publishers' file, whose `is_correct` is compared.
    """
    parts = {path.parent.name: formats.read(path, formats.GRADES) for path in grades}
    pooled = pd.concat([part.assign(model=model) for model, part in parts.items()], ignore_index=True)
    n = list(range(1, len(parts) + 1))
    rows = [
        {"models": model, "method": "pass@1", "n": 1, "accuracy": part["correct"].mean(), "questions": len(part)}
        for model, part in parts.items()
    ]
    votes, passes = [], []
    for index, (_, group) in enumerate(pooled.groupby("question_id", sort=True)):
        correct = group["correct"].to_numpy()
        votes.append(vote(list(group["answer"]), correct, np.ones(len(group)), n, 200, np.random.default_rng(index)))
        passes.append([pass_at_n(correct, k) for k in n])
    for method, values in (("self-consistency", np.mean(votes, axis=0)), ("pass@n", np.mean(passes, axis=0))):
        rows += [{"models": "all", "method": method, "n": k, "accuracy": v, "questions": len(votes)} for k, v in zip(n, values)]
    published = {(number, model): record[model]["is_correct"] for number, record in read_json_lines(solutions) for model in parts}
    same = [published[int(str(row.question_id).rsplit("-", 1)[1]), row.model] == row.correct for row in pooled.itertuples()]
    rows.append(
        {"models": "all", "method": "agreement with is_correct", "n": 1, "accuracy": np.mean(same), "questions": len(same)}
    )
    say(f"{sum(same)} of {len(same)} grades agree with the publishers' is_correct ({100 * np.mean(same):.2f} %)")
    _write(output, pd.DataFrame(rows).to_csv(index=False, float_format=f"%.{DIGITS}f"))


def stage_times(benchmarks: Path) -> pd.DataFrame:
    """Jobs, CPU seconds, longest job in seconds and peak memory of each stage, from Snakemake's benchmark files."""
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        record = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        rows.append(
            {"stage": path.relative_to(benchmarks).parts[0], "s": record["s"], "cpu": record["cpu_time"], "mb": record["max_rss"]}
        )
    if not rows:
        raise PqmError(f"{benchmarks}: holds no benchmark file; build something first")
    groups = pd.DataFrame(rows).groupby("stage", sort=False)
    return pd.DataFrame(
        {"jobs": groups.size(), "CPU s": groups["cpu"].sum(), "longest job, s": groups["s"].max(), "peak MB": groups["mb"].max()}
    ).reset_index()
