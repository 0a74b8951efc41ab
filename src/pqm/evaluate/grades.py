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

SAMPLES_PER_BATCH = 10_000  # graded together; the last task of a batch leaves all workers but one idle


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
    questions_by_id = {row.Index: row for row in table.itertuples()}
    columns = [samples[name].to_numpy(dtype=object) for name in ("question_id", "sample_id", "text", "finish_reason", "steps")]
    rows: list[dict[str, Any]] = []
    with Grader(workers=workers) as grader:
        for start in progress(range(0, len(samples), SAMPLES_PER_BATCH), "grades", f"{SAMPLES_PER_BATCH} samples"):
            names, numbers, texts, endings, steps = (column[start : start + SAMPLES_PER_BATCH] for column in columns)
            answered = [questions_by_id[name] for name in names]
            answers = [stated_answer(text) if ending == "stop" else None for text, ending in zip(texts, endings)]
            grades = grader([(answer, question.answer) for answer, question in zip(answers, answered)])
            for question, number, own, answer, correct in zip(answered, numbers, steps, answers, grades):
                rows.append(
                    {
                        "question_id": question.Index,
                        "cluster": question.cluster,
                        "sample_id": number,
                        "answer": answer,
                        "correct": correct,
                        "grader": MATH_VERIFY,
                        "second_correct": same_as_applied(answer, question.answer, question.question),
                        "rules_correct": same_by_rules(answer, question.answer),
                        "first_error": first_error(question.question, list(own)),
                    }
                )
    if message := grader.report():
        say(f"{rollouts}: {message}")
    return pd.DataFrame(rows).astype({"first_error": "Int64"})
