"""Grading answers: numbers and words by reading them, expressions with `math-verify`.

`math-verify` can hang on towers of powers, where no signal interrupts it, or use all memory. So it runs in worker processes,
which are killed if a verdict takes too long. Answers that need no parser (equal texts, numbers, words) start no worker.
"""

import logging
import multiprocessing
import resource
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import TimeoutError
from contextlib import suppress

from pebble import ProcessExpired, ProcessPool

from pqm.grading.expressions import equal_expressions
from pqm.grading.notation import plain
from pqm.grading.reading import same_by_reading

MATH_VERIFY = "math-verify"
LONGEST_ANSWER = 10_000  # characters
SECONDS_PER_VERDICT = 5.0  # processor time, so that verdicts do not depend on the load of the machine
PATIENCE = 20.0  # a task's limit in real time, in multiples of a verdict's limit, in case a worker is stuck without computing
BYTES_PER_WORKER = 4 << 30  # address space
LONGEST_READING = 500  # characters; longer answers are read in a worker process
PAIRS_PER_TASK = 16  # the most that are sent to a worker together; fewer and larger tasks would keep the workers less evenly busy

Pair = tuple[str | None, str]


class Grader:
    """Grades pairs of an answer and a gold answer with `math-verify`; each distinct pair is graded once.

    It is a context manager. Worker processes start with the first pair that needs a parser, and end with the block. An answer is
    wrong if it is longer than `LONGEST_ANSWER`, if its verdict takes more than `seconds` of processor time, or if its worker
    crashes, for example out of memory.

    Attributes:
        unjudged: the number of these answers by cause.
    """

    def __init__(self, seconds: float = SECONDS_PER_VERDICT, workers: int = 1) -> None:
        self.unjudged: Counter[str] = Counter()
        self._seconds, self._workers = seconds, workers
        self._known: dict[Pair, bool] = {}
        self._pool: ProcessPool | None = None

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.stop()
            self._pool.join()

    def __call__(self, pairs: Sequence[Pair]) -> list[bool]:
        """Whether each answer has the same value as its gold answer; no answer (None) is wrong."""
        hard = []
        for pair in dict.fromkeys(pairs):
            if pair not in self._known:
                verdict = self._without_parser(*pair)
                if verdict is None:
                    hard.append(pair)
                else:
                    self._known[pair] = verdict
        unfinished = self._judge(_tasks(hard))
        alone = [[pair] for task, _ in unfinished if len(task) > 1 for pair in task]
        for (pair,), cause in [*(one for one in unfinished if len(one[0]) == 1), *self._judge(alone)]:
            self._known[pair] = False
            self.unjudged[cause] += 1
        return [self._known[pair] for pair in pairs]

    def report(self) -> str | None:
        """One sentence on the answers that count as wrong because they could not be graded; None if there are none."""
        causes = ", ".join(f"{number} {cause}" for cause, number in self.unjudged.items())
        return f"{self.unjudged.total()} distinct answers could not be graded and count as wrong: {causes}" if causes else None

    def _without_parser(self, answer: str | None, gold: str) -> bool | None:
        """The verdict on pairs that need no parser: no answer, a too long answer, equal texts, two plain numbers."""
        if answer is None:
            return False
        if len(answer) > LONGEST_ANSWER:
            self.unjudged["too long"] += 1
            return False
        if answer == gold:
            return True
        if max(len(answer), len(gold)) > LONGEST_READING:
            return None
        return same_by_reading(plain(answer), plain(gold))

    def _judge(self, tasks: Sequence[Sequence[Pair]]) -> list[tuple[Sequence[Pair], str]]:
        """Let the workers grade the pairs of each task; the unfinished tasks, with the cause."""
        if tasks and self._pool is None:
            # Workers are forked from a server that has imported the parser, so that a killed worker is replaced quickly.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["math_verify", __name__])
            self._pool = ProcessPool(self._workers, initializer=_prepare_worker, context=context)
        futures = (
            [self._pool.schedule(_verify, [task, self._seconds], timeout=PATIENCE * self._seconds) for task in tasks]
            if self._pool
            else []
        )
        unfinished = []
        for task, future in zip(tasks, futures):
            try:
                self._known.update(zip(task, future.result()))
            except TimeoutError:
                unfinished.append((task, "out of time"))
            except ProcessExpired as death:
                unfinished.append((task, "out of time" if death.exitcode == -signal.SIGPROF else "crashed"))
            except (MemoryError, RecursionError):
                unfinished.append((task, "crashed"))
        return unfinished


def _tasks(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs in parts for the workers. Those of one gold answer stay together, so that few workers parse it."""
    by_gold: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_gold.setdefault(pair[1], []).append(pair)
    tasks: list[list[Pair]] = []
    for own in by_gold.values():
        if tasks and len(tasks[-1]) + len(own) <= PAIRS_PER_TASK:
            tasks[-1] += own
        else:
            tasks += [own[start : start + PAIRS_PER_TASK] for start in range(0, len(own), PAIRS_PER_TASK)]
    return tasks


def _prepare_worker() -> None:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    with suppress(ValueError, OSError):  # some systems do not support this limit
        resource.setrlimit(resource.RLIMIT_AS, (BYTES_PER_WORKER, BYTES_PER_WORKER))


def _verify(pairs: Sequence[tuple[str, str]], seconds: float) -> list[bool]:
    """The verdicts, in order. SIGPROF kills the process if one takes more than `seconds` of processor time."""
    verdicts = []
    for answer, gold in pairs:
        # The alarm of math-verify itself is handled only between two operations, and one multiplication can take forever.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        verdicts.append(equal_expressions(plain(answer), plain(gold)))
    signal.setitimer(signal.ITIMER_PROF, 0)
    return verdicts
