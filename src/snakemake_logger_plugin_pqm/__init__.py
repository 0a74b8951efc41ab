"""The terminal output of a build: one line per finished job; for a failed job the end of its log and its command.

This is a logger plugin of Snakemake, which finds it by the name of the package; `logger: pqm` in a profile switches it on.
Without a build (a dry run, an error before the first job, nothing to do) the output is Snakemake's own, as is that of a build
with --printshellcmds, --verbose or --quiet. The complete log in .snakemake/log is always Snakemake's own.
"""

import logging
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter, get_event, is_quiet_about
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

WIDTH = 128
LOG_LINES = 20
LOG_BYTES = 64 * 1024  # most bytes that are read of a log, because progress bars write long lines
JOBS_BEFORE_ESTIMATE = 3
GROUP_JOBS = 3  # most jobs that are shown of a failed group
FIRST_WORDS = "Assuming unrestricted shared filesystem usage."
RESTARTED = re.compile(r"Trying to restart job (\d+)\.")
NO_OUTPUT = re.compile(r"Job (\d+) +completed successfully, but some output files are missing")
INTERRUPTED = "Terminating processes on user request"

# Snakemake's warnings about its own metadata, for example after a pull. They do not matter here, see docs/provenance.md.
METADATA = re.compile("missing provenance/metadata|outdated provenance/metadata")
# Routine messages without an event, which are hidden. All others are shown, and every warning.
ROUTINE = re.compile(
    rf"{re.escape(FIRST_WORDS)}|Migrating \.snakemake |\d+ files migrated|Migration complete|Building DAG of jobs|Using shell: "
    r"|Group jobs: inactive|Conda environments: ignored|Singularity containers: ignored|Select jobs to execute"
    r"|Job rate limit reached|Job \S+ has been submitted |Submitted array job |Waiting at most \d+ seconds for missing files"
    r"|Removing (output files of failed job|temporary output) |Terminating service job |Service job \d+ has been "
    r"|Shutting down, |Elapsed time: "
)
# Errors that the lines of a failed job, or the last line, already contain.
ALREADY_SAID = re.compile(
    r"^Exiting because a job execution failed\.|^WorkflowError:\s+At least one job did not complete successfully\."
    r"|CalledProcessError"
)
EXIT = re.compile(r"(?:returned non-zero (?P<status>exit status \d+)|died with <Signals\.(?P<signal>\w+): \d+>)\.\s*$")
REDIRECT = re.compile(r"\s+(?:&>|>)>?\s*\S+(?:\s+2>&1)?\s*$|\s+2>&1\s*\|\s*tee\s+\S+\s*$")
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")

Record = Any  # a logging.LogRecord with the fields of its event


@dataclass
class Job:
    """A started job."""

    rule: str
    wildcards: Mapping[str, str]
    works: bool  # targets like `all` have neither a command nor outputs
    started: float
    log: list[str] = field(default_factory=list)
    command: str | None = None

    def __str__(self) -> str:
        values = (f"{name} {value}" if value.isdigit() else value for name, value in self.wildcards.items())
        return f"{self.rule}: {', '.join(values)}" if self.wildcards else self.rule

    def in_full(self) -> str:
        return " ".join([self.rule, *(f"{name}={value}" for name, value in self.wildcards.items())])


