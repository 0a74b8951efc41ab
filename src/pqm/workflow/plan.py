"""The outputs of a study's rules, and the files and settings that each result needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pqm.io.published_files import source_file
from pqm.paper.declared import declared
from pqm.study.labels import LabelsConfig
from pqm.study.layout import ANNOTATED, REFERENCES, REPORTED, Layout, reference_scorer, scorer
from pqm.study.results import ResultsConfig
from pqm.study.rollouts import SolutionsConfig
from pqm.study.study import StudyConfig

Cell = tuple[str, str]  # a policy and a data set


@dataclass(frozen=True)
class Plan:
    """A study and the layout of its files."""

    study: StudyConfig
    layout: Layout

    # ---------------------------------------------------------------- what is evaluated

    @cached_property
    def policies(self) -> tuple[str, ...]:
        """The policies that are evaluated."""
        return self.study.evaluation.policies if self.study.evaluation else ()

    @cached_property
    def benchmarks(self) -> tuple[str, ...]:
        """The data sets that results are computed on."""
        return self.study.evaluation.benchmarks if self.study.evaluation else ()

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """The data sets that every checkpoint scores: the benchmarks, validation and audit."""
        return self.study.evaluation.scored if self.study.evaluation else ()

    def cells(self, datasets: Iterable[str], run: str | None = None) -> list[Cell]:
        """The pairs of each evaluated policy, or each policy of a run, with each data set."""
        datasets = list(datasets)
        policies = (self.study.runs[run].policies if run else None) or self.policies
        return [(policy, dataset) for policy in policies for dataset in datasets]

    @cached_property
    def published_cells(self) -> list[Cell]:
        """The pairs of model and data set of published solutions."""
        return [(model, item.dataset) for item in self.study.solutions.values() for model in item.models]

    @cached_property
    def sampled_cells(self) -> list[Cell]:
        """The pairs of each evaluated policy with each data set of the section `rollouts`."""
        return self.cells(self.study.rollouts)

    def seeds(self, run: str) -> tuple[int, ...]:
        """The training seeds of a run."""
        own = self.study.runs[run].seeds
        if own is not None:
            return own
        assert self.study.training is not None, "a study with runs has a training section"
        return self.study.training.seeds

    def scorers(self, run: str) -> list[str]:
        """The folder of each training seed of a run, inside checkpoints and scores."""
        return [scorer(run, seed) for seed in self.seeds(run)]

    def losses(self, runs: Iterable[str]) -> list[str]:
        """The losses of some runs, without duplicates."""
        return sorted({self.study.runs[run].loss for run in runs if run in self.study.runs})

    def rollouts(self, cells: Iterable[Cell]) -> list[str]:
        """The rollout tables of some cells."""
        return [self.layout.rollouts(*cell) for cell in cells]

    def grades(self, cells: Iterable[Cell]) -> list[str]:
        """The grade tables of some cells."""
        return [self.layout.grades(*cell) for cell in cells]

    def run_scores(self, run: str, datasets: Iterable[str]) -> list[str]:
        """The score tables of all seeds of a run, seed by seed."""
        cells = self.cells(datasets, run)
        return [self.layout.scores(one, *cell) for one in self.scorers(run) for cell in cells]

    def all_metrics(self) -> list[str]:
        """The metrics of every run and of the references."""
        return [self.layout.metrics(run) for run in [*self.study.runs, REFERENCES]] if self.study.evaluation else []

    # ---------------------------------------------------------------- inputs of single items

    def pretraining_questions(self, pretraining: str) -> list[str]:
        """The question tables that a pretraining reads: the excluded data sets and the validation set."""
        item = self.study.pretraining[pretraining]
        return [self.layout.questions(dataset) for dataset in dict.fromkeys([*item.excluded, item.validation])]

    def pretraining_start(self, pretraining: str) -> list[str]:
        """The pretraining or backbone that a pretraining starts from, if any."""
        start = self.study.pretraining[pretraining].start
        if start is None:
            return []
        return [self.layout.pretraining(start) if start in self.study.pretraining else self.layout.backbone(start)]

    def picked_pretraining(self, section: str, name: str) -> list[str]:
        """The pretraining of a policy or backbone that is a snapshot, if it is one."""
        pick = getattr(self.study, section)[name].pick
        return [self.layout.pretraining(pick.pretraining)] if pick else []

    def solutions_of(self, dataset: str) -> SolutionsConfig:
        """The published solutions of a data set."""
        return next(item for item in self.study.solutions.values() if item.dataset == dataset)

    def completer(self, labels: str) -> str | None:
        """The policy that completes prefixes for Monte Carlo labels; None for published labels."""
        item = self.study.labels[labels]
        return item.completer if isinstance(item, LabelsConfig) else None

    def learning_rate(self, run: str) -> list[str]:
        """The file with the chosen learning rate of a run; none if the settings contain it."""
        training = self.study.training
        chosen = training is not None and training.learning_rates is not None and self.study.runs[run].learning_rate is None
        return [self.layout.learning_rate(run)] if chosen else []

    def label_inputs(self, labels: str) -> dict[str, list[str]]:
        """The inputs of Monte Carlo labels, by option of `pqm labels`; solutions with known errors have one folder."""
        item = self.study.labels[labels]
        if not isinstance(item, LabelsConfig):
            return {}
        completer = [self.layout.policy(item.completer)]
        if item.dataset in self.study.annotated:
            return {"completer": completer, "annotated": [self.layout.annotated(item.dataset)]}
        return {
            "completer": completer,
            "questions": [self.layout.questions(item.dataset)],
            "rollouts": self.rollouts((policy, item.dataset) for policy in item.policies),
        }

    # ---------------------------------------------------------------- results

    @cached_property
    def results(self) -> ResultsConfig:
        """The section `results`, or an empty one."""
        return self.study.results or ResultsConfig()

    def runs_of(self, kind: str, name: str) -> tuple[str, ...]:
        """The runs of a table or figure."""
        runs: tuple[str, ...] = getattr(self.results, kind)[name]
        return runs

    def annotated_runs(self) -> list[str]:
        """The runs of results on annotated solutions. Only they score them; other backbones may have too few positions."""
        tables = self.results.tables.items()
        return list(dict.fromkeys(run for name, runs in tables if "annotated" in declared("tables", name).needs for run in runs))

    def files_of(self, kind: str, name: str) -> list[str]:
        """The inputs of a table or figure. Call it only for results to build, because published files may be missing."""
        needs = declared(kind, name).needs
        return list(dict.fromkeys(file for need in needs for file in self.needed(need, self.runs_of(kind, name))))

    def tables_behind(self, kind: str, name: str) -> list[str]:
        """The tables that a table or figure needs."""
        return [need.removeprefix("table ") for need in declared(kind, name).needs if need.startswith("table ")]

    def runs_behind(self, kind: str, name: str) -> list[str]:
        """The runs of a table or figure, and of the tables that it needs."""
        lists = [self.runs_of(kind, name), *(self.results.tables[table] for table in self.tables_behind(kind, name))]
        return list(dict.fromkeys(run for runs in lists for run in runs))

    def settings_of(self, kind: str, name: str) -> list[str]:
        """The parts of the study that a table or figure depends on: its runs, and the settings that all results share."""
        needs = declared(kind, name).needs
        if not needs:
            return [f"results.{kind}.{name}"]
        runs = ["runs"] if "everything" in needs else [f"runs.{run}" for run in self.runs_behind(kind, name)]
        evaluation = "evaluation,-batch_tokens,-threads" + ("" if "metrics" in needs else ",-n,-vote_subsets,-seed")
        return [
            f"results.{kind}.{name}",
            "results,-tables,-figures,-report",
            *(f"results.tables.{table}" for table in self.tables_behind(kind, name)),
            *runs,
            *([evaluation, "training.seeds"] if self.study.evaluation else []),
        ]

    def needed(self, need: str, runs: Iterable[str]) -> list[str]:
        """The files of one need of a result, see `pqm.paper.declared`."""
        layout, study = self.layout, self.study
        if need.startswith("table "):
            return [layout.table(need.removeprefix("table "), "csv")]
        if need == "metrics":
            return [layout.metrics(run) for run in [*runs, REFERENCES]]
        if need == "scores":
            return self._scores(runs)
        if need == "grades":
            return self.grades(self.cells(self.scored))
        if need == "checkpoints":
            return [layout.checkpoint(one) for run in study.runs for one in self.scorers(run)]
        if need == "annotated":
            return self._annotated(runs)
        if need == "everything":
            return [
                *self.rollouts(self.sampled_cells),
                *map(layout.labels, study.labels),
                *map(layout.pretraining, study.pretraining),
                *self.all_metrics(),
            ]
        if need == "solutions":
            return [
                *self.grades(self.published_cells),
                *(layout.questions(item.dataset) for item in study.solutions.values()),
                *(file for item in study.solutions.values() for file in source_file(item)),
            ]
        if need == "rebuilds":
            return sorted(map(str, Path(layout.rebuilds).glob("*/main.csv")))
        if need == "reported":
            return [REPORTED]
        if need == "validation":
            return []  # its scores are part of "scores"
        assert need in ("audit", "audit labels", "validation labels") and study.evaluation is not None, need
        labels = study.evaluation.validation if need == "validation labels" else study.evaluation.audit
        truth = [layout.annotated(labels)] if labels in study.annotated and need == "audit" else []
        return [layout.labels(labels), *truth] if labels else []

    def _scores(self, runs: Iterable[str]) -> list[str]:
        """Step scores of some runs and of the step classifier, with rollouts, questions and grades."""
        cells = self.cells(self.scored)
        files = [file for run in runs for file in self.run_scores(run, self.scored)]
        if self.study.evaluation and "step-classifier" in self.study.evaluation.references:
            files += [self.layout.scores(reference_scorer("step-classifier"), *cell) for cell in cells]
        return [*files, *self.rollouts(cells), *map(self.layout.questions, self.scored), *self.grades(cells)]

    def _annotated(self, runs: Iterable[str]) -> list[str]:
        """Annotated solutions, and their step scores by some runs."""
        datasets = self.study.evaluation.annotated if self.study.evaluation else ()
        scorers = [one for run in runs for one in self.scorers(run)]
        return [
            *map(self.layout.annotated, datasets),
            *(self.layout.scores(one, ANNOTATED, dataset) for dataset in datasets for one in scorers),
        ]
