"""File dates from records, so that Snakemake finds out-of-date outputs by their content.

Before it plans, Snakemake asks a cache for the modification time of every file. `ContentDates` replaces this cache. Outputs
with a valid record get a later date than all sources, and all other outputs an earlier one. The dates of the files themselves do
not change, so copied or checked-out files are judged by their content, and DVC's cache of file states stays valid.
"""

import json
import shlex
from collections.abc import Iterable
from typing import Any, ClassVar

import snakemake.io
from snakemake.jobs import Job
from snakemake.utils import format as fill_in

from pqm.provenance.digests import Digests
from pqm.provenance.records import lasting, read_record, settings_digest

OUT_OF_DATE, SOURCE, UP_TO_DATE = 1.0, 2.0, 3.0  # seconds since 1970; not 0, because Snakemake treats 0 as no date


class ContentDates(snakemake.io.IOCache):
    """Snakemake's cache of file dates, filled from records."""

    study: ClassVar[dict[str, Any]] = {}

    @classmethod
    def install(cls, frozen: str) -> None:
        """Replace Snakemake's cache, for a workflow with the study `frozen` (JSON)."""
        cls.study = json.loads(frozen)
        snakemake.io.IOCache = cls

    async def mtime_inventory(self, jobs: Iterable[Job], n_workers: int = 8) -> None:
        """Collect the dates of all files of the jobs, and replace them by dates from records."""
        jobs = list(jobs)
        await super().mtime_inventory(jobs, n_workers)
        digests = Digests()
        made: dict[str, float] = {}
        for job in jobs:
            if job.output.get("record"):
                date = UP_TO_DATE if self._is_valid(job, digests) else OUT_OF_DATE
                made |= {str(path): date for path in (*job.output, *([job.benchmark] if job.benchmark else []))}
        if jobs and not jobs[0].rule.workflow.dryrun:
            digests.save()
        for path in self.mtime:
            self.mtime[path] = snakemake.io.Mtime(local=made.get(str(path), SOURCE))

    def _is_valid(self, job: Job, digests: Digests) -> bool:
        """Whether the record of a job is valid: command, settings, inputs and outputs are unchanged."""
        record = read_record(job.output.record)
        return (
            record is not None
            and record.command == command_of(job)
            and record.settings == {name: settings_digest(self.study, name) for name in job.params.settings}
            and record.inputs == {path: digests.of(path) for path in lasting(map(str, job.input))}
            and set(record.outputs) == {str(path) for path in job.output} - {str(job.output.record)}
            and all(was is not None and digests.of(path) == was for path, was in record.outputs.items())
        )


def command_of(job: Job) -> list[str]:
    """The command in a job's record: the part of its shell command after ` -- `, without the redirection to the log."""
    template = job.rule.shellcmd.partition(" -- ")[2].partition(" > ")[0]
    filled = fill_in(template, input=job.input, output=job.output, params=job.params, wildcards=job.wildcards)
    return shlex.split(filled)
