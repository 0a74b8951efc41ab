"""Solutions with known first errors, as questions, rollouts and grades.

They are published ones that people annotated (ProcessBench, CHAMP), or worked solutions with injected errors.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.grading.extraction import extract_answer
from pqm.hashes import question_hash
from pqm.io import formats
from pqm.io.formats import NO_ERROR
from pqm.io.records import Records, read_records
from pqm.problems.gsm_symbolic import Instance, fresh_instances
from pqm.problems.published_values import gold_answer, truth_value
from pqm.study.rollouts import AnnotatedConfig, InjectedErrorsSource

GRADER = "published"
Solution = dict[str, Any]


def write_annotated(config: AnnotatedConfig, published: Path, output: Path, taken: Sequence[Path] = ()) -> None:
    """Write `questions.parquet`, `rollouts.parquet` and `grades.parquet` to the folder `output`, atomically.

    Args:
        published: the folder at which a relative path starts.
        taken: question tables of `config.disjoint_from`.

    Raises:
        PqmError: the source is missing, a solution lacks a key, or its first error is beyond its last step.
    """
    if isinstance(config.source, InjectedErrorsSource):
        _write(with_injected_errors(config.source, output.name, taken), output, "\n")
        return
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
    _write(solutions, output, "\n\n")


def _write(solutions: pd.DataFrame, output: Path, separator: str) -> None:
    solutions["sample_id"] = solutions.groupby("question_id").cumcount()
    questions = solutions.drop_duplicates("question_id").assign(
        cluster=lambda rows: rows["question_id"], perturbation="", solution=[[]] * solutions["question_id"].nunique()
    )
    rollouts = solutions.assign(
        text=solutions["steps"].map(separator.join), n_tokens=solutions["steps"].map(lambda steps: len(" ".join(steps).split())),
        finish_reason="stop", log_likelihood=float("nan"), seed=-1,
    )  # fmt: skip
    right = solutions["correct"]
    grades = solutions.assign(cluster=solutions["question_id"], answer=None, grader=GRADER, second_correct=right)
    with formats.whole_folder(output) as part:
        formats.write(questions.reset_index(drop=True), formats.QUESTIONS, part / "questions.parquet")
        formats.write(rollouts, formats.ROLLOUTS, part / "rollouts.parquet")
        formats.write(grades, formats.GRADES, part / "grades.parquet")


def with_injected_errors(source: InjectedErrorsSource, name: str, taken: Sequence[Path]) -> pd.DataFrame:
    """One solution per question, with the place of its first injected error.

    Args:
        name: of the data set, part of its seed and of the ids.
        taken: question tables that share no question with it.

    Raises:
        PqmError: see `fresh_instances`.
    """
    others = {text for path in taken for text in formats.read(path, formats.QUESTIONS)["question"]}
    random = Random(f"{name} {source.seed} errors")
    rows = []
    for question_id, instance in fresh_instances(source.questions, source.templates, source.seed, name, others):
        steps, first_error = _injected(random, instance, source)
        right = extract_answer("\n".join(steps)) == instance.answer
        rows.append(
            {
                "question_id": question_id, "question": instance.question, "answer": instance.answer, "steps": steps,
                "first_error": first_error, "correct": right, "engine": "injected errors",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _injected(random: Random, instance: Instance, source: InjectedErrorsSource) -> tuple[list[str], int]:
    """The steps of a solution, and its first wrong step."""
    from pqm.problems.gsm_symbolic_text import steps_with_errors, worked_steps

    if random.random() >= source.injected_error_share:
        return worked_steps(instance), NO_ERROR
    steps = steps_with_errors(random, instance, source.injected_error_chance)
    return [step.text for step in steps], next((place for place, step in enumerate(steps) if not all(step.right)), NO_ERROR)


def _processbench(records: Records) -> Iterator[Solution]:
    """Read rows {id, generator, problem, steps, final_answer_correct, label}; label -1 means no error."""
    for number, record in records.rows:
        where = f"{records.origin}: row {number}"
        try:
            steps, label = record["steps"], record["label"]
            question, verdict, writer = record["problem"], record["final_answer_correct"], record["generator"]
        except KeyError as error:
            raise PqmError(f"{where}: key {error} is missing; expected ProcessBench's format") from None
        texts = [question, *steps] if isinstance(steps, list) else [None]
        if not all(isinstance(text, str) for text in texts) or not steps or not question.strip():
            raise PqmError(f"{where}: expected a problem, a text, and a list of steps, at least one")
        if not isinstance(label, int) or isinstance(label, bool) or label < NO_ERROR:
            raise PqmError(f"{where}: expected a label of -1 or more, found {shortened(label)}")
        try:
            correct = truth_value(verdict)
        except ValueError as error:
            raise PqmError(f"{where}, final_answer_correct: {error}") from None
        yield {
            "question_id": f"question-{question_hash(question)}", "question": question, "answer": "unknown", "steps": steps,
            "first_error": label, "correct": correct, "engine": f"published, {writer}",
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
        where = f"{records.origin}: problem {shortened(name)}"
        try:
            question, stated = problem["_text"], problem["_answer"]
            answer = "unknown" if stated in (None, "") else gold_answer(stated)
            annotations = [(writer, one["text"], one["start_idx"]) for writer, one in (problem["fws_annotations"] or {}).items()]
        except ValueError as error:
            raise PqmError(f"{where}, _answer: {error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise PqmError(f"{where}: {error} is missing or malformed; expected CHAMP's format") from None
        for writer, text, begin in annotations:
            steps, first_error = _annotated_paragraphs(f"{where}, {shortened(writer)}", question, text, begin)
            yield {
                "question_id": name, "question": question, "answer": answer, "steps": steps,
                "first_error": first_error, "correct": first_error == NO_ERROR, "engine": f"published, {writer}",
            }  # fmt: skip


def _annotated_paragraphs(where: str, question: object, text: object, begin: object) -> tuple[list[str], int]:
    """The paragraphs of a solution, and the index of the one in which the first error begins."""
    if not isinstance(question, str) or not isinstance(text, str) or not text.strip():
        raise PqmError(f"{where}: expected the problem and its solution as texts that are not empty")
    steps, starts = _paragraphs(text)
    if begin is None:
        return steps, NO_ERROR
    if not isinstance(begin, int) or isinstance(begin, bool) or not 0 <= begin < len(text):
        raise PqmError(f"{where}: expected start_idx, a position in the text or null, found {shortened(begin)}")
    return steps, max(0, sum(start <= begin for start in starts) - 1)


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
