"""Sample solutions of the report: some questions with the step scores of some runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pqm.estimation.estimators import aggregate, probability
from pqm.io.formats import NO_ERROR
from pqm.paper.results import Results

QUESTIONS_SHOWN = 6
SAMPLES_SHOWN = 8
ORANGE, WHITE, BLUE = np.array([244, 165, 100]), np.array([255, 255, 255]), np.array([120, 180, 230])


@dataclass(frozen=True)
class ShownStep:
    """A step with sigma of its score and its colour, run by run; `truth` is empty where it is unknown."""

    text: str
    cells: list[tuple[str, str]]
    truth: str
    first_wrong: bool


@dataclass(frozen=True)
class ShownSample:
    """A solution with its score, run by run."""

    sample_id: int
    answer: str
    correct: bool
    steps: list[ShownStep]
    scores: list[str]


@dataclass(frozen=True)
class ShownQuestion:
    """A question with some samples of a policy, and the share of all its samples that are correct."""

    question_id: str
    text: str
    gold: str
    policy: str
    share: str
    samples: list[ShownSample]


def shown_questions(results: Results) -> list[ShownQuestion]:
    """The first questions of the first benchmark, with their first distinct samples by the middle policy."""
    benchmark = results.evaluation.benchmarks[0]
    policies = results.evaluation.policies
    policy = policies[len(policies) // 2]
    texts = results.questions(benchmark)
    steps = results.rollouts(policy, benchmark)[["question_id", "sample_id", "steps"]]
    scored = {
        run: results.scored(results.scorers(run)[0], policy, benchmark).merge(steps, on=["question_id", "sample_id"])
        for run in results.config.report
    }
    shown = []
    for question_id in sorted(texts.index)[:QUESTIONS_SHOWN]:
        tables = {run: table[table["question_id"] == question_id] for run, table in scored.items()}
        shown.append(
            ShownQuestion(
                question_id=question_id,
                text=texts.at[question_id, "question"],
                gold=texts.at[question_id, "answer"],
                policy=policy,
                share=f"{100 * next(iter(tables.values()))['correct'].mean():.0f} %",
                samples=_samples(results, tables),
            )
        )
    return shown


def _samples(results: Results, tables: Mapping[str, pd.DataFrame]) -> list[ShownSample]:
    """The first distinct samples; `tables` has the scored samples of each run."""
    first = next(iter(tables.values()))
    distinct = first.assign(text=first["steps"].map(tuple)).drop_duplicates("text")
    samples = []
    for row in distinct.head(SAMPLES_SHOWN).itertuples():
        scores = [list(table.loc[table["sample_id"] == row.sample_id, "step_scores"].iloc[0]) for table in tables.values()]
        error = int(row.first_error) if row.first_error == row.first_error else None
        samples.append(
            ShownSample(
                sample_id=row.sample_id,
                answer=row.answer or "none",
                correct=bool(row.correct),
                steps=[_step(place, text, scores, error) for place, text in enumerate(row.steps)],
                scores=[f"{aggregate(values, results.aggregation(run)):.2f}" for run, values in zip(tables, scores)],
            )
        )
    return samples


def _step(place: int, text: str, scores: Sequence[Sequence[float]], error: int | None) -> ShownStep:
    chances = [float(probability(np.array(values[place]))) for values in scores]
    truth = "" if error is None else "right" if error == NO_ERROR or place < error else "wrong"
    return ShownStep(text, [(f"{chance:.2f}", _colour(chance)) for chance in chances], truth, place == error)


def _colour(chance: float) -> str:
    """From orange (0) over white (1/2) to blue (1), readable behind black text."""
    mixed = WHITE + (BLUE - WHITE) * (2 * chance - 1) if chance >= 0.5 else ORANGE + (WHITE - ORANGE) * (2 * chance)
    return "#" + "".join(f"{round(part):02x}" for part in mixed)
