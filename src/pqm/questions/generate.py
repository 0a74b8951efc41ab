"""Stage `questions`: a table of questions from a generator or from published data."""

from pathlib import Path
from random import Random

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.io import formats
from pqm.io.records import read_records
from pqm.problems.gsm_symbolic import fresh_instances
from pqm.problems.word_problems import DAYS, PERTURBATIONS, WordProblem, distract, parse_problem, random_problem
from pqm.questions.published import read_published
from pqm.study.questions import PerturbedProblemsSource, QuestionsConfig, SymbolicSource, WordProblemsSource


def make_questions(config: QuestionsConfig, name: str, upstream: dict[str, Path], published: Path) -> pd.DataFrame:
    """The questions of data set `name`, which share no text with the data sets in `config.disjoint_from`.

    Args:
        upstream: the question tables of the data sets in `config.upstream`, by name.
        published: the folder at which relative paths of published files start.

    Raises:
        PqmError: published data is missing or malformed, the templates have too few instances, or the data set shares a question
            with a data set in `config.disjoint_from`.
    """
    for other in config.upstream:
        if other not in upstream:
            raise PqmError(f"{name}: the settings need the data set {other!r}; pass its table with --upstream")
    taken = {text for other in config.disjoint_from for text in formats.read(upstream[other], formats.QUESTIONS)["question"]}
    source = config.source
    if isinstance(source, WordProblemsSource):
        rows = _fresh_problems(source, name, taken)
    elif isinstance(source, PerturbedProblemsSource):
        rows = _perturbed_problems(source, name, formats.read(upstream[source.of], formats.QUESTIONS), taken)
    elif isinstance(source, SymbolicSource):
        rows = [
            {
                "question_id": question_id,
                "question": instance.question,
                "answer": instance.answer,
                "solution": list(instance.solution),
                "cluster": instance.cluster,
                "perturbation": "",
            }
            for question_id, instance in fresh_instances(source.questions, source.templates, source.seed, name, taken)
        ]
    else:
        rows = read_published(source.format, read_records(source, published), name)
    questions = pd.DataFrame(rows)
    shared = [] if questions.empty else questions["question"][questions["question"].isin(taken)].tolist()
    if shared:
        raise PqmError(
            f"{name}: shares a question with {', '.join(config.disjoint_from)}: {shortened(shared[0])}; expected disjoint sets"
        )
    return questions


def _row(name: str, index: int, problem: WordProblem, cluster: str | None = None, perturbation: str = "") -> dict[str, object]:
    question_id = f"{name}-{index:05d}"
    return {
        "question_id": question_id,
        "question": problem.question,
        "answer": str(problem.answer),
        "solution": problem.solution,
        "cluster": cluster or question_id,
        "perturbation": perturbation,
    }


def _fresh_problems(source: WordProblemsSource, name: str, taken: set[str]) -> list[dict[str, object]]:
    random, seen = Random(f"{name} {source.seed}"), set(taken)
    rows: list[dict[str, object]] = []
    while len(rows) < source.questions:
        problem = random_problem(random, random.randint(*source.facts))
        if random.random() < source.distraction_share:
            problem = distract(random, problem)
        if problem.question not in seen:
            seen.add(problem.question)
            rows.append(_row(name, len(rows), problem))
    return rows


def _perturbed_problems(
    source: PerturbedProblemsSource, name: str, seeds: pd.DataFrame, taken: set[str]
) -> list[dict[str, object]]:
    if len(seeds) < source.seed_questions:
        raise PqmError(f"{name}: needs {source.seed_questions} seed questions, but {source.of} has {len(seeds)}")
    random, seen = Random(f"{name} {source.seed}"), set(taken)
    rows: list[dict[str, object]] = []
    for seed in seeds.head(source.seed_questions).itertuples():
        if len(parse_problem(str(seed.question)).facts) == len(DAYS):
            raise PqmError(
                f"{name}: {source.of}: {seed.question_id} has a fact on every day; expected a free day for one more fact"
            )
        for kind, perturb in PERTURBATIONS.items():
            problem = perturb(random, parse_problem(str(seed.question)))
            while problem.question in seen:
                problem = perturb(random, parse_problem(str(seed.question)))
            seen.add(problem.question)
            rows.append(_row(name, len(rows), problem, cluster=str(seed.question_id), perturbation=kind))
    return rows
