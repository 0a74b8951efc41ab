"""Readers of solutions with human-annotated first errors (ProcessBench, CHAMP), as questions, rollouts and grades."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.formats import NO_ERROR
from pqm.io.records import Records, question_hash, read_records
from pqm.study.rollouts import AnnotatedConfig

GRADER = "published"
Solution = dict[str, Any]


def write_annotated(config: AnnotatedConfig, published: Path, output: Path) -> None:
    """Write `questions.parquet`, `rollouts.parquet` and `grades.parquet` to the folder `output`, atomically.

    Args:
        published: the folder at which a relative path starts.

    Raises:
        PqmError: the source is missing, a solution lacks a key, or its first error is beyond its last step.
    """
    records = read_records(config.source, published)
    solutions = pd.DataFrame(_READERS[config.source.format](records))
    if solutions.empty:
        raise PqmError(f"{records.origin}: no annotated solution")
    beyond = solutions[solutions["first_error"] >= solutions["steps"].map(len)]
    if len(beyond):
        one = beyond.iloc[0]
        raise PqmError(
            f"{records.origin}: {one.question_id}: the first error is step {one.first_error}, but it has {len(one.steps)} steps"
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
    """Read rows {id, generator, problem, steps, final_answer_correct, label}; label -1 means no error."""
    for number, record in records.rows:
        where = f"{records.origin}: row {number}"
        try:
            steps, label = record["steps"], record["label"]
            question, correct, writer = record["problem"], record["final_answer_correct"], record["generator"]
        except KeyError as error:
            raise PqmError(f"{where}: key {error} is missing; expected ProcessBench's format") from None
        texts = [question, *steps] if isinstance(steps, list) else [None]
        if not all(isinstance(text, str) for text in texts) or not isinstance(label, int) or label < NO_ERROR:
            raise PqmError(f"{where}: expected a problem, a list of steps and a label of -1 or more, found {label!r}")
        yield {
            "question_id": f"question-{question_hash(question)}", "question": question, "answer": "unknown", "steps": steps,
            "first_error": label, "correct": bool(correct), "engine": f"published, {writer}",
        }  # fmt: skip


def _champ(records: Records) -> Iterator[Solution]:
    """Read CHAMP's single JSON object (`v0.json` of the package champ-dataset): model solutions with the span of the first error.

    Steps are paragraphs. The data does not contain the correctness of the final answer, so solutions without an error count as
    right.
    """
    content = [record.get("problems") for _, record in records.rows]
    if len(content) != 1 or not isinstance(content[0], dict):
        raise PqmError(
            f"{records.origin}: not CHAMP's JSON (v0.json of the package champ-dataset); expected an object with `problems`"
        )
    for name, problem in content[0].items():
        try:
            question, answer = str(problem["_text"]), str(problem["_answer"] or "unknown")
            annotations = [
                (writer, str(one["text"]), one["start_idx"]) for writer, one in (problem["fws_annotations"] or {}).items()
            ]
        except (KeyError, TypeError) as error:
            raise PqmError(
                f"{records.origin}: problem {name}: {error} is missing or malformed; expected CHAMP's format"
            ) from None
        for writer, text, begin in annotations:
            steps, starts = _paragraphs(text)
            if not steps:
                raise PqmError(f"{records.origin}: problem {name}, {writer}: the solution is empty")
            error_place = NO_ERROR if begin is None else max(0, sum(start <= begin for start in starts) - 1)
            yield {
                "question_id": name, "question": question, "answer": answer, "steps": steps,
                "first_error": error_place, "correct": error_place == NO_ERROR, "engine": f"published, {writer}",
            }  # fmt: skip


def _paragraphs(text: str) -> tuple[list[str], list[int]]:
    """The paragraphs of a text, and the position at which each begins."""
    steps, starts, place = [], [], 0
    for block in text.split("\n\n"):
        if block.strip():
            steps.append(block.strip())
            starts.append(place)
        place += len(block) + 2
    return steps, starts


_READERS: dict[str, Callable[[Records], Iterator[Solution]]] = {"processbench": _processbench, "champ": _champ}
