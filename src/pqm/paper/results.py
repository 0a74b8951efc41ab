"""What a study built: the tables and figures are functions of this."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.judge import join
from pqm.io import formats
from pqm.io.formats import NO_ERROR
from pqm.io.published_files import PUBLISHED
from pqm.losses.common.loss import loss_of
from pqm.paper.declared import declared
from pqm.study.evaluation import EvaluationConfig
from pqm.study.faults import instead
from pqm.study.layout import ANNOTATED, REFERENCES, Layout
from pqm.study.layout import scorer as seed_folder
from pqm.study.reading import load_study, study_name
from pqm.study.results import ResultsConfig
from pqm.study.runs import RunConfig
from pqm.study.training import TrainingConfig

Section = TypeVar("Section")


class Results:
    """The settings of a study and the files that were built from them.

    Attributes:
        file: of the study.
        name: of the study.
        settings: the whole study.
        layout: the paths of its files.
    """

    def __init__(self, file: Path, data: Path | None = None, results: Path | None = None) -> None:
        """Read the study in `file`; its files are in `data/<study>` and `results/<study>` unless other folders are given.

        Raises:
            PqmError: the study cannot be read, or the loss of a run is not found or refuses its settings.
        """
        self.file = file
        self.name = study_name(file)
        self.settings = load_study(file)
        self.layout = Layout.of_file(file, data, results)
        # Here and not when a method is printed, so that the labels of users' own losses are known.
        self._losses = {name: loss_of(run) for name, run in self.settings.runs.items()}

    # ---------------------------------------------------------------- settings

    @property
    def config(self) -> ResultsConfig:
        """The section `results`."""
        return self._section("results", self.settings.results)

    @property
    def evaluation(self) -> EvaluationConfig:
        """The section `evaluation`."""
        return self._section("evaluation", self.settings.evaluation)

    @property
    def training(self) -> TrainingConfig:
        """The section `training`."""
        return self._section("training", self.settings.training)

    def _section(self, name: str, section: Section | None) -> Section:
        if section is None:
            raise PqmError(f"{self.file}: section {name!r} is missing, which this result needs")
        return section

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Every evaluated policy and benchmark."""
        return [(policy, benchmark) for benchmark in self.evaluation.benchmarks for policy in self.evaluation.policies]

    @property
    def validation(self) -> str:
        """The data set that thresholds are chosen on."""
        return self._named("validation", self.evaluation.validation)

    @property
    def audit(self) -> str:
        """The data set with labels from many completions."""
        return self._named("audit", self.evaluation.audit)

    def _named(self, role: str, name: str | None) -> str:
        if name is None:
            raise PqmError(f"{self.file}: evaluation names no {role} set, which this result needs")
        return name

    def listed(self, kind: str) -> dict[str, tuple[str, ...]]:
        """The `tables` or `figures` of the study, each with its runs."""
        return self.config.tables if kind == "tables" else self.config.figures

    def shown(self, kind: str) -> list[str]:
        """The `tables` or `figures` that the overview and the report show: all, but for empty ones that declare to be left out.

        Raises:
            PqmError: one was not made yet.
        """
        return [
            name
            for name in self.listed(kind)
            if not (declared(kind, name).left_out_if_empty and pd.read_csv(self.made(kind, name, "csv")).empty)
        ]

    def runs_of(self, kind: str, name: str) -> tuple[str, ...]:
        """The runs of a table or figure.

        Raises:
            PqmError: the study does not list the result, or two of its runs are the same method, which it cannot tell apart.
        """
        result = declared(kind, name)
        if name not in self.listed(kind):
            raise PqmError(f"{self.file}: results: {kind.removesuffix('s')} {name!r} is not listed")
        runs = self.listed(kind)[name]
        keys = [(self.method(run), self.run(run).backbone if result.by_backbone else "") for run in runs]
        same = [run for run, key in zip(runs, keys) if keys.count(key) > 1]
        if same:
            method = self.method(same[0])
            raise PqmError(f"{self.file}: results: {name}: runs {', '.join(same)} are all {method}; expected one of them")
        return runs

    # ---------------------------------------------------------------- runs

    @property
    def runs(self) -> list[str]:
        """Every reward model of the study."""
        return list(self.settings.runs)

    def run(self, name: str) -> RunConfig:
        """The settings of a run.

        Raises:
            PqmError: the study has no such run; the message names the nearest one.
        """
        if name not in self.settings.runs:
            raise PqmError(f"{self.file}: runs has no {name!r}; {instead(name, self.settings.runs)}")
        return self.settings.runs[name]

    def method(self, run: str) -> str:
        """The name of a run's method: its loss with its settings, whatever its labels and backbone, such as `pqm-zeta4`."""
        config, loss = self.run(run), self._losses[run]
        return loss.named(config.loss_settings, config.targets)

    def aggregation(self, run: str) -> str:
        """How the step scores of a run become a solution's score."""
        self.run(run)
        return "last" if self._losses[run].outcome else "min"

    def seeds(self, run: str) -> tuple[int, ...]:
        """The training seeds of a run."""
        return self.run(run).seeds or self.training.seeds

    def policies(self, run: str) -> tuple[str, ...]:
        """The policies that a run is evaluated on."""
        return self.run(run).policies or self.evaluation.policies

    def scorers(self, run: str) -> list[str]:
        """The folder of each training seed of a run, below checkpoints and scores."""
        return [seed_folder(run, seed) for seed in self.seeds(run)]

    # ---------------------------------------------------------------- files

    def metrics(self, runs: Sequence[str], references: bool = True) -> pd.DataFrame:
        """The metrics of these runs and of the references, with the name of the method in place of the run's.

        Raises:
            PqmError: a run was not evaluated; the message names it.
        """
        parts = []
        for run in [*runs, *([REFERENCES] if references else [])]:
            path = Path(self.layout.metrics(run))
            if not path.exists():
                logs = f"logs/{self.name}/train and logs/{self.name}/evaluate"
                raise PqmError(f"{path}: missing; run {run!r} was not built or failed, see {logs}")
            part = formats.read(path, formats.METRICS)
            if run != REFERENCES:
                name = self.method(run)
                part["method"] = [name + method.removeprefix(run) for method in part["method"]]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def questions(self, dataset: str) -> pd.DataFrame:
        """The questions of a data set, by question id."""
        return formats.read(Path(self.layout.questions(dataset)), formats.QUESTIONS).set_index("question_id")

    def rollouts(self, policy: str, dataset: str) -> pd.DataFrame:
        """The samples of a policy on a data set."""
        return formats.read(Path(self.layout.rollouts(policy, dataset)), formats.ROLLOUTS)

    def grades(self, policy: str, dataset: str) -> pd.DataFrame:
        """The grades of a policy's samples on a data set."""
        return formats.read(Path(self.layout.grades(policy, dataset)), formats.GRADES)

    def labels(self, name: str) -> pd.DataFrame:
        """A label set."""
        return formats.read(Path(self.layout.labels(name)), formats.LABELS)

    def scores(self, scorer: str, policy: str, dataset: str) -> pd.DataFrame:
        """The step scores of a policy's samples by a checkpoint or reference; for `scorer` see `scorers`."""
        return formats.read(Path(self.layout.scores(scorer, policy, dataset)), formats.SCORES)

    def scored(self, scorer: str, policy: str, dataset: str) -> pd.DataFrame:
        """Grades with the step scores of a checkpoint or reference; for `scorer` see `scorers`."""
        return self._with_scores(self.grades(policy, dataset), scorer, policy, dataset)

    def solutions(self, scorer: str, dataset: str) -> pd.DataFrame:
        """The distinct solutions of all policies on a data set that have steps, with steps, grades and step scores."""
        distinct = _distinct(self, dataset)
        parts = [self._with_scores(own, scorer, str(policy), dataset) for policy, own in distinct.groupby("policy", sort=False)]
        return pd.concat(parts, ignore_index=True) if parts else distinct.assign(step_scores=[])

    def labelled(self, scorer: str, dataset: str) -> pd.DataFrame:
        """The distinct labelled solutions of a data set with a label set of its name, with labels, hits and counts.

        The first error is the first step with the hard Monte Carlo label 0.
        """
        labels = self.labels(dataset)
        labels["steps"] = labels["completions"].map(tuple)
        labels["first_error"] = [_first_error(one) for one in labels["labels"]]
        scored = self.solutions(scorer, dataset).drop(columns="first_error")
        columns = ["question_id", "steps", "first_error", "labels", "hits", "counts"]
        return scored.merge(labels[columns], on=["question_id", "steps"])

    def annotated(self, scorer: str, dataset: str) -> pd.DataFrame:
        """Solutions with known first errors, with the step scores of a checkpoint."""
        grades = formats.read(Path(self.layout.annotated(dataset), "grades.parquet"), formats.GRADES)
        return self._with_scores(grades, scorer, ANNOTATED, dataset)

    def first_errors(self, dataset: str) -> dict[tuple[str, tuple[str, ...]], int]:
        """The first error of each annotated solution, by its question and steps."""
        folder = Path(self.layout.annotated(dataset))
        rollouts = formats.read(folder / "rollouts.parquet", formats.ROLLOUTS)
        grades = formats.read(folder / "grades.parquet", formats.GRADES)
        solutions = rollouts.merge(grades[["question_id", "sample_id", "first_error"]], on=["question_id", "sample_id"])
        return {(one.question_id, tuple(one.steps)): int(one.first_error) for one in solutions.itertuples()}

    def _with_scores(self, grades: pd.DataFrame, scorer: str, policy: str, dataset: str) -> pd.DataFrame:
        return join(grades, self.scores(scorer, policy, dataset), Path(self.layout.scores(scorer, policy, dataset)))

    def solution_grades(self, name: str) -> dict[str, pd.DataFrame]:
        """Our grades of published solutions, by model."""
        item = self.settings.solutions[name]
        return {model: self.grades(model, item.dataset) for model in item.models}

    def solution_file(self, name: str) -> Path:
        """The publishers' file of solutions."""
        return PUBLISHED / self.settings.solutions[name].source.path

    def facts(self, run: str, seed: int) -> dict[str, Any]:
        """What training recorded of a checkpoint, its `run.json`."""
        path = Path(self.layout.run_file(seed_folder(run, seed)))
        if not path.exists():
            raise PqmError(f"{path}: missing; run {run!r}, seed {seed} was not trained or failed")
        return dict(json.loads(path.read_text()))

    def made(self, kind: str, name: str, file_format: str) -> Path:
        """The file of a table or figure.

        Raises:
            PqmError: it was not made yet.
        """
        path = Path(self.layout.table(name, file_format) if kind == "tables" else self.layout.figure(name, file_format))
        if not path.exists():
            raise PqmError(f"{path}: missing; make {kind.removesuffix('s')} {name} first")
        return path

    def table(self, name: str) -> pd.DataFrame:
        """A table that was made before."""
        return pd.read_csv(self.made("tables", name, "csv"))


def _first_error(labels: Sequence[float]) -> int:
    """The first step with the hard label 0, as in grades."""
    return next((step for step, label in enumerate(labels) if label == 0), NO_ERROR)


@cache
def _distinct(results: Results, dataset: str) -> pd.DataFrame:
    """The distinct solutions with steps and grades; cached because they are the same for every scorer."""
    keys = ["question_id", "sample_id"]
    pooled = pd.concat(
        [
            results.grades(policy, dataset)
            .merge(results.rollouts(policy, dataset)[[*keys, "steps"]], on=keys)
            .assign(policy=policy)
            for policy in results.evaluation.policies
        ],
        ignore_index=True,
    )
    pooled["steps"] = pooled["steps"].map(tuple)
    return pooled[pooled["steps"].map(len) > 0].drop_duplicates(["question_id", "steps"]).reset_index(drop=True)
