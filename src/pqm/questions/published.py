"""Readers of published benchmarks: GSM8K, GSM-Plus and MATH500, each in its publishers' rows."""

import re
from collections.abc import Callable
from typing import Any

from pqm.errors import PqmError
from pqm.progress import say
from pqm.records import Records, question_hash

CALCULATOR_MARKS = re.compile(r"<<.*?>>")
NO_ANSWER = "None"  # the gold answer of questions that cannot be answered
Row = dict[str, object]


def read_published(form: str, records: Records, name: str) -> list[Row]:
    """The rows of a question table.

    Raises:
        PqmError: a key is missing, a value is no text, or a question has no gold answer.
    """
    reader = _READERS[form]
    rows = []
    for number, record in records.rows:
        try:
            row = reader(record)
        except KeyError as error:
            raise PqmError(
                f"{records.origin}: row {number}: key {error} is missing; expected the publishers' {form} format"
            ) from None
        except (AttributeError, TypeError):
            raise PqmError(
                f"{records.origin}: row {number}: question and answer must be text, as in the publishers' {form} format"
            ) from None
        if not str(row["answer"]).strip():
            raise PqmError(f"{records.origin}: row {number}: a question without gold answer")
        question_id = f"{name}-{number:05d}"
        rows.append({"question_id": question_id, "cluster": question_id, "perturbation": "", **row})
    unanswerable = sum(row["answer"] == NO_ANSWER for row in rows)
    if unanswerable:
        say(f"{name}: {unanswerable} of {len(rows)} questions have no answer (gold {NO_ANSWER})")
    return rows


def split_gsm8k_answer(text: str) -> tuple[list[str], str]:
    """The steps (calculator marks removed) and the gold answer of a GSM8K solution; no answer is the empty text."""
    body, _, answer = text.partition("####")
    steps = [CALCULATOR_MARKS.sub("", line).strip() for line in body.splitlines()]
    return [step for step in steps if step], answer.strip().replace(",", "")


def _gsm8k(record: dict[str, Any]) -> Row:
    steps, answer = split_gsm8k_answer(record["answer"])
    return {"question": record["question"], "answer": answer, "solution": steps}


def _gsm_plus(record: dict[str, Any]) -> Row:
    """Questions of the kind "critical thinking" cannot be answered; their gold answer is the word None."""
    steps, _ = split_gsm8k_answer(record["solution"])
    return {
        "question": record["question"],
        "answer": str(record["answer"]),
        "solution": steps,
        "cluster": f"seed-{question_hash(record['seed_question'])}",
        "perturbation": record["perturbation_type"],
    }


def _math500(record: dict[str, Any]) -> Row:
    steps = [line.strip() for line in record["solution"].splitlines() if line.strip()]
    return {"question": record["problem"], "answer": str(record["answer"]), "solution": steps}


_READERS: dict[str, Callable[[dict[str, Any]], Row]] = {"gsm8k": _gsm8k, "gsm-plus": _gsm_plus, "math500": _math500}
