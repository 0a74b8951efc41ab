"""Published model solutions, read as rollouts: GSM8K's, and the evaluation files of the paper's authors."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pqm import formats
from pqm.errors import PqmError
from pqm.progress import say
from pqm.questions.published import CALCULATOR_MARKS
from pqm.records import read_json_lines

_STEP_MARK = re.compile(r"Step \d+:")


def read_solutions(form: str, solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """The rollouts in a file of the format `form`, of `model` alone where one is named.

    Raises:
        PqmError: the format is not known, the file is missing or malformed, has no solution of the model, or answers a question
            that is not in `questions`.
    """
    if form not in _READERS:
        raise PqmError(f"--format {form}: expected one of {', '.join(_READERS)}")
    return _READERS[form](solutions, questions, model)


def _gsm8k(solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """GSM8K's JSON lines: one sample a question.

    Raises:
        PqmError: the file is missing or malformed, it has no such model, or it answers a question that is not in `questions`.
    """
    ids = formats.read(questions, formats.QUESTIONS).set_index("question")["question_id"]
    rows = []
    for number, record in read_json_lines(solutions):
        if record.get("question") not in ids.index:
            raise PqmError(f"{solutions}: row {number}: its question is not in {questions}")
        if model is None or model not in record:
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


def _pqm(solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """The authors' JSON list of {question, responses: [{text, model_name}]}: samples in file order.

    Raises:
        PqmError: the file is missing or malformed, answers a question that is not in `questions`, or has no solution of `model`.
    """
    table = formats.read(questions, formats.QUESTIONS)
    ids = dict(zip(table["question"], table["question_id"]))
    rows: list[dict[str, object]] = []
    for number, record in enumerate(_json_list(solutions)):
        try:
            question, texts = record["question"], [(one["text"], one["model_name"]) for one in record["responses"]]
        except (KeyError, TypeError):
            raise PqmError(f"{solutions}: row {number}: expected {{question, responses: [{{text, model_name}}, ..]}}") from None
        if question not in ids:
            raise PqmError(f"{solutions}: row {number}: its question is not in {questions}")
        for place, (text, _) in enumerate(texts):
            if not isinstance(text, str):
                raise PqmError(f"{solutions}: row {number}, response {place}: expected text, found {type(text).__name__}")
        wanted = [(text, writer) for text, writer in texts if model in (None, writer)]
        rows += [
            {
                "question_id": ids[question],
                "sample_id": place,
                "text": text,
                "steps": split_numbered_steps(text),
                "n_tokens": len(text.split()),
                "finish_reason": "stop",
                "log_likelihood": float("nan"),
                "seed": -1,
                "engine": f"published, {writer}",
            }
            for place, (text, writer) in enumerate(wanted)
        ]
    if not rows:
        raise PqmError(f"{solutions}: no solution" + (f" of {model!r}" if model else ""))
    frame = pd.DataFrame(rows)
    sizes = Counter(frame["question_id"].value_counts())
    if len(sizes) > 1:
        counts = ", ".join(f"{questions} with {size}" for size, questions in sorted(sizes.items()))
        say(f"{solutions}: the questions have different numbers of solutions: {counts}")
    if frame["question_id"].nunique() < len(table):
        say(f"{solutions}: answers {frame['question_id'].nunique()} of the {len(table)} questions of {questions}")
    return frame


def split_numbered_steps(text: str) -> list[str]:
    """The steps as the authors cut them: at each "Step n:", numbered anew by their place, which an empty beginning takes part in.

    Each ends in the space that stands before their step token.
    """
    parts = _STEP_MARK.split(text)
    return [f"Step {place}: {part.strip()} " for place, part in enumerate(parts, 1) if part.strip()]


def _json_list(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PqmError(f"{path}: missing; expected an evaluation file of the paper's authors") from None
    except ValueError as error:
        raise PqmError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, list):
        raise PqmError(f"{path}: expected a JSON list of questions, found {type(content).__name__}")
    return content


_READERS: dict[str, Callable[[Path, Path, str | None], pd.DataFrame]] = {"gsm8k": _gsm8k, "pqm": _pqm}
