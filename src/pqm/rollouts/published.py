"""GSM8K's published model solutions, read as rollouts."""

from pathlib import Path

import pandas as pd

from pqm import formats
from pqm.errors import PqmError
from pqm.questions.published import CALCULATOR_MARKS
from pqm.records import read_json_lines


def read_solutions(solutions: Path, questions: Path, model: str) -> pd.DataFrame:
    """One sample a question, by `model`.

    Raises:
        PqmError: the file is missing or malformed, it has no such model, or it answers a question that is not in `questions`.
    """
    ids = formats.read(questions, formats.QUESTIONS).set_index("question")["question_id"]
    rows = []
    for number, record in read_json_lines(solutions):
        if record.get("question") not in ids.index:
            raise PqmError(f"{solutions}: row {number}: its question is not in {questions}")
        if model not in record:
            models = [key for key, value in record.items() if isinstance(value, dict)]
            raise PqmError(f"{solutions}: row {number}: no solution of {model!r}; expected one of {', '.join(models)}")
        text = CALCULATOR_MARKS.sub("", record[model]["solution"])
        rows.append(
            {
                "question_id": ids[record["question"]],
                "sample_id": 0,
                "text": text,
                "steps": [line for line in text.splitlines() if line.strip()],
                "n_tokens": len(text.split()),
                "finish_reason": "stop",
                "log_likelihood": float("nan"),
                "seed": -1,
                "engine": f"published, {model}",
            }
        )
    return pd.DataFrame(rows)
