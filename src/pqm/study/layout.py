"""The paths of a study's files. Each path is defined here once."""

from dataclasses import dataclass
from pathlib import Path

# Folders of `data/<study>`; all others are in `results/<study>`.
IN_DATA = ("questions", "pretraining", "policies", "backbones", "rollouts", "annotated", "labels")
REFERENCES = "references"  # folder for scores and metrics without a run, next to the folders of the runs
ANNOTATED = "annotated"  # folder for scores of annotated solutions, next to the folders of the policies
SNAPSHOTS = "snapshots.csv"  # the table of snapshots, inside the folder of a pretraining
RUN_FILE = "run.json"  # the settings and facts of a training, inside the folder of a checkpoint
REPORTED = "config/reported.csv"  # published numbers, which users fill in
WORK = Path(".work")  # temporary files of builds
RECORD_ENDING = ".record.json"


@dataclass(frozen=True)
class Layout:
    """The paths of a study, inside its folders `data` and `results`.

    Arguments may be wildcards such as `{policy}`, which Snakemake fills in.
    """

    data: str
    results: str

    def folder(self, content: str) -> str:
        """The folder of a kind of content, such as `rollouts` or `checkpoints`."""
        return f"{self.data if content in IN_DATA else self.results}/{content}"

    @classmethod
    def of(cls, study: str) -> "Layout":
        """The layout of a study in the working directory."""
        return cls(f"data/{study}", f"results/{study}")

    @classmethod
    def of_file(cls, file: Path, data: Path | None = None, results: Path | None = None) -> "Layout":
        """The layout of the study in a file, in `data/<study>` and `results/<study>` unless other folders are given."""
        usual = cls.of(file.resolve().parent.name)
        return cls(str(data or usual.data), str(results or usual.results))

    @property
    def rebuilds(self) -> str:
        """The folder with the tables of rebuilds, which have a folder each."""
        return f"{self.results}/rebuilds"

    def questions(self, dataset: str) -> str:
        return f"{self.folder('questions')}/{dataset}.parquet"

    def pretraining(self, pretraining: str) -> str:
        return f"{self.folder('pretraining')}/{pretraining}"

    def snapshots(self, pretraining: str) -> str:
        return f"{self.pretraining(pretraining)}/{SNAPSHOTS}"

    def policy(self, policy: str) -> str:
        return f"{self.folder('policies')}/{policy}"

    def backbone(self, backbone: str) -> str:
        return f"{self.folder('backbones')}/{backbone}"

    def rollouts(self, policy: str, dataset: str) -> str:
        return f"{self.folder('rollouts')}/{policy}/{dataset}.parquet"

    def annotated(self, dataset: str) -> str:
        """A folder with questions.parquet, rollouts.parquet and grades.parquet."""
        return f"{self.folder('annotated')}/{dataset}"

    def labels(self, labels: str) -> str:
        return f"{self.folder('labels')}/{labels}.parquet"

    def checkpoint(self, scorer: str) -> str:
        return f"{self.folder('checkpoints')}/{scorer}"

    def learning_rate(self, run: str) -> str:
        """The learning rate that was chosen for a run."""
        return f"{self.folder('checkpoints')}/{run}/learning-rate.json"

    def run_file(self, scorer: str) -> str:
        return f"{self.checkpoint(scorer)}/{RUN_FILE}"

    def grades(self, policy: str, dataset: str) -> str:
        return f"{self.folder('grades')}/{policy}/{dataset}.parquet"

    def scores(self, scorer: str, policy: str, dataset: str) -> str:
        """Step scores of a policy's rollouts.

        Args:
            scorer: a run and seed (see the function `scorer`), or a reference (see `reference_scorer`).
            policy: `annotated` for annotated solutions.
        """
        return f"{self.folder('scores')}/{scorer}/{policy}/{dataset}.parquet"

    def metrics(self, run: str) -> str:
        return f"{self.folder('metrics')}/{run}.parquet"

    def table(self, name: str, file_format: str) -> str:
        return f"{self.folder('tables')}/{name}.{file_format}"

    def figure(self, name: str, file_format: str) -> str:
        return f"{self.folder('figures')}/{name}.{file_format}"

    @property
    def headline(self) -> str:
        return f"{self.folder('tables')}/headline.json"

    @property
    def report(self) -> str:
        return f"{self.results}/report.html"

    @property
    def overview(self) -> str:
        return f"{self.results}/README.md"

    @property
    def benchmarks(self) -> str:
        return self.folder("benchmarks")


def scorer(run: str, seed: int | str) -> str:
    """The folder of one training seed of a run, inside checkpoints and scores."""
    return f"{run}/seed-{seed}"


def reference_scorer(kind: str) -> str:
    """The folder of a reference, such as `likelihood`, inside scores."""
    return f"{REFERENCES}/{kind}"


def record(path: str) -> str:
    """The path of an output's record, which is next to the output."""
    return f"{path.removesuffix(Path(path).suffix)}{RECORD_ENDING}"


def work_folder(study: str) -> Path:
    """The folder for temporary files of a study's builds: its frozen study, its shard cache, and outputs moved aside."""
    return WORK / study
