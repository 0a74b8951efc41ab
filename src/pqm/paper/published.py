"""What published solutions give: votes, pass@n, and how far our grades agree with their publishers'."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pqm import formats
from pqm.evaluate.estimators import pass_at_n, vote
from pqm.paper.tables import DIGITS, write_text
from pqm.progress import say
from pqm.records import read_json_lines


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
    write_text(output, pd.DataFrame(rows).to_csv(index=False, float_format=f"%.{DIGITS}f"))
