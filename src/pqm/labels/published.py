"""Readers of published labels as label tables: Math-Shepherd, PRM800K, and stepwise rows {prompt, completions, labels}."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.grading.extraction import extract_answer
from pqm.hashes import question_hash
from pqm.io.records import Record, Records, read_records
from pqm.problems.published_values import truth_value
from pqm.progress import say
from pqm.solution_format import split_at_headings
from pqm.study.labels import ExpectedCounts, PublishedLabelsConfig

STEP_TAG = "ки"  # the end of a step in Math-Shepherd


@dataclass(frozen=True)
class Labelled:
    """A labelled solution.

    Attributes:
        labels: a label in [0, 1] per step.
        correct: whether the final answer is right.
    """

    question: str
    steps: list[str]
    labels: list[float]
    correct: bool


def published_labels(config: PublishedLabelsConfig, published: Path) -> pd.DataFrame:
    """Read the label table of a published corpus, and log how many rows are skipped for which reason.

    Of duplicate solutions the first is kept. Hits and counts are unknown, and are 0 in the table.

    Args:
        published: the folder at which a relative path starts.

    Raises:
        PqmError: the corpus is missing, a row is malformed, the counts differ from `config.counts`, or no solution is left.
    """
    file_format = config.source.format
    records = read_records(config.source, published)
    left_out: Counter[str] = Counter()
    rows = 0

    def counted() -> Iterator[tuple[int, Record]]:
        nonlocal rows
        for numbered in records.rows:
            rows += 1
            yield numbered

    solutions = list(_READERS[file_format](Records(records.origin, counted()), left_out))
    if not solutions:
        raise PqmError(
            f"{records.origin}: no labelled solution in {rows} rows (skipped: {_listed(left_out)}); expected {file_format} format"
        )
    wrong_endings = 100 * sum(one.labels[-1] == 0 for one in solutions) / len(solutions)
    once: dict[tuple[str, tuple[str, ...]], Labelled] = {}
    for one in solutions:
        once.setdefault((one.question, tuple(one.steps)), one)
    say(
        f"{records.origin}: {rows} rows, {len(solutions)} solutions, {wrong_endings:.1f} % of them with a wrong last step;"
        f" skipped: {_listed(left_out)}; duplicates: {len(solutions) - len(once)}"
    )
    if config.counts:
        _expect(config.counts, {"rows": rows, "solutions": len(solutions), "wrong_endings": wrong_endings}, records.origin)
    soft = any(label not in (0, 1) for one in solutions for label in one.labels)
    method = f"published {file_format}" + ("" if soft else ", hard labels only")
    low, high = config.share
    table = pd.DataFrame([_row(one, file_format, method) for one in once.values() if low <= _place(one.question) < high])
    if table.empty:
        raise PqmError(f"{records.origin}: no question is in the share {low} to {high}; expected a larger share")
    say(f"{len(table)} of {len(once)} solutions answer questions in the share {low} to {high}")
    return table


def _listed(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"


def _expect(expected: ExpectedCounts, found: dict[str, float], origin: str) -> None:
    for key, value in expected.model_dump(exclude_none=True).items():
        if round(found[key], 1) != value:
            raise PqmError(f"{origin}: {key} {found[key]:.6g}, expected {value}; the corpus is incomplete, or another edition")


def _place(question: str) -> float:
    """The position of a question in [0, 1), by its hash."""
    return int(question_hash(question), 16) / 16 ** len(question_hash(question))


def _row(one: Labelled, file_format: str, method: str) -> dict[str, Any]:
    hard = [float(label > 0) for label in one.labels]
    return {
        "question_id": f"question-{question_hash(one.question)}",
        "policy": file_format,
        "prompt": one.question,
        "completions": one.steps,
        "labels": hard,
        "soft_labels": one.labels,
        "hits": [0] * len(hard),
        "counts": [0] * len(hard),
        "answer": extract_answer(one.steps[-1]),
        "correct": one.correct,
        "method": method,
        "completion_tokens": 0,
    }


def _math_shepherd(records: Records, left_out: Counter[str]) -> Iterator[Labelled]:
    """Read rows {input, label}: a question and steps `Step 1: .. ки`, and the same text with + or - in place of ки.

    As in the authors' code: blank parts of the input are left out before the first part counts as the question, every ки is
    removed (also inside a word), steps are numbered again, and the same rows are skipped.
    """
    for number, record in records.rows:
        text, labelled = _texts(records, number, record, "input", "label")
        parts = [part for part in split_at_headings(text) if part.strip()]
        signs = [part.strip()[-1:] for part in split_at_headings(labelled)[1:]]
        if len(parts) < 2:
            left_out["without a question or without steps"] += 1
        elif not set(signs) <= {"+", "-"}:
            left_out["with a label that ends in neither + nor -"] += 1
        elif len(signs) != len(parts) - 1:
            left_out["with more or fewer labels than steps"] += 1
        else:
            question, *steps = parts
            numbered = [f"Step {place}: {step.replace(STEP_TAG, '').strip()}" for place, step in enumerate(steps, start=1)]
            yield Labelled(question.strip(), numbered, [float(sign == "+") for sign in signs], signs[-1] == "+")


def _prm800k(records: Records, left_out: Counter[str]) -> Iterator[Labelled]:
    """Read rows {question: {problem}, label: {steps: [{completions, human_completion, chosen_completion}], finish_reason}}.

    Ratings -1, 0 and 1 become labels 0, 1 and 1; a step rated 0 is neither wrong nor useful. The chosen completions form one
    solution; a completion written by the labeller counts as right. Every other rated completion gives another solution, which
    consists of the chosen steps before it and the completion.
    """
    for number, record in records.rows:
        try:
            question, steps, ending = record["question"]["problem"], record["label"]["steps"], record["label"]["finish_reason"]
            if not question.strip():
                raise PqmError(f"{records.origin}: row {number}: the problem is empty; expected a text")
            if ending == "bad_problem":
                left_out["about a bad problem"] += 1
                continue
            found = list(_paths(question, steps, ending == "solution"))
        except KeyError as error:
            raise PqmError(f"{records.origin}: row {number}: key {error} is missing; expected PRM800K's format") from None
        except (TypeError, AttributeError, IndexError):
            raise PqmError(f"{records.origin}: row {number}: a value has another type than in PRM800K's format") from None
        if not found:
            left_out["without a rated step"] += 1
        yield from found


def _paths(question: str, steps: list[Record], solved: bool) -> Iterator[Labelled]:
    path: list[str] = []
    labels: list[float] = []
    for step in steps:
        completions, chosen, human = step["completions"] or [], step["chosen_completion"], step["human_completion"]
        if chosen is not None and chosen not in range(len(completions)):
            raise IndexError(chosen)
        others = [one for place, one in enumerate(completions) if place != chosen and one["rating"] is not None]
        for other in others:
            yield Labelled(question.strip(), [*path, other["text"].strip()], [*labels, _rated(other)], False)
        if chosen is not None and completions[chosen]["rating"] is not None:
            path.append(completions[chosen]["text"].strip())
            labels.append(_rated(completions[chosen]))
        elif chosen is None and human is not None:
            path.append((human["text"] if isinstance(human, dict) else human).strip())
            labels.append(1.0)
        elif others:
            return  # all of them were yielded above
        else:
            solved = False
            break
    if path:
        yield Labelled(question.strip(), path, labels, solved and labels[-1] == 1)


def _rated(completion: Record) -> float:
    rating = completion["rating"]
    if isinstance(rating, bool) or rating not in (-1, 0, 1):
        raise TypeError(rating)
    return float(rating >= 0)


def _stepwise(records: Records, left_out: Counter[str]) -> Iterator[Labelled]:
    """Read rows {prompt, completions, labels} with one label per step: true, false, or a share of right completions."""
    for number, record in records.rows:
        where = f"{records.origin}: row {number}"
        (question,) = _texts(records, number, record, "prompt")
        steps, values = record.get("completions"), record.get("labels")
        if not question.strip():
            raise PqmError(f"{where}: the prompt is empty; expected a text")
        if not isinstance(steps, list) or not isinstance(values, list) or not all(isinstance(step, str) for step in steps):
            raise PqmError(f"{where}: expected completions, a list of texts, and labels, a list of the same length")
        if len(steps) != len(values):
            raise PqmError(f"{where}: {len(steps)} completions but {len(values)} labels; expected the same number")
        if not steps:
            left_out["without steps"] += 1
            continue
        labels = [_label(where, value) for value in values]
        yield Labelled(question.strip(), steps, labels, labels[-1] > 0)


def _label(where: str, value: object) -> float:
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    try:
        return float(truth_value(value))
    except ValueError:
        raise PqmError(f"{where}: expected labels true, false or in [0, 1], found {shortened(value)}") from None


def _texts(records: Records, number: int, record: Record, *keys: str) -> list[str]:
    for key in keys:
        if not isinstance(record.get(key), str):
            raise PqmError(f"{records.origin}: row {number}: expected {key!r}, a text, found {shortened(record.get(key))}")
    return [record[key] for key in keys]


_READERS: dict[str, Callable[[Records, Counter[str]], Iterator[Labelled]]] = {
    "math-shepherd": _math_shepherd,
    "prm800k": _prm800k,
    "stepwise": _stepwise,
}
