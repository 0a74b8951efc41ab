"""Readers of published benchmarks in their publishers' formats: GSM8K, GSM-Plus and MATH500."""

from collections.abc import Callable

from pqm.errors import PqmError, shortened
from pqm.hashes import question_hash
from pqm.io.formats import NO_ANSWER
from pqm.io.records import Record, Records
from pqm.problems.gsm8k import Row, split_gsm8k_answer
from pqm.problems.published_values import gold_answer
from pqm.progress import say


def read_published(file_format: str, records: Records, name: str) -> list[Row]:
    """Read the rows of a question table.

    Args:
        name: name of the data set, the prefix of its question ids.

    Raises:
        PqmError: a key is missing, a value is no text, or a question has no gold answer or several.
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
        except ValueError as error:
            raise PqmError(f"{records.origin}: row {number}: {error}") from None
        if not str(row["question"]).strip():
            raise PqmError(f"{records.origin}: row {number}: the question is empty; expected a text")
        question_id = f"{name}-{number:05d}"
        rows.append({"question_id": question_id, "cluster": question_id, "perturbation": "", **row})
    unanswerable = sum(row["answer"] == NO_ANSWER for row in rows)
    if unanswerable:
        say(f"{name}: {unanswerable} of {len(rows)} questions have no answer (gold answer {NO_ANSWER})")
    return rows


def _text(record: Record, key: str) -> str:
    if not isinstance(record[key], str):
        raise ValueError(f"expected {key!r}, a text, found {shortened(record[key])}")
    return str(record[key])


def _gsm8k(record: Record) -> Row:
    steps, answer = split_gsm8k_answer(_text(record, "answer"))
    return {"question": _text(record, "question"), "answer": gold_answer(answer), "solution": steps}


def _gsm_plus(record: Record) -> Row:
    """Read a row of GSM-Plus. Questions of the kind "critical thinking" have no answer; their gold answer is the word None."""
    steps, _ = split_gsm8k_answer(_text(record, "solution"))
    return {
        "question": _text(record, "question"),
        "answer": gold_answer(record["answer"]),
        "solution": steps,
        "cluster": f"seed-{question_hash(_text(record, 'seed_question'))}",
        "perturbation": _text(record, "perturbation_type"),
    }


def _math500(record: Record) -> Row:
    steps = [line.strip() for line in _text(record, "solution").splitlines() if line.strip()]
    return {"question": _text(record, "problem"), "answer": gold_answer(record["answer"]), "solution": steps}


_READERS: dict[str, Callable[[Record], Row]] = {"gsm8k": _gsm8k, "gsm-plus": _gsm_plus, "math500": _math500}
