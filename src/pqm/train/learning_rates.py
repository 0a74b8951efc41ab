"""Choosing a run's learning rate on validation labels, before its models are trained."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError
from pqm.hashes import question_hash
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.study.runs import RunConfig
from pqm.study.settings import Precision
from pqm.study.training import TRIED_SHARE, TrainingConfig
from pqm.train.trainer import Trainer, TrainingFiles, accelerator_of


def choose_learning_rate(
    run: RunConfig, training: TrainingConfig, files: TrainingFiles, cache: ShardCache, precision: Precision = "fp32"
) -> dict[str, Any]:
    """Train a model with each of `training.learning_rates`, with the first seed, on a quarter of the questions.

    Args:
        cache: the cache for the results of finished rates and for the state of the training.

    Returns:
        `learning_rate`, the rate with the highest `solution_auc` on the validation labels, or the lowest of several such rates;
        and `tried`, each rate with its validation metrics.

    Raises:
        PqmError: the settings have no rates to try, or no rate gives a `solution_auc`.
    """
    if training.learning_rates is None:
        raise PqmError("training.learning_rates is missing; this command chooses one of them")
    accelerator = accelerator_of(training, precision)
    accelerator.wait_for_everyone()  # the first process has the lock, so all of them find the same results
    results = {rate: cache.path / f"{rate:g}.json" for rate in training.learning_rates}
    found = {rate: json.loads(path.read_text()) for rate, path in results.items() if path.exists()}
    labels = cache.path / "labels.parquet"
    formats.write(first_questions(formats.read(files.labels, formats.LABELS)), formats.LABELS, labels)
    part = TrainingFiles(labels, files.validation, files.backbone)
    for rate in [rate for rate in results if rate not in found]:
        found[rate] = {"learning_rate": rate} | _validated(run, rate, training, part, cache, precision)
        if accelerator.is_main_process:
            with formats.whole_file(results[rate]) as unfinished:
                unfinished.write_text(json.dumps(found[rate]))
    accelerator.wait_for_everyone()
    tried = [found[rate] for rate in results]
    ranked = [one for one in tried if not math.isnan(one["solution_auc"])]
    if not ranked:
        raise PqmError(
            f"{files.validation}: no question has a right and a wrong solution; expected some, to choose a learning rate"
        )
    best = max(ranked, key=lambda one: (one["solution_auc"], -one["learning_rate"]))
    return {"learning_rate": best["learning_rate"], "tried": tried}


def first_questions(labels: pd.DataFrame) -> pd.DataFrame:
    """The solutions of a quarter of the questions, chosen by the hashes of their texts."""
    questions = sorted(labels["prompt"].unique(), key=question_hash)
    chosen = questions[: math.ceil(len(questions) * TRIED_SHARE)]
    part = labels[labels["prompt"].isin(chosen)].reset_index(drop=True)
    part.attrs = labels.attrs
    return part


def _validated(
    run: RunConfig, rate: float, training: TrainingConfig, files: TrainingFiles, cache: ShardCache, precision: Precision
) -> dict[str, float]:
    """The validation metrics at the end of a training."""
    state = ShardCache(cache.path, "state", Path(f"rate-{rate:g}"), [], [])
    trainer = Trainer(run.model_copy(update={"learning_rate": rate}), training, training.seeds[0], files, state, precision)
    metrics = trainer.train(cache.path / f"model-{rate:g}")
    trainer.accelerator.free_memory()
    state.finish()
    return {name: metrics[name] for name in ("step_auc", "solution_auc")}
