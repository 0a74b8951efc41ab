"""Verb `labels`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import Cache, Item, Output, Published, Server, StudyFile, cache_folder
from pqm.errors import PqmError
from pqm.io.published_files import PUBLISHED


def labels(
    study: StudyFile,
    item: Item,
    output: Output,
    completer: Annotated[Path | None, typer.Option(help="Folder of the policy that completes prefixes.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Question table.")] = None,
    rollouts: Annotated[list[Path], typer.Option(help="Rollout tables, one per policy, in their order.")] = [],  # noqa: B006
    server: Server = None,
    published: Published = PUBLISHED,
    cache: Cache = None,
) -> None:
    """Label every step by Monte Carlo, or read published labels.

    Published labels need no other inputs.
    """
    from pqm.io import formats
    from pqm.io.shard_cache import ShardCache
    from pqm.study.labels import LabelsConfig, PublishedLabelsConfig
    from pqm.study.reading import load_item, load_precision
    from pqm.study.settings import Settings

    settings = load_item(study, "labels", item, Settings)
    if isinstance(settings, PublishedLabelsConfig):
        from pqm.labels.published import published_labels

        formats.write(published_labels(settings, published), formats.LABELS, output)
        return
    from pqm.labels.monte_carlo import LabelSources, MonteCarloLabeller

    assert isinstance(settings, LabelsConfig)
    if completer is None or questions is None:
        raise PqmError(f"{study}: labels.{item}: Monte Carlo labels need --completer and --questions")
    if len(rollouts) != len(settings.policies):
        raise PqmError(
            f"{study}: labels.{item}: {len(settings.policies)} policies, but {len(rollouts)} --rollouts; expected one per policy"
        )
    precision = load_precision(study)
    shards = ShardCache(cache_folder(cache, study), "labels", output, [settings, precision], [completer, questions, *rollouts])
    sources = LabelSources(completer, questions, dict(zip(settings.policies, rollouts)), server, precision)
    formats.write(MonteCarloLabeller(settings, sources).label(shards), formats.LABELS, output)
    shards.finish()
