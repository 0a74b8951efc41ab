"""Readers of published model solutions as rollouts: those of GSM8K, and the evaluation files of the paper's authors."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.records import read_json_lines
from pqm.problems.gsm8k import CALCULATOR_MARKS
from pqm.progress import say
from pqm.solution_format import split_at_headings


def read_solutions(file_format: str, solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """Read the rollouts in a file.

    Args:
        file_format: `gsm8k` or `pqm`.
        solutions: the file.
        questions: the question table that contains its questions.
        model: the model to read; `pqm` reads all models if it is None.

    Raises:
        PqmError: the format is unknown, the file is missing or malformed, it has no solution of the model, or it answers a
            question that is not in `questions`.
    """
    if file_format not in _READERS:
        raise PqmError(f"--format {file_format}: expected one of {', '.join(_READERS)}")
    return _READERS[file_format](solutions, questions, model)


def _gsm8k(solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """Read GSM8K's JSON lines, with one sample per question."""
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
    """Read the authors' JSON list of {question, responses: [{text, model_name}]}, with samples in file order."""
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
    """Split a text into steps as the authors do: at each "Step n:", numbered again by position; an empty beginning counts.

    Each step ends with the space before the authors' step token.
    """
    parts = split_at_headings(text)
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
