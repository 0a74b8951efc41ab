"""Readers of solutions whose first wrong step people marked: ProcessBench and CHAMP, as questions, rollouts and grades."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pqm import formats
from pqm.config import AnnotatedConfig
from pqm.errors import PqmError
from pqm.questions.stories import ALL_RIGHT
from pqm.records import Records, question_hash, read_records

GRADER = "published"
Solution = dict[str, Any]


def write_annotated(config: AnnotatedConfig, published: Path, output: Path) -> None:
    """Write `questions.parquet`, `rollouts.parquet` and `grades.parquet` to the folder `output`, all or none.

    Args:
        published: the folder in which a relative path is looked up.

    Raises:
        PqmError: the source is missing, or a solution lacks a key or marks a step that it has not.
    """
    records = read_records(config.source, published)
    solutions = pd.DataFrame(_READERS[config.source.format](records))
    if solutions.empty:
        raise PqmError(f"{records.origin}: holds no marked solution")
    beyond = solutions[solutions["first_error"] >= solutions["steps"].map(len)]
    if len(beyond):
        one = beyond.iloc[0]
        raise PqmError(
            f"{records.origin}: {one.question_id}: step {one.first_error} is marked, but the solution has {len(one.steps)} steps"
        )
    solutions["sample_id"] = solutions.groupby("question_id").cumcount()
    questions = solutions.drop_duplicates("question_id").assign(
        cluster=lambda rows: rows["question_id"], perturbation="", solution=[[]] * solutions["question_id"].nunique()
    )
    rollouts = solutions.assign(
        text=solutions["steps"].map("\n\n".join), n_tokens=solutions["steps"].map(lambda steps: len(" ".join(steps).split())),
        finish_reason="stop", log_likelihood=float("nan"), seed=-1,
    )  # fmt: skip
    right = solutions["correct"]
    grades = solutions.assign(cluster=solutions["question_id"], answer=None, grader=GRADER, second_correct=right)
    with formats.whole_folder(output) as part:
        formats.write(questions.reset_index(drop=True), formats.QUESTIONS, part / "questions.parquet")
        formats.write(rollouts, formats.ROLLOUTS, part / "rollouts.parquet")
        formats.write(grades, formats.GRADES, part / "grades.parquet")


def _processbench(records: Records) -> Iterator[Solution]:
    """Rows {id, generator, problem, steps, final_answer_correct, label}; label -1 is no error."""
    for number, record in records.rows:
        where = f"{records.origin}: row {number}"
        try:
            steps, label = record["steps"], record["label"]
            question, correct, writer = record["problem"], record["final_answer_correct"], record["generator"]
        except KeyError as error:
            raise PqmError(f"{where}: key {error} is missing; expected ProcessBench's format") from None
        texts = [question, *steps] if isinstance(steps, list) else [None]
        if not all(isinstance(text, str) for text in texts) or not isinstance(label, int) or label < ALL_RIGHT:
            raise PqmError(f"{where}: expected a problem, a list of steps and a label from -1, found {label!r}")
        yield {
            "question_id": f"question-{question_hash(question)}", "question": question, "answer": "unknown", "steps": steps,
            "first_error": label, "correct": bool(correct), "engine": f"published, {writer}",
        }  # fmt: skip


def _champ(records: Records) -> Iterator[Solution]:
    """CHAMP's one object (`v0.json` of the package champ-dataset): model solutions with the span of their first wrong step; steps are paragraphs.

    The data says nothing of the final answer: a solution without a wrong step counts as right.
    """
    content = [record.get("problems") for _, record in records.rows]
    if len(content) != 1 or not isinstance(content[0], dict):
        raise PqmError(
            f"{records.origin}: not CHAMP's JSON (v0.json of the package champ-dataset); expected an object with `problems`"
        )
    for name, problem in content[0].items():
        try:
            question, answer = str(problem["_text"]), str(problem["_answer"] or "unknown")
            marks = [
                (writer, str(mark["text"]), mark["start_idx"]) for writer, mark in (problem["fws_annotations"] or {}).items()
            ]
        except (KeyError, TypeError) as error:
            raise PqmError(
                f"{records.origin}: problem {name}: {error} is missing or malformed; expected CHAMP's format"
            ) from None
        for writer, text, begin in marks:
            steps, starts = _paragraphs(text)
            if not steps:
                raise PqmError(f"{records.origin}: problem {name}, {writer}: a solution without text")
            error_place = ALL_RIGHT if begin is None else max(0, sum(start <= begin for start in starts) - 1)
            yield {
                "question_id": name, "question": question, "answer": answer, "steps": steps,
                "first_error": error_place, "correct": error_place == ALL_RIGHT, "engine": f"published, {writer}",
            }  # fmt: skip


def _paragraphs(text: str) -> tuple[list[str], list[int]]:
    """The paragraphs of a text and where each begins."""
    steps, starts, place = [], [], 0
    for block in text.split("\n\n"):
        if block.strip():
            steps.append(block.strip())
            starts.append(place)
        place += len(block) + 2
    return steps, starts


_READERS: dict[str, Callable[[Records], Iterator[Solution]]] = {"processbench": _processbench, "champ": _champ}
