"""Sources of published data: a local file, the model hub, or an installed package."""

import re
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from pqm.study.settings import Settings


def _commit(revision: str) -> str:
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError("expected a commit, 40 hexadecimal digits, because branches and tags can move")
    return revision


Commit = Annotated[str, AfterValidator(_commit)]


Format = TypeVar("Format")


class FileSource(Settings, Generic[Format]):
    """A local file in its publisher's format."""

    kind: Literal["file"]
    format: Format
    path: str = Field(description="Path of the file; a relative path starts at `data/published`.")


class HubSource(Settings, Generic[Format]):
    """A data set of the hub, pinned to a commit: one of its splits, or one file of its repository."""

    kind: Literal["hub"]
    format: Format
    dataset: str = Field(description="Repository of the data set.")
    revision: Commit = Field(description="Commit of the repository, 40 hexadecimal digits.")
    name: str | None = Field(None, description="Configuration of the data set, if it has several.")
    split: str | None = Field(None, description="Split to read; set either `split` or `file`.")
    file: str | None = Field(None, description="File of the repository to read.")

    @model_validator(mode="after")
    def _split_or_file(self) -> Self:
        if (self.split is None) == (self.file is None):
            raise ValueError("give either split or file, not both")
        if self.file is not None and self.name is not None:
            raise ValueError("name chooses a configuration for a split; remove it if you give file")
        return self


class PackageSource(Settings, Generic[Format]):
    """A file inside an installed package. The package is not imported."""

    kind: Literal["package"]
    format: Format
    package: str
    file: str = Field(description="Path of the file inside the package.")
