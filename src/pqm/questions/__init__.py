"""Stage `questions`: from a generator or published data to a checked table of questions."""

from pathlib import Path
from random import Random

import pandas as pd

from pqm import formats
from pqm.config import PerturbedSource, QuestionsConfig, StoriesSource, SymbolicSource
from pqm.errors import PqmError
from pqm.questions.published import read_published
from pqm.questions.stories import DAYS, PERTURBATIONS, Story, distract, parse_story, random_story
from pqm.questions.symbolic import fresh_instances
from pqm.records import read_records


def make_questions(config: QuestionsConfig, name: str, upstream: dict[str, Path], published: Path) -> pd.DataFrame:
    """The questions of data set `name`, disjoint by text from the data sets in `config.disjoint_from`.

    Args:
        upstream: the question table of each data set in `config.upstream`.
        published: the folder in which relative paths of published files are looked up.

    Raises:
        PqmError: published data is missing or malformed, templates have no more instances, or the set shares a question with a disjoint data set.
    """
    for other in config.upstream:
        if other not in upstream:
            raise PqmError(f"{name}: the settings name the data set {other!r}; give its table with --upstream")
    taken = {text for other in config.disjoint_from for text in formats.read(upstream[other], formats.QUESTIONS)["question"]}
    source = config.source
    if isinstance(source, StoriesSource):
        rows = _fresh_stories(source, name, taken)
    elif isinstance(source, PerturbedSource):
        rows = _perturbed_stories(source, name, formats.read(upstream[source.of], formats.QUESTIONS), taken)
    elif isinstance(source, SymbolicSource):
        rows = fresh_instances(source, name, taken)
    else:
        rows = read_published(source.format, read_records(source, published), name)
    questions = pd.DataFrame(rows)
    shared = [] if questions.empty else questions["question"][questions["question"].isin(taken)].tolist()
    if shared:
        raise PqmError(f"{name}: shares a question with {', '.join(config.disjoint_from)}: {shared[0]!r}; expected disjoint sets")
    return questions


def _row(name: str, index: int, story: Story, cluster: str | None = None, perturbation: str = "") -> dict[str, object]:
    question_id = f"{name}-{index:05d}"
    return {
        "question_id": question_id,
        "question": story.question,
        "answer": str(story.answer),
        "solution": story.solution,
        "cluster": cluster or question_id,
        "perturbation": perturbation,
    }


def _fresh_stories(source: StoriesSource, name: str, taken: set[str]) -> list[dict[str, object]]:
    random, seen = Random(f"{name} {source.seed}"), set(taken)
    rows: list[dict[str, object]] = []
    while len(rows) < source.questions:
        story = random_story(random, random.randint(*source.facts))
        if random.random() < source.distraction_share:
            story = distract(random, story)
        if story.question not in seen:
            seen.add(story.question)
            rows.append(_row(name, len(rows), story))
    return rows


def _perturbed_stories(source: PerturbedSource, name: str, seeds: pd.DataFrame, taken: set[str]) -> list[dict[str, object]]:
    if len(seeds) < source.seed_questions:
        raise PqmError(f"{name}: asks for {source.seed_questions} seed questions, {source.of} has {len(seeds)}")
    random, seen = Random(f"{name} {source.seed}"), set(taken)
    rows: list[dict[str, object]] = []
    for seed in seeds.head(source.seed_questions).itertuples():
        if len(parse_story(str(seed.question)).facts) == len(DAYS):
            raise PqmError(f"{name}: {source.of}: {seed.question_id} has a fact on every day; expected a day left for one more")
        for kind, perturb in PERTURBATIONS.items():
            story = perturb(random, parse_story(str(seed.question)))
            while story.question in seen:
                story = perturb(random, parse_story(str(seed.question)))
            seen.add(story.question)
            rows.append(_row(name, len(rows), story, cluster=str(seed.question_id), perturbation=kind))
    return rows
