"""Verbs `train` and `learning-rate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pqm.cli.options import Cache, Item, Output, StudyFile, cache_folder
from pqm.errors import PqmError

if TYPE_CHECKING:
    from pqm.study.runs import RunConfig

Labels = Annotated[Path, typer.Option(help="Label table to train on.")]
Validation = Annotated[Path, typer.Option(help="Label table to validate on.")]
Backbone = Annotated[Path, typer.Option(help="`transformers` folder to start from.")]


def train(
    study: StudyFile,
    item: Item,
    output: Output,
    seed: Annotated[int, typer.Option(help="Seed of the head and of the order of the batches.", min=0)],
    labels: Labels,
    validation: Validation,
    backbone: Backbone,
    learning_rate: Annotated[Path | None, typer.Option(help="File of `pqm learning-rate`, if the settings list several.")] = None,
    cache: Cache = None,
) -> None:
    """Train one reward model."""
    from pqm.io.shard_cache import ShardCache
    from pqm.losses.common.loss import source_of
    from pqm.study.reading import load_item, load_precision, load_section
    from pqm.study.runs import RunConfig
    from pqm.study.training import TrainingConfig
    from pqm.train.trainer import Trainer, TrainingFiles

    run, training = load_item(study, "runs", item, RunConfig), load_section(study, "training", TrainingConfig)
    _expect_loss(study, item, run)
    if run.learning_rate is None and training.learning_rates is not None:
        if learning_rate is None:
            raise PqmError(f"{study}: training lists learning_rates; pass the chosen one with --learning-rate")
        run = run.model_copy(update={"learning_rate": json.loads(learning_rate.read_text())["learning_rate"]})
    files, code, precision = TrainingFiles(labels, validation, backbone), source_of(run.loss), load_precision(study)
    shards = ShardCache(
        cache_folder(cache, study), "train", output, [run, training, str(seed), code, precision], [labels, validation, backbone]
    )
    Trainer(run, training, seed, files, shards, precision).train(output)
    shards.finish()


def learning_rate(
    study: StudyFile,
    item: Item,
    output: Output,
    labels: Labels,
    validation: Validation,
    backbone: Backbone,
    cache: Cache = None,
) -> None:
    """Choose the learning rate of a run on validation labels.

    A model is trained with each of `training.learning_rates`, on a quarter of the questions.
    """
    from pqm.io import formats
    from pqm.io.shard_cache import ShardCache
    from pqm.losses.common.loss import source_of
    from pqm.study.reading import load_item, load_precision, load_section
    from pqm.study.runs import RunConfig
    from pqm.study.training import TrainingConfig
    from pqm.train.learning_rates import choose_learning_rate
    from pqm.train.trainer import TrainingFiles

    run, training = load_item(study, "runs", item, RunConfig), load_section(study, "training", TrainingConfig)
    _expect_loss(study, item, run)
    files, code, precision = TrainingFiles(labels, validation, backbone), source_of(run.loss), load_precision(study)
    shards = ShardCache(
        cache_folder(cache, study), "train", output, [run, training, code, precision], [labels, validation, backbone]
    )
    chosen = choose_learning_rate(run, training, files, shards, precision)
    with formats.whole_file(output) as part:
        part.write_text(json.dumps(chosen, indent=2) + "\n")
    shards.finish()


def _expect_loss(study: Path, item: str, run: "RunConfig") -> None:
    """Check that a run's loss exists and accepts its settings.

    Raises:
        PqmError: it does not; the message names the run.
    """
    from pqm.losses.common.loss import loss_of

    try:
        loss_of(run)
    except PqmError as error:
        raise PqmError(f"{study}: runs.{item}: {error}") from None
