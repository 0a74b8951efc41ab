"""Stage `evaluate`: grades of sampled solutions."""

from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.grading.as_applied import same_as_applied
from pqm.grading.grader import MATH_VERIFY, Grader
from pqm.grading.rules import same_by_rules
from pqm.grading.unanswerable import stated_answer
from pqm.io import formats
from pqm.problems.word_problems import first_error
from pqm.progress import progress, say

SAMPLES_PER_BATCH = 2000


def grade(questions: Path, rollouts: Path, workers: int = 1) -> pd.DataFrame:
    """Grade every sample: the answer that it states, and whether it is right. Truncated samples are always wrong.

    Args:
        workers: processes for answers that need a parser, see `Grader`.

    Raises:
        PqmError: a table is missing or malformed, or the rollouts answer a question that is not in `questions`.
    """
    table = formats.read(questions, formats.QUESTIONS).set_index("question_id")
    samples = formats.read(rollouts, formats.ROLLOUTS)
    unknown = samples.loc[~samples["question_id"].isin(table.index), "question_id"]
    if len(unknown):
        raise PqmError(f"{rollouts}: answers question {shortened(unknown.iloc[0])}, which is not in {questions}")
    rows: list[dict[str, Any]] = []
    with Grader(workers=workers) as grader:
        for start in progress(range(0, len(samples), SAMPLES_PER_BATCH), "grades", f"{SAMPLES_PER_BATCH} samples"):
            batch = list(samples.iloc[start : start + SAMPLES_PER_BATCH].itertuples())
            answers = [stated_answer(row.text) if row.finish_reason == "stop" else None for row in batch]
            golds = list(table.loc[[row.question_id for row in batch], "answer"])
            for row, answer, gold, correct in zip(batch, answers, golds, grader(list(zip(answers, golds)))):
                rows.append(
                    {
                        "question_id": row.question_id,
                        "cluster": table.at[row.question_id, "cluster"],
                        "sample_id": row.sample_id,
                        "answer": answer,
                        "correct": correct,
                        "grader": MATH_VERIFY,
                        "second_correct": same_as_applied(answer, gold, table.at[row.question_id, "question"]),
                        "rules_correct": same_by_rules(answer, gold),
                        "first_error": first_error(table.at[row.question_id, "question"], list(row.steps)),
                    }
                )
    if message := grader.report():
        say(f"{rollouts}: {message}")
    return pd.DataFrame(rows).astype({"first_error": "Int64"})
