"""Readers of published benchmarks in their publishers' formats: GSM8K, GSM-Plus and MATH500."""

from collections.abc import Callable
from typing import Any

from pqm.errors import PqmError
from pqm.io.formats import NO_ANSWER
from pqm.io.records import Records, question_hash
from pqm.problems.gsm8k import Row, split_gsm8k_answer
from pqm.progress import say


def read_published(file_format: str, records: Records, name: str) -> list[Row]:
    """Read the rows of a question table.

    Args:
        name: name of the data set, the prefix of its question ids.

    Raises:
        PqmError: a key is missing, a value is no text, or a question has no gold answer.
    """
    reader = _READERS[file_format]
    rows = []
    for number, record in records.rows:
        try:
            row = reader(record)
        except KeyError as error:
            raise PqmError(
                f"{records.origin}: row {number}: key {error} is missing; expected the publishers' {file_format} format"
            ) from None
        except (AttributeError, TypeError):
            raise PqmError(
                f"{records.origin}: row {number}: question and answer must be text, as in the publishers' {file_format} format"
            ) from None
        if not str(row["answer"]).strip():
            raise PqmError(f"{records.origin}: row {number}: the gold answer is empty; expected one per question")
        question_id = f"{name}-{number:05d}"
        rows.append({"question_id": question_id, "cluster": question_id, "perturbation": "", **row})
    unanswerable = sum(row["answer"] == NO_ANSWER for row in rows)
    if unanswerable:
        say(f"{name}: {unanswerable} of {len(rows)} questions have no answer (gold answer {NO_ANSWER})")
    return rows


def _gsm8k(record: dict[str, Any]) -> Row:
    steps, answer = split_gsm8k_answer(record["answer"])
    return {"question": record["question"], "answer": answer, "solution": steps}


def _gsm_plus(record: dict[str, Any]) -> Row:
    """Read a row of GSM-Plus. Questions of the kind "critical thinking" have no answer; their gold answer is the word None."""
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
