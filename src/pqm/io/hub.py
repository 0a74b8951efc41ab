"""Data from the model hub, by name and pinned commit. Every failure raises a message of one sentence.

Repositories are downloaded completely into the hub's cache, so that later runs, and machines without a network, read the files
of exactly this commit. `datasets` opens them from there, because its own cache ignores the commit when it is offline.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pqm.errors import PqmError

# Exceptions of the hub's library. `HTTPError` comes from its HTTP client, when a connection fails.
HUB_ERRORS = (OSError, EntryNotFoundError, HFValidationError, HTTPError)


@dataclass(frozen=True)
class HubItem:
    """A repository at a commit, or one of its files."""

    repo: str
    revision: str
    kind: Literal["dataset", "model"] = "dataset"
    file: str | None = None

    def __str__(self) -> str:
        return f"hub {self.kind} {self.repo}" + (f", file {self.file}" if self.file else "")

    @property
    def command(self) -> str:
        """The command that downloads it into the hub's cache."""
        file = f" {self.file}" if self.file else ""
        return f"hf download {self.repo}{file} --repo-type {self.kind} --revision {self.revision}"


def hub_dataset(dataset: str, revision: str, split: str, name: str | None = None) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of a split of a data set.

    Args:
        revision: a commit.
        name: the configuration of the data set, if it has several.

    Raises:
        PqmError: see `explain_hub_error`; or the data set has no such split or configuration, or a file cannot be parsed.
    """
    what = HubItem(dataset, revision)
    try:
        folder = snapshot_download(dataset, repo_type="dataset", revision=revision)
    except HUB_ERRORS as error:
        raise explain_hub_error(error, what) from None
    from datasets import load_dataset  # takes a second to import
    from datasets.utils.logging import set_verbosity

    set_verbosity(60)  # it also raises the errors that it logs
    try:
        yield from load_dataset(folder, name, split=split, streaming=True)
    except (ValueError, OSError) as error:
        raise PqmError(f"{what}, split {split}: cannot be read ({_first_line(error)})") from None


def hub_file(dataset: str, revision: str, file: str) -> Path:
    """Download one file of a data set's repository.

    Raises:
        PqmError: see `explain_hub_error`.
    """
    try:
        return Path(hf_hub_download(dataset, file, repo_type="dataset", revision=revision))
    except HUB_ERRORS as error:
        raise explain_hub_error(error, HubItem(dataset, revision, file=file)) from None


def explain_hub_error(error: Exception, what: HubItem) -> PqmError:
    """Convert an exception of `huggingface_hub` to one sentence that explains what to do."""
    if isinstance(error, GatedRepoError):
        return PqmError(
            f"{what}: gated; accept the terms on its page, then log in with `hf auth login` (or set HF_TOKEN) and try again"
        )
    if isinstance(error, RepositoryNotFoundError):
        return PqmError(
            f"{what}: the hub has no such {what.kind}, or it is private; check the name, or log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return PqmError(f"{what}: revision {what.revision} does not exist; expected a commit of the repository")
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled) or not isinstance(
        error, HfHubHTTPError | EntryNotFoundError | HFValidationError
    ):
        return PqmError(
            f"{what}: not in the hub's cache, and the hub cannot be reached ({_first_line(error.__cause__ or error)}); run"
            f" `{what.command}` on a machine with a network and copy its cache to {constants.HF_HUB_CACHE}, or use a local copy"
        )
    return PqmError(f"{what}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
