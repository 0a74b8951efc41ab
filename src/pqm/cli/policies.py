"""Verbs of `pqm policies`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import Cache, Item, Output, Pretraining, StudyFile, by_name, cache_folder

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train or choose policies and backbones.")


@app.command()
def pretrain(
    study: StudyFile,
    item: Item,
    output: Output,
    questions: Annotated[list[Path], typer.Option(help="Question tables: the excluded ones and the validation set.")],
    start: Annotated[Path | None, typer.Option(help="Pretraining to continue from its last snapshot.")] = None,
    cache: Cache = None,
) -> None:
    """Train a model from scratch, or continue another pretraining.

    Its snapshots are written.
    """
    from pqm.io.shard_cache import ShardCache
    from pqm.policies.pretraining import Pretrainer
    from pqm.study.pretraining import PretrainingConfig
    from pqm.study.reading import load_item, load_precision

    settings, precision = load_item(study, "pretraining", item, PretrainingConfig), load_precision(study)
    inputs = [*questions, *([start] if start else [])]
    shards = ShardCache(cache_folder(cache, study), "policies", output, [settings, precision], inputs)
    Pretrainer(settings, start, by_name(questions), shards, precision).pretrain(output)
    shards.finish()


@app.command()
def policy(study: StudyFile, item: Item, output: Output, pretraining: Pretraining = None) -> None:
    """Write a policy.

    It is a snapshot of a pretraining, a pretrained model, or a server.
    """
    from pqm.policies.models import write_policy
    from pqm.study.models import PolicyConfig
    from pqm.study.reading import load_item

    write_policy(load_item(study, "policies", item, PolicyConfig), pretraining, output)


@app.command()
def serve(
    policy: Annotated[Path, typer.Argument(help="Folder of a served policy.")],
    output: Annotated[Path, typer.Option(help="File for the server's address, for the option --server of other verbs.")],
    end_with_parent: Annotated[bool, typer.Option("--end-with-parent", help="End when the parent process ends (Linux).")] = False,
) -> None:
    """Start the server of a policy, and run until it ends."""
    from pqm.models.server import serve as become

    become(policy, output, end_with_parent)


@app.command()
def backbone(study: StudyFile, item: Item, output: Output, pretraining: Pretraining = None) -> None:
    """Write a backbone.

    It is a snapshot of a pretraining, or a pretrained model.
    """
    from pqm.policies.models import write_backbone
    from pqm.study.models import BackboneConfig
    from pqm.study.reading import load_item

    write_backbone(load_item(study, "backbones", item, BackboneConfig), pretraining, output)
