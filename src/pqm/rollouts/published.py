"""Readers of published model solutions as rollouts: those of GSM8K, and the evaluation files of the paper's authors."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.io import formats
from pqm.io.finish_reason import finish_reasons
from pqm.io.records import Record, read_json, read_json_lines
from pqm.problems.gsm8k import CALCULATOR_MARKS
from pqm.progress import say
from pqm.solution_format import split_at_headings


@dataclass(frozen=True)
class Solution:
    """A solution in a file.

    Attributes:
        row: the row of the file that contains it.
        place: the row and the place in it, for messages.
        model: the model that wrote it.
        finish_reason: as in the file; None if the file does not contain it.
    """

    row: int
    place: str
    question: str
    text: str
    steps: list[str]
    model: str
    finish_reason: object


def read_solutions(file_format: str, solutions: Path, questions: Path, model: str | None) -> pd.DataFrame:
    """Read the rollouts in a file. Questions are matched by their texts; the samples of a question keep the file's order.

    Args:
        file_format: `gsm8k` or `pqm`.
        solutions: the file.
        questions: the question table that contains its questions.
        model: the model to read; `pqm` reads all models if it is None.

    Raises:
        PqmError: the format is unknown, the file is missing or malformed, it has no solution of the model, or a question is not
            in `questions`, occurs twice there, or has solutions in two rows of the file.
    """
    if file_format not in _READERS:
        raise PqmError(f"--format {file_format}: expected one of {', '.join(_READERS)}")
    found = list(_READERS[file_format](solutions, model))
    if not found:
        raise PqmError(f"{solutions}: no solution" + (f" of {shortened(model)}" if model else ""))
    ids = _question_ids(found, solutions, questions)
    samples: Counter[str] = Counter()
    rows = []
    reasons = finish_reasons([one.finish_reason for one in found], solutions, [one.place for one in found])
    for question_id, one, reason in zip(ids, found, reasons):
        rows.append(
            {
                "question_id": question_id,
                "sample_id": samples[question_id],
                "text": one.text,
                "steps": one.steps,
                "n_tokens": len(one.text.split()),
                "finish_reason": reason,
                "log_likelihood": float("nan"),
                "seed": -1,
                "engine": f"published, {one.model}",
            }
        )
        samples[question_id] += 1
    return pd.DataFrame(rows)


def _question_ids(found: Sequence[Solution], solutions: Path, questions: Path) -> list[str]:
    """The id of each solution's question; the log reports odd numbers of solutions, and questions without one."""
    table = formats.read(questions, formats.QUESTIONS)
    ids = dict(zip(table["question"], table["question_id"]))
    twice = set(table.loc[table["question"].duplicated(), "question"])
    rows: dict[str, int] = {}
    for one in found:
        if one.question not in ids:
            raise PqmError(f"{solutions}: row {one.row}: its question is not in {questions}")
        if one.question in twice:
            raise PqmError(
                f"{solutions}: row {one.row}: its question occurs twice in {questions}; expected once, to match by text"
            )
        if rows.setdefault(one.question, one.row) != one.row:
            raise PqmError(
                f"{solutions}: rows {rows[one.question]} and {one.row} have the same question; expected one row per question"
            )
    sizes = Counter(Counter(one.question for one in found).values())
    if len(sizes) > 1:
        counts = ", ".join(f"{number} with {size}" for size, number in sorted(sizes.items()))
        say(f"{solutions}: the questions have different numbers of solutions: {counts}")
    if len(rows) < len(table):
        say(f"{solutions}: answers {len(rows)} of the {len(table)} questions of {questions}")
    return [ids[one.question] for one in found]


def _gsm8k(solutions: Path, model: str | None) -> Iterator[Solution]:
    """Read GSM8K's JSON lines {question, MODEL: {solution}, ..}, with one sample per question."""
    for row, record in read_json_lines(solutions):
        place = f"row {row}"
        if not isinstance(record.get("question"), str):
            raise PqmError(f"{solutions}: {place}: expected 'question', a text, found {shortened(record.get('question'))}")
        written = record.get(model) if model else None
        if not isinstance(written, dict):
            models = [key for key, value in record.items() if isinstance(value, dict)]
            raise PqmError(f"{solutions}: {place}: no solution of {shortened(model)}; it has {', '.join(models) or 'none'}")
        if not isinstance(written.get("solution"), str):
            raise PqmError(
                f"{solutions}: {place}, {model}: expected 'solution', a text, found {shortened(written.get('solution'))}"
            )
        text = CALCULATOR_MARKS.sub("", written["solution"])
        steps = [line for line in text.splitlines() if line.strip()]
        yield Solution(row, place, record["question"], text, steps, str(model), written.get("finish_reason"))


def _pqm(solutions: Path, model: str | None) -> Iterator[Solution]:
    """Read the authors' JSON list of {question, responses: [{text, model_name}]}; a response may have a finish_reason."""
    whole = found = 0
    for row, record in read_json(solutions):
        for number, response in enumerate(_responses(solutions, row, record)):
            if model not in (None, response["model_name"]):
                continue
            text = response["text"]
            found += 1
            whole += len(split_at_headings(text)) == 1
            place = f"row {row}, response {number}"
            steps = split_numbered_steps(text)
            yield Solution(row, place, record["question"], text, steps, response["model_name"], response.get("finish_reason"))
    if whole:
        say(f'{solutions}: {whole} of {found} solutions contain no "Step n:", so each of them is read as one step')


def _responses(solutions: Path, row: int, record: Record) -> list[dict[str, Any]]:
    """The checked responses of a row."""
    responses = record.get("responses")
    if not isinstance(record.get("question"), str) or not isinstance(responses, list):
        raise PqmError(f"{solutions}: row {row}: expected {{question, responses: [{{text, model_name}}, ..]}}")
    for number, response in enumerate(responses):
        if not isinstance(response, dict) or not {"text", "model_name"} <= response.keys():
            raise PqmError(f"{solutions}: row {row}, response {number}: expected {{text, model_name}}")
        for key in ("text", "model_name"):
            if not isinstance(response[key], str):
                raise PqmError(
                    f"{solutions}: row {row}, response {number}: expected {key!r}, a text, found {shortened(response[key])}"
                )
    return responses


def split_numbered_steps(text: str) -> list[str]:
    """Split a text into steps as the authors do: at each "Step n:", numbered again by position; an empty beginning counts.

    Each step ends with the space before the authors' step token.
    """
    parts = split_at_headings(text)
    return [f"Step {place}: {part.strip()} " for place, part in enumerate(parts, 1) if part.strip()]


_READERS: dict[str, Callable[[Path, str | None], Iterator[Solution]]] = {"gsm8k": _gsm8k, "pqm": _pqm}
