"""Verb `train`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import Cache, Item, Output, StudyFile, cache_folder
from pqm.errors import PqmError


def train(
    study: StudyFile,
    item: Item,
    output: Output,
    seed: Annotated[int, typer.Option(help="Seed of the head and of the order of the batches.", min=0)],
    labels: Annotated[Path, typer.Option(help="Label table to train on.")],
    validation: Annotated[Path, typer.Option(help="Label table to validate on.")],
    backbone: Annotated[Path, typer.Option(help="`transformers` folder to start from.")],
    cache: Cache = None,
) -> None:
    """Train one reward model."""
    from pqm.io.shard_cache import ShardCache
    from pqm.losses.common.loss import loss_of, source_of
    from pqm.study.reading import load_item, load_precision, load_section
    from pqm.study.runs import RunConfig
    from pqm.study.training import TrainingConfig
    from pqm.train.trainer import Trainer, TrainingFiles

    run = load_item(study, "runs", item, RunConfig)
    training = load_section(study, "training", TrainingConfig)
    try:
        loss_of(run)
    except PqmError as error:
        raise PqmError(f"{study}: runs.{item}: {error}") from None
    files, code, precision = TrainingFiles(labels, validation, backbone), source_of(run.loss), load_precision(study)
    shards = ShardCache(
        cache_folder(cache, study), "train", output, [run, training, str(seed), code, precision], [labels, validation, backbone]
    )
    Trainer(run, training, seed, files, shards, precision).train(output)
    shards.finish()
