"""Published label sets as label tables: Math-Shepherd, PRM800K, and rows of the stepwise shape `prompt, completions, labels`."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.config import ExpectedCounts, PublishedLabelsConfig
from pqm.errors import PqmError
from pqm.evaluate.grading import extract_answer
from pqm.progress import say
from pqm.records import Record, Records, question_hash, read_records

STEP_HEADING = re.compile(r"Step \d+:")
STEP_TAG = re.compile(r"\s*(?<!\w)ки(?!\w)")  # marks a step's end in Math-Shepherd; inside a word it is text


@dataclass(frozen=True)
class Labelled:
    """A solution: a label in [0, 1] for each step, and whether its final answer is right."""

    question: str
    steps: list[str]
    labels: list[float]
    correct: bool


def published_labels(config: PublishedLabelsConfig, published: Path) -> pd.DataFrame:
    """The label table of a published corpus; what is left out is counted by reason and said.

    A solution that is published twice is kept once, with its first labels. Hits and counts are not known and stand as 0.

    Args:
        published: the folder in which a relative path is looked up.

    Raises:
        PqmError: the corpus is missing, a row breaks its format, its counts are not `config.counts`, or no solution is left.
    """
    form = config.source.format
    records = read_records(config.source, published)
    left_out: Counter[str] = Counter()
    rows = 0

    def counted() -> Iterator[tuple[int, Record]]:
        nonlocal rows
        for numbered in records.rows:
            rows += 1
            yield numbered

    solutions = list(_READERS[form](Records(records.origin, counted()), left_out))
    if not solutions:
        raise PqmError(f"{records.origin}: no labelled solution in {rows} rows ({_listed(left_out)}); expected the format {form}")
    wrong_endings = 100 * sum(one.labels[-1] == 0 for one in solutions) / len(solutions)
    once: dict[tuple[str, tuple[str, ...]], Labelled] = {}
    for one in solutions:
        once.setdefault((one.question, tuple(one.steps)), one)
    say(
        f"{records.origin}: {rows} rows, {len(solutions)} solutions, {wrong_endings:.1f} % of them with a wrong last step;"
        f" left out: {_listed(left_out)}; {len(solutions) - len(once)} stand twice"
    )
    if config.counts:
        _expect(config.counts, {"rows": rows, "solutions": len(solutions), "wrong_endings": wrong_endings}, records.origin)
    soft = any(label not in (0, 1) for one in solutions for label in one.labels)
    method = f"published {form}" + ("" if soft else ", hard labels only")
    low, high = config.share
    table = pd.DataFrame([_row(one, form, method) for one in once.values() if low <= _place(one.question) < high])
    if table.empty:
        raise PqmError(f"{records.origin}: no question lies in the share {low} to {high}; expected a larger share")
    say(f"{len(table)} of {len(once)} solutions answer questions in the share {low} to {high}")
    return table


def _listed(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"


def _expect(expected: ExpectedCounts, found: dict[str, float], origin: str) -> None:
    for key, value in expected.model_dump(exclude_none=True).items():
        if round(found[key], 1) != value:
            raise PqmError(f"{origin}: {key} {found[key]:.6g}, expected {value}; it is not the whole corpus, or another edition")


def _place(question: str) -> float:
    """Where a question lies in [0, 1), by its hash."""
    return int(question_hash(question), 16) / 16 ** len(question_hash(question))


def _row(one: Labelled, form: str, method: str) -> dict[str, Any]:
    hard = [float(label > 0) for label in one.labels]
    return {
        "question_id": f"question-{question_hash(one.question)}",
        "policy": form,
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
    """Rows {input, label}: a question and steps `Step 1: .. ки`, and the same text with + or - for ки.

    Rows are left out as the paper's authors do; steps are numbered anew.
    """
    for number, record in records.rows:
        text, marked = _texts(records, number, record, "input", "label")
        question, *steps = STEP_HEADING.split(text)
        marks = [part.strip()[-1:] for part in STEP_HEADING.split(marked)[1:]]
        if not steps:
            left_out["without steps"] += 1
        elif not set(marks) <= {"+", "-"}:
            left_out["with a label that ends in neither + nor -"] += 1
        elif len(marks) != len(steps):
            left_out["with more or fewer labels than steps"] += 1
        else:
            numbered = [f"Step {place}: {STEP_TAG.sub('', step).strip()}" for place, step in enumerate(steps, start=1)]
            yield Labelled(question.strip(), numbered, [float(mark == "+") for mark in marks], marks[-1] == "+")


def _prm800k(records: Records, left_out: Counter[str]) -> Iterator[Labelled]:
    """Rows {question: {problem}, label: {steps: [{completions, human_completion, chosen_completion}], finish_reason}}.

    Ratings -1, 0 and 1 become 0, 1 and 1: people rated neutral what is neither wrong nor of use. The chosen completions (or the
    labeller's own, which counts as right) make the solution; every other rated completion ends a solution of its own, the chosen
    steps before it included.
    """
    for number, record in records.rows:
        try:
            question, steps, ending = record["question"]["problem"], record["label"]["steps"], record["label"]["finish_reason"]
            if ending == "bad_problem":
                left_out["about a bad problem"] += 1
                continue
            found = list(_paths(question, steps, ending == "solution"))
        except KeyError as error:
            raise PqmError(f"{records.origin}: row {number}: key {error} is missing; expected PRM800K's format") from None
        except (TypeError, AttributeError, IndexError):
            raise PqmError(f"{records.origin}: row {number}: a value of another type than in PRM800K's format") from None
        if not found:
            left_out["without a rated step"] += 1
        yield from found


def _paths(question: str, steps: list[Record], solved: bool) -> Iterator[Labelled]:
    path: list[str] = []
    labels: list[float] = []
    for step in steps:
        completions, chosen, human = step["completions"] or [], step["chosen_completion"], step["human_completion"]
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
            return  # each of them goes on from here
        else:
            solved = False
            break
    if path:
        yield Labelled(question.strip(), path, labels, solved and labels[-1] == 1)


def _rated(completion: Record) -> float:
    rating = completion["rating"]
    if rating not in (-1, 0, 1):
        raise TypeError(rating)
    return float(rating >= 0)


def _stepwise(records: Records, left_out: Counter[str]) -> Iterator[Labelled]:
    """Rows {prompt, completions, labels}, a label (true, false, or a share of right completions) a step."""
    for number, record in records.rows:
        where = f"{records.origin}: row {number}"
        (question,) = _texts(records, number, record, "prompt")
        steps, labels = record.get("completions"), record.get("labels")
        if not isinstance(steps, list) or not isinstance(labels, list) or not all(isinstance(step, str) for step in steps):
            raise PqmError(f"{where}: expected completions, a list of texts, and labels, a list as long")
        if len(steps) != len(labels):
            raise PqmError(f"{where}: {len(steps)} completions but {len(labels)} labels; expected one each")
        if not all(isinstance(label, bool | int | float) and 0 <= label <= 1 for label in labels):
            raise PqmError(f"{where}: expected labels true, false or in [0, 1], found {labels}")
        if not steps:
            left_out["without steps"] += 1
            continue
        yield Labelled(question.strip(), steps, [float(label) for label in labels], labels[-1] > 0)


def _texts(records: Records, number: int, record: Record, *keys: str) -> list[str]:
    for key in keys:
        if not isinstance(record.get(key), str):
            raise PqmError(f"{records.origin}: row {number}: expected {key!r}, a text, found {record.get(key)!r}")
    return [record[key] for key in keys]


_READERS: dict[str, Callable[[Records, Counter[str]], Iterator[Labelled]]] = {
    "math-shepherd": _math_shepherd,
    "prm800k": _prm800k,
    "stepwise": _stepwise,
}
