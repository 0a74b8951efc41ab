"""Arguments and options of several verbs."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.study.layout import work_folder

StudyFile = Annotated[Path, typer.Argument(help="File of the study, such as config/demo/study.yaml.", metavar="STUDY")]
StudyOption = Annotated[Path, typer.Option("--study", help="File of the study, such as config/demo/study.yaml.")]
Item = Annotated[str, typer.Argument(help="Name of the item in the study.")]
Output = Annotated[Path, typer.Option(help="Output file or folder, written atomically.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of the shard cache, from which an interrupted job resumes. Default: .work/STUDY.")
]
Server = Annotated[Path | None, typer.Option(help="File written by `pqm policies serve`, for a policy with a server command.")]
Pretraining = Annotated[Path | None, typer.Option(help="Finished pretraining, if the settings pick one of its snapshots.")]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder of the study's questions, rollouts and labels. Default: data/STUDY.")
]
ResultsFolder = Annotated[Path | None, typer.Option(help="Folder of the study's results. Default: results/STUDY.")]
Published = Annotated[Path, typer.Option(help="Folder at which relative paths of published files start.")]


def cache_folder(given: Path | None, study: Path) -> Path:
    """The root of the shard cache: the given folder, or that of the study."""
    from pqm.study.reading import study_name

    return given or work_folder(study_name(study))


def by_name(paths: list[Path]) -> dict[str, Path]:
    """Tables by their file names."""
    return {path.stem: path for path in paths}
