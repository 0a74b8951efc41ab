"""The work of each stage at any size, on word problems with simulated solutions; the model is the demo's policy if it is built.

    python benchmarks/stages.py STAGE SIZE THREADS

prints the mean CPU seconds and wall-clock seconds of a run, without the time to import and to prepare it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import inputs
import numpy as np
import pandas as pd
import torch

from pqm.estimation.judge import Questions, aggregated, judge
from pqm.estimation.statistics import accuracies, clusters_by_benchmark, compare, holm, summarise
from pqm.evaluate.grades import grade
from pqm.evaluate.scores import Scorer, score
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.labels.monte_carlo import LabelSources, MonteCarloLabeller
from pqm.policies.pretraining import Pretrainer
from pqm.problems.word_problems import step_truth
from pqm.rollouts.sample import make_rollouts
from pqm.study.labels import LabelsConfig
from pqm.study.pretraining import PretrainingConfig
from pqm.study.reading import load_study
from pqm.study.rollouts import RolloutsConfig
from pqm.study.runs import RunConfig
from pqm.train.trainer import Trainer, TrainingFiles

Run = Callable[[], object]
SIZES = (8, 32, 64)  # of best-of-n
LEAST_SECONDS = 3.0


class Stages:
    """Prepares the inputs of each stage in a folder.

    Args:
        threads: of the stages that use torch.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.folder, self.threads = folder, threads
        self.study = load_study(inputs.ROOT / "config/demo/study.yaml")
        self.model, self.model_name = inputs.demo_policy(folder / "model")

    def _tables(self, count: int, samples: int) -> tuple[Path, Path]:
        """Files of `count` questions and of their simulated solutions."""
        questions, rollouts = (self.folder / f"{name}-{count}-{samples}.parquet" for name in ("questions", "rollouts"))
        table = inputs.questions(count)
        formats.write(table, formats.QUESTIONS, questions)
        formats.write(inputs.rollouts(table, samples), formats.ROLLOUTS, rollouts)
        return questions, rollouts

    def _cache(self, root: str, name: str) -> ShardCache:
        return ShardCache(Path(root), name, self.folder / name, [], [])

    def questions(self, size: int) -> Run:
        """10,000 questions per unit of size."""
        return partial(inputs.questions, 10_000 * size)

    def policies(self, size: int) -> Run:
        """12 steps of pretraining per unit of size, and one validation."""
        questions, _ = self._tables(4, 1)
        demo = self.study.pretraining["language-model"]
        phase = demo.phases[0].model_copy(update={"steps": 12 * size, "curriculum": (), "snapshots_from": 0})
        config = demo.model_copy(
            update={"phases": (phase,), "snapshot_every": 10**6, "excluded": ("made",), "validation": "made"}
            | {"threads": self.threads, "max_new_tokens": 8}
        )

        def run() -> None:
            with tempfile.TemporaryDirectory() as root:
                self._pretrain(config, {"made": questions}, root)

        return run

    def _pretrain(self, config: PretrainingConfig, questions: dict[str, Path], root: str) -> None:
        Pretrainer(config, None, questions, self._cache(root, "policies")).pretrain(Path(root, "pretraining"))

    def rollouts(self, size: int) -> Run:
        """64 samples of up to 48 tokens, of 4 questions per unit of size."""
        questions, _ = self._tables(4 * size, 1)
        config = RolloutsConfig(
            samples=64, temperature=0.7, max_new_tokens=48, questions_per_batch=4, seed=0, threads=self.threads
        )

        def run() -> None:
            with tempfile.TemporaryDirectory() as root:
                make_rollouts(config, self.model, questions, self._cache(root, "rollouts"))

        return run

    def labels(self, size: int) -> Run:
        """4 completions of up to 24 tokens per prefix of 6 solutions, of 6 questions per unit of size."""
        questions, rollouts = self._tables(6 * size, 6)
        config = LabelsConfig(
            dataset="made", policies=("simulated",), completer="model", completions=4, temperature=1.0, max_new_tokens=24,
            questions_per_batch=10, seed=0, threads=self.threads,
        )  # fmt: skip
        sources = LabelSources(self.model, questions, {"simulated": rollouts})

        def run() -> None:
            with tempfile.TemporaryDirectory() as root:
                MonteCarloLabeller(config, sources).label(self._cache(root, "labels"))

        return run

    def train(self, size: int) -> Run:
        """One epoch on the distinct ones of 160 solutions per unit of size, and a validation on those of 40."""
        training, held_out = self._labels(20 * size), self._labels(5)
        config = self.study.training.model_copy(update={"checkpoint_every": 10**6, "threads": self.threads})
        run_config = RunConfig(loss="pqm", loss_settings={"zeta": 4.0}, labels="made", backbone="model")
        files = TrainingFiles(training, held_out, self.model)

        def run() -> None:
            with tempfile.TemporaryDirectory() as root:
                Trainer(run_config, config, 0, files, self._cache(root, "train")).train(Path(root, "checkpoint"))

        return run

    def _labels(self, count: int) -> Path:
        """Labels of eight solutions of each of `count` questions, which are the truth."""
        questions, rollouts = (pd.read_parquet(path) for path in self._tables(count, 8))
        texts, path = questions.set_index("question_id")["question"], self.folder / f"labels-{count}.parquet"
        table = pd.DataFrame({"question_id": rollouts["question_id"], "completions": rollouts["steps"].map(tuple)})
        table["prompt"] = table["question_id"].map(texts)
        table = table.drop_duplicates(["prompt", "completions"], ignore_index=True)
        truth = [step_truth(prompt, steps) for prompt, steps in zip(table["prompt"], table["completions"])]
        table["labels"] = table["soft_labels"] = [list(map(float, one)) for one in truth]
        table["hits"] = [list(map(int, one)) for one in truth]
        table["counts"] = [[1] * len(one) for one in truth]
        table = table.assign(policy="simulated", answer=None, correct=[one[-1] for one in truth], method="truth")
        formats.write(inputs.FORMAT.mark(table.assign(completion_tokens=0)), formats.LABELS, path)
        return path

    def grades(self, size: int) -> Run:
        """4,000 samples per unit of size."""
        return partial(grade, *self._tables(125 * size, 32))

    def scores(self, size: int) -> Run:
        """640 samples per unit of size."""
        questions, rollouts = self._tables(20 * size, 32)
        checkpoint = inputs.checkpoint(self.model, self.folder / "reward")

        def run() -> None:
            with tempfile.TemporaryDirectory() as root:
                score(Scorer([checkpoint], "reward", 2048), questions, [rollouts], self._cache(root, "evaluate"))

        return run

    def metrics(self, size: int) -> Run:
        """Best-of-n and votes of 64 samples, of 400 questions per unit of size."""
        random, count = np.random.default_rng(0), 400 * size
        correct = random.random(64 * count) < 0.5
        joined = pd.DataFrame(
            {
                "question_id": np.repeat([f"question-{number:05d}" for number in range(count)], 64),
                "answer": np.where(correct, "right", np.char.add("wrong ", random.integers(9, size=64 * count).astype(str))),
                "correct": correct,
                "step_scores": list(random.normal(size=(64 * count, 4))),
            }
        )
        joined["cluster"] = joined["question_id"]

        def run() -> None:
            scores = aggregated(list(joined["step_scores"]), ["min"])[None]
            judge(Questions.of(joined, SIZES), scores, ["min"], SIZES, 200, 0)

        return run

    def paper(self, size: int) -> Run:
        """Intervals of 8 methods and their paired tests, of 10,000 questions per unit of size."""
        random, count = np.random.default_rng(0), 10_000 * size
        names = [f"question-{number:05d}" for number in range(count)]
        parts = [
            pd.DataFrame({"question_id": names, "cluster": names, "method": f"method {method}", "accuracy": random.random(count)})
            for method in range(8)
        ]
        metrics = pd.concat(parts).assign(policy="policy", benchmark="made", backbone="model", aggregation="min", n=64, seed=0)
        return partial(self._intervals_and_tests, metrics)

    @staticmethod
    def _intervals_and_tests(metrics: pd.DataFrame) -> None:
        clusters = clusters_by_benchmark(metrics)["made"]
        values = [accuracies(part, clusters) for _, part in metrics.groupby("method")]
        summarise(metrics, 0.95)
        holm([compare(clusters, ours, other, 0.95).p for ours, other in combinations(values, 2)])


TORCH = ("policies", "rollouts", "labels", "train", "scores")  # stages that use several threads
NAMES = ("questions", "policies", "rollouts", "labels", "train", "grades", "scores", "metrics", "paper")


def main(stage: str, size: int, threads: int) -> None:
    """Run a stage once to warm up, and then for at least `LEAST_SECONDS`."""
    with tempfile.TemporaryDirectory() as folder:
        run = getattr(Stages(Path(folder), threads), stage)(size)
        run()
        cpu, wall, runs = time.process_time(), time.perf_counter(), 0
        while time.perf_counter() - wall < LEAST_SECONDS:
            run()
            runs += 1
        print(json.dumps({"cpu": (time.process_time() - cpu) / runs, "wall": (time.perf_counter() - wall) / runs}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
