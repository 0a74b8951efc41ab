"""What a study built, read by where it lies: the tables and figures are functions of this."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from pqm import formats
from pqm.config import EvaluationConfig, ResultsConfig, RunConfig, StudyConfig, TrainingConfig
from pqm.errors import PqmError
from pqm.evaluate import join
from pqm.published_files import PUBLISHED
from pqm.questions.stories import ALL_RIGHT
from pqm.study import instead, load_study, study_name

REFERENCES = "references"
Section = TypeVar("Section")


@dataclass(frozen=True)
class Study:
    """The settings in `file` and what was made from them in `data` and `results`."""

    file: Path
    data: Path
    results: Path

    @classmethod
    def of(cls, file: Path, data: Path | None = None, results: Path | None = None) -> "Study":
        """The study in a file; what it made lies in `data/<study>` and `results/<study>` unless told otherwise."""
        name = study_name(file)
        return cls(file, data or Path("data", name), results or Path("results", name))

    @property
    def name(self) -> str:
        return study_name(self.file)

    @cached_property
    def settings(self) -> StudyConfig:
        return load_study(self.file)

    @property
    def paper(self) -> ResultsConfig:
        return self._section("results", self.settings.results)

    @property
    def evaluation(self) -> EvaluationConfig:
        return self._section("evaluation", self.settings.evaluation)

    @property
    def training(self) -> TrainingConfig:
        return self._section("training", self.settings.training)

    def _section(self, name: str, section: Section | None) -> Section:
        if section is None:
            raise PqmError(f"{self.file}: section {name!r} is missing, which this result needs")
        return section

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Every judged policy and benchmark."""
        return [(policy, benchmark) for benchmark in self.evaluation.benchmarks for policy in self.evaluation.policies]

    @property
    def validation(self) -> str:
        """The data set that thresholds are chosen on."""
        return self._named("validation", self.evaluation.validation)

    @property
    def audit(self) -> str:
        """The data set whose labels come from many completions."""
        return self._named("audit", self.evaluation.audit)

    def _named(self, role: str, name: str | None) -> str:
        if name is None:
            raise PqmError(f"{self.file}: evaluation names no {role} set, which this result needs")
        return name

    @property
    def runs(self) -> list[str]:
        """Every reward model of the study."""
        return list(self.settings.runs)

    def runs_of(self, result: str) -> tuple[str, ...]:
        """The runs that a result is about.

        Raises:
            PqmError: two of them are the same method, which one result cannot tell apart (but by backbone, in `backbones`).
        """
        names = {**self.paper.tables, **self.paper.figures}[result]
        kinds = [(self.run(name).method, self.run(name).backbone if result == "backbones" else "") for name in names]
        twice = [name for name, kind in zip(names, kinds) if kinds.count(kind) > 1]
        if twice:
            method = self.run(twice[0]).method
            raise PqmError(f"{self.file}: results: {result}: runs {', '.join(twice)} are all {method}; expected one of them")
        return names

    def run(self, name: str) -> RunConfig:
        if name not in self.settings.runs:
            raise PqmError(f"{self.file}: runs has no {name!r}; {instead(name, self.settings.runs)}")
        return self.settings.runs[name]

    def seeds(self, run: str) -> tuple[int, ...]:
        return self.run(run).seeds or self.training.seeds

    def policies(self, run: str) -> tuple[str, ...]:
        """The policies that a run is judged on."""
        return self.run(run).policies or self.evaluation.policies

    def scorers(self, run: str) -> list[str]:
        """Where below `results/scores` each training seed of a run stands."""
        return [f"{run}/seed-{seed}" for seed in self.seeds(run)]

    def metrics(self, runs: Sequence[str], references: bool = True) -> pd.DataFrame:
        """The metric rows of these runs and of the references; the method is what a run compares, not its name.

        Raises:
            PqmError: a run was not judged; the message names it.
        """
        parts = []
        for run in [*runs, *([REFERENCES] if references else [])]:
            path = self.results / "metrics" / f"{run}.parquet"
            if not path.exists():
                raise PqmError(
                    f"{path}: missing; run {run!r} was not built or failed, see logs/{self.name}/train and logs/{self.name}/evaluate"
                )
            part = formats.read(path, formats.METRICS)
            if run != REFERENCES:
                name = self.run(run).method
                part["method"] = [name + method.removeprefix(run) for method in part["method"]]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def questions(self, dataset: str) -> pd.DataFrame:
        return formats.read(self.data / "questions" / f"{dataset}.parquet", formats.QUESTIONS).set_index("question_id")

    def rollouts(self, policy: str, dataset: str) -> pd.DataFrame:
        return formats.read(self.data / "rollouts" / policy / f"{dataset}.parquet", formats.ROLLOUTS)

    def grades(self, policy: str, dataset: str) -> pd.DataFrame:
        return formats.read(self.results / "grades" / policy / f"{dataset}.parquet", formats.GRADES)

    def labels(self, name: str) -> pd.DataFrame:
        return formats.read(self.data / "labels" / f"{name}.parquet", formats.LABELS)

    def scored(self, scorer: str, policy: str, dataset: str) -> pd.DataFrame:
        """Grades with the step scores of one checkpoint or reference (`scorer` as `scorers` gives it)."""
        path = self.results / "scores" / scorer / policy / f"{dataset}.parquet"
        return join(self.grades(policy, dataset), formats.read(path, formats.SCORES), path)

    def solutions(self, scorer: str, dataset: str) -> pd.DataFrame:
        """The distinct solutions of every policy on a data set, with steps, grades and step scores; those without steps left out."""
        distinct = _distinct(self, dataset)
        parts = []
        for policy, own in distinct.groupby("policy", sort=False):
            path = self.results / "scores" / scorer / str(policy) / f"{dataset}.parquet"
            parts.append(join(own, formats.read(path, formats.SCORES), path))
        return pd.concat(parts, ignore_index=True) if parts else distinct.assign(step_scores=[])

    def labelled(self, scorer: str) -> pd.DataFrame:
        """The distinct solutions of the validation set; the first wrong step is what its Monte Carlo labels say."""
        labels = self.labels(self.validation)
        labels["steps"] = labels["completions"].map(tuple)
        labels["first_error"] = [_first_wrong(one) for one in labels["labels"]]
        scored = self.solutions(scorer, self.validation).drop(columns="first_error")
        return scored.merge(labels[["question_id", "steps", "first_error"]], on=["question_id", "steps"])

    def annotated(self, scorer: str, dataset: str) -> pd.DataFrame:
        """Solutions whose first wrong step people marked, with the step scores of one checkpoint."""
        grades = formats.read(self.data / "annotated" / dataset / "grades.parquet", formats.GRADES)
        path = self.results / "scores" / scorer / "annotated" / f"{dataset}.parquet"
        return join(grades, formats.read(path, formats.SCORES), path)

    def solution_grades(self, name: str) -> dict[str, pd.DataFrame]:
        """Our grades of solutions that others published, by model."""
        item = self.settings.solutions[name]
        return {model: self.grades(model, item.dataset) for model in item.models}

    def solution_file(self, name: str) -> Path:
        """The file that the publishers' solutions stand in."""
        return PUBLISHED / self.settings.solutions[name].source.path

    def table(self, name: str) -> pd.DataFrame:
        """A table of the study that was made before."""
        path = self.results / "tables" / f"{name}.csv"
        if not path.exists():
            raise PqmError(f"{path}: missing; make table {name} first")
        return pd.read_csv(path)

    def facts(self, run: str, seed: int) -> dict[str, Any]:
        """What a checkpoint says of itself."""
        path = self.results / "checkpoints" / run / f"seed-{seed}" / "run.json"
        if not path.exists():
            raise PqmError(f"{path}: missing; run {run!r}, seed {seed} was not trained or failed")
        return dict(json.loads(path.read_text()))


def _first_wrong(labels: Sequence[float]) -> int:
    """The first step whose hard label is 0, as grades write it."""
    return next((step for step, label in enumerate(labels) if label == 0), ALL_RIGHT)


@cache
def _distinct(study: Study, dataset: str) -> pd.DataFrame:
    """The distinct solutions with steps and grades: the same for every scorer, so they are found once."""
    keys = ["question_id", "sample_id"]
    pooled = pd.concat(
        [
            study.grades(policy, dataset).merge(study.rollouts(policy, dataset)[[*keys, "steps"]], on=keys).assign(policy=policy)
            for policy in study.evaluation.policies
        ],
        ignore_index=True,
    )
    pooled["steps"] = pooled["steps"].map(tuple)
    return pooled[pooled["steps"].map(len) > 0].drop_duplicates(["question_id", "steps"]).reset_index(drop=True)