class LogHandler(LogHandlerBase):
    """The class that Snakemake loads: it writes the messages of a run to the terminal or its redirection."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        quiet = settings.quiet or ()
        # Snakemake's own handler, which it uses without a plugin.
        self.view = ColorizingTextHandler(
            nocolor=settings.nocolor,
            stream=sys.stdout if settings.stdout else sys.stderr,
            filter=DefaultFilter(quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds),
            formatter=DefaultFormatter(quiet, settings.show_failed_logs),
        )
        self.as_snakemake = any(
            [
                settings.dryrun,
                settings.printshellcmds,
                settings.verbose,
                settings.debug_dag,
                is_quiet_about(quiet, "rules"),
                is_quiet_about(quiet, "progress"),
            ]
        )
        self.held: list[logging.LogRecord] = []
        self.build: Build | None = None

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record: logging.LogRecord) -> None:
        if METADATA.search(record.getMessage()):
            return
        try:
            if self.as_snakemake:
                self.view.handle(record)
            elif self.build:
                self.show(record)
            else:
                self.hold(record)
        except BrokenPipeError:
            pass  # the reader of a pipe has ended
        except Exception:
            self.handleError(record)

    def hold(self, record: Record) -> None:
        """Keep the messages from the start of a run until it is known whether there is anything to build."""
        if get_event(record) == LogEvent.RUN_INFO:
            self.build = Build(record.stats, record.created)
            held, self.held = self.held, []
            for message in held:
                self.show(message)
            self.write(self.build.first_line())
        elif self.held or get_event(record) == LogEvent.WORKFLOW_STARTED or record.getMessage() == FIRST_WORDS:
            self.held.append(record)
            if record.levelno >= logging.ERROR:
                self.show_held()
        else:
            self.view.handle(record)

    def show_held(self) -> None:
        """Show the kept messages as Snakemake does."""
        for record in self.held:
            self.view.handle(record)
        self.held.clear()

    def show(self, record: Record) -> None:
        """Show one message of a build."""
        build = self.build
        assert build
        event, message = get_event(record), record.getMessage()
        if event == LogEvent.JOB_INFO:
            works = bool(record.shellcmd or record.output)
            wildcards = {name: str(value) for name, value in record.wildcards.items()}
            build.start(record.jobid, Job(record.rule_name, wildcards, works, record.created, record.log, record.shellcmd))
        elif event == LogEvent.JOB_FINISHED:
            self.write(build.finish(record.job_id, record.created))
        elif event == LogEvent.PROGRESS:
            build.total = record.total  # checkpoints add jobs
        elif event == LogEvent.JOB_ERROR:
            if not record.indent:  # else it is shown with its group
                self.write(*build.fail(vars(record), record))
        elif event == LogEvent.GROUP_ERROR:
            self.write(*build.fail_group(record))
        elif event in (LogEvent.ERROR, None):
            if event == LogEvent.ERROR:
                build.causes[record.thread] = message
            build.interrupted |= message.startswith(INTERRUPTED)
            if restarted := RESTARTED.match(message):
                self.write(build.restart(int(restarted[1])))
            elif build.shows(record.levelno, message):
                self.view.handle(record)
            if (missing := NO_OUTPUT.search(message)) and (job := build.running.get(int(missing[1]))):
                error = {"jobid": int(missing[1]), "rule_msg": None, "log": job.log, "shellcmd": job.command}
                self.write(*build.fail(error, record))

    def write(self, *lines: str | None) -> None:
        for line in lines:
            if line is not None:
                self.view.stream.write(f"{line}\n")
        self.view.stream.flush()

    def close(self) -> None:
        try:
            self.show_held()
            if self.build:
                self.write(self.build.last_line())
                self.build = None
        except BrokenPipeError:
            pass
        super().close()


class Build:
    """The progress of a build."""

    def __init__(self, stats: Mapping[str, int], begun: float) -> None:
        self.rules = {rule: count for rule, count in stats.items() if rule != "total"}
        self.total = stats["total"]
        self.begun = self.now = begun
        self.running: dict[int, Job] = {}
        self.errors: set[int] = set()
        self.done = 0
        self.interrupted = False
        self.seen: set[str] = set()
        self.causes: dict[int | None, str] = {}  # by thread: the error of a command, logged just before the job's error
        self.took: defaultdict[str, float] = defaultdict(float)  # seconds of the finished jobs of one kind of rule
        self.finished: Counter[str] = Counter()  # the number of these jobs
        self.to_do = Counter(self.rules)
        *_, last = self.rules
        if self.rules[last] == 1:
            del self.to_do[last]  # most likely a target, which takes no time; otherwise start() adds it again

    def first_line(self) -> str:
        text = f"{jobs(self.total)} to do"
        rest = self.total
        for place, (rule, count) in enumerate(sorted(self.rules.items(), key=lambda item: -item[1])):
            longer = f"{text}{', ' if place else ': '}{count} {rule}"
            if len(longer) > WIDTH - len(f" and {rest} others"):
                return f"{text} and {rest} others"
            text, rest = longer, rest - count
        return text

    def last_line(self) -> str:
        unfinished = len(self.running)
        failed = len(self.errors) if self.interrupted else unfinished
        endings = {"failed": failed, "stopped": unfinished - failed, "not run": self.total - self.done - unfinished}
        others = ", ".join(f"{count} {ending}" for ending, count in endings.items() if count > 0)
        return f"{self.done} of {jobs(self.total)} done in {spelled(self.now - self.begun)}{others and '; '}{others}"

    def shows(self, level: int, message: str) -> bool:
        """Whether to show a message that is not about one job."""
        if level >= logging.WARNING:
            return not ALREADY_SAID.search(message)
        if message in self.seen or (message.startswith("Complete log(s): ") and not self.running):
            return False
        self.seen.add(message)
        return not ROUTINE.match(message)

    def start(self, number: int, job: Job) -> None:
        self.running[number] = job
        if job.works and not self.to_do[job.rule]:
            self.to_do[job.rule] = 1

    def finish(self, number: int, now: float) -> str | None:
        self.now = now
        self.done += 1
        self.errors.discard(number)
        job = self.running.pop(number, None)
        if not job or not job.works:
            return None
        self.to_do[job.rule] -= 1
        self.took[kind(job.rule)] += now - job.started
        self.finished[kind(job.rule)] += 1
        left = self.left()
        return (
            f"[{self.done:{len(str(self.total))}}/{self.total}] {job} ({spelled(now - job.started)})"
            f"{f', about {spelled(rounded(left))} left' if left and left >= 5 else ''}"
        )

    def left(self) -> float | None:
        """The estimated seconds to go; None if they cannot be estimated, for example after a failure.

        The estimate for a job is the mean time of the finished jobs of rules with the same first word (scores_bce, scores_pqm),
        or else of all finished jobs. The number of jobs at the same time is assumed to stay at its mean. The time in a cluster's
        queue counts as time of the job. The estimate is too short if a slow rule has no finished job yet.
        """
        seconds, finished = sum(self.took.values()), self.finished.total()
        if self.errors or finished < JOBS_BEFORE_ESTIMATE:
            return None

        def expected(rule: str) -> float:
            same = kind(rule)
            return self.took[same] / self.finished[same] if self.finished[same] else seconds / finished

        running = [(self.now - job.started, expected(job.rule)) for job in self.running.values() if job.works]
        work = sum(count * expected(rule) for rule, count in self.to_do.items()) - sum(min(pair) for pair in running)
        at_once = (seconds + sum(spent for spent, _ in running)) / max(self.now - self.begun, 1e-3)
        return max(work, 0) / at_once if at_once else None

    def fail(self, error: Mapping[str, Any], record: Record) -> Iterator[str]:
        self.now = record.created
        job = self.running.get(error["jobid"]) or Job(error["rule_name"], {}, True, self.now)
        if self.interrupted:
            yield f"stopped: {job.in_full()} ({spelled(self.now - job.started)})"
            return
        self.errors.add(error["jobid"])
        command, cause = error["shellcmd"] or "", self.causes.get(record.thread, "")
        end = EXIT.search(cause) if command and command in cause else None
        how = f"{end['status'] or end['signal']}, " if end else ""
        yield f"failed: {job.in_full()} ({how}{spelled(self.now - job.started)})"
        if error["rule_msg"]:
            yield f"    {error['rule_msg'].split('For further error details')[0].strip()}"
        own = job.log or error["log"]
        for path in own:
            yield from end_of_log(Path(path))
        yield from (f"See also {path}" for path in error["log"] if path not in own)  # the cluster's
        if command:
            yield "To repeat it:"
            yield from (f"    {line}" for line in to_repeat(command).splitlines())

    def fail_group(self, record: Record) -> Iterator[str]:
        """Show the failed jobs of a group; all its jobs fail together with the first."""
        cause = self.causes.get(record.thread, "")
        errors = record.job_error_info
        named = [error for error in errors if f"in rule {error['rule_name']} " in cause]
        guilty = [error for error in errors if error["shellcmd"] and error["shellcmd"] in cause] or named or errors
        for error in guilty[:GROUP_JOBS]:
            yield from self.fail(error, record)
        for path in record.aux_logs:
            yield from end_of_log(Path(path))
        if not self.interrupted:
            self.errors.update(error["jobid"] for error in errors)
        if others := len(errors) - len(guilty[:GROUP_JOBS]):
            yield f"{others} more jobs of the group failed"

    def restart(self, number: int) -> str:
        self.errors.discard(number)
        job = self.running.get(number)
        return f"restarted: {job.in_full() if job else f'job {number}'}"


def kind(rule: str) -> str:
    """The first word of a rule's name, which similar rules share."""
    return rule.split("_")[0]


def jobs(count: int) -> str:
    """A number of jobs, in words."""
    return f"{count} job{'' if count == 1 else 's'}"


def spelled(seconds: float) -> str:
    """A duration in words."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if not whole:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if whole < 3600:
        return f"{round(seconds / 60)} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def rounded(seconds: float) -> int:
    """Round to full minutes, or up to tens of seconds below one minute."""
    step = 10 if seconds < 60 else 60
    return step * max(math.ceil(seconds / step) if step == 10 else round(seconds / step), 1)


def end_of_log(path: Path) -> Iterator[str]:
    """The last lines of a log, without terminal control characters."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        yield f"No log in {path}"
        return
    # Of a line that is overwritten repeatedly, such as a progress bar, only the last version is shown.
    lines = [CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.rstrip().split("\n")]
    if lines == [""]:
        yield f"{path} is empty"
        return
    yield f"The end of {path}:"
    yield from (f"    {line}" for line in lines[-LOG_LINES:])


def to_repeat(command: str) -> str:
    """The command without recording, redirection and `exec`, which would end the user's shell."""
    before, mark, command_line = REDIRECT.sub("", command.strip()).partition(" -- ")
    return (command_line if mark else before).removeprefix("exec ")
