"""Which answer a solution states, and whether it is right by `math-verify`.

`math-verify` hangs on towers of powers, where no signal reaches it, and may eat all memory. It runs in worker processes that are
killed when a verdict takes too long; what needs no parser (equal texts, plain numbers) starts none and imports nothing.
"""

import logging
import multiprocessing
import re
import resource
import signal
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import TimeoutError
from contextlib import suppress
from decimal import Decimal

from pebble import ProcessExpired, ProcessPool

MATH_VERIFY = "math-verify"
LONGEST_ANSWER = 10_000  # characters
SECONDS_A_VERDICT = 5.0  # of processor time, so that a busy machine changes no verdict
PATIENCE = 20.0  # real seconds a task may take for one of a verdict's, should a worker stand still
BYTES_A_WORKER = 4 << 30  # address space
PAIRS_A_TASK = 32  # sent to a worker together: alone, the way there takes as long as the verdict

Pair = tuple[str | None, str]

_ANSWER_PHRASE = re.compile(r"(?:####|\bA:|\b[Aa]nswer\b(?:\s+is\b)?:?)[ \t*:]*")
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_BRACES = re.compile(r"\\boxed\{|[{}]")
# Within these bounds `math-verify`, which rounds to six decimals, compares exact values; a test compares the two.
_PLAIN_NUMBER = re.compile(r"-?(?:[0-9]{1,9}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,2})(?:\.[0-9]{1,6})?")


def extract_answer(text: str) -> str | None:
    r"""The answer that a solution states: its last `\boxed{..}`, else what follows its last `####`, `A:` or `answer`.

    One pass over the text, whatever it holds.
    """
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    # The last phrase that something follows is one of the last two.
    for phrase in reversed(deque(_ANSWER_PHRASE.finditer(text), maxlen=2)):
        statement = text[phrase.end() :].lstrip()
        if statement:
            return _SENTENCE_END.split(statement.split("\n", 1)[0], maxsplit=1)[0].strip(" \t*") or None
    return None


def _last_boxed(text: str) -> str | None:
    """The content of the closed box that opens last."""
    opened: list[tuple[int, bool]] = []  # where the content of each open brace begins, and whether it is a box
    begin, end = -1, -1
    for brace in _BRACES.finditer(text):
        if brace[0] != "}":
            opened.append((brace.end(), brace[0] != "{"))
        elif opened:
            place, is_box = opened.pop()
            if is_box and place > begin:
                begin, end = place, brace.start()
    return text[begin:end].strip() if begin >= 0 else None


class Grader:
    """Verdicts of `math-verify` on pairs of an answer and a gold answer; each distinct pair is judged once.

    A context manager: its worker processes, started by the first pair that needs a parser, end with the block. An answer over
    `LONGEST_ANSWER`, a verdict that takes more than `seconds` of processor time and one whose worker dies (of too little memory, say) count as
    wrong; `unjudged` holds their number by cause.
    """

    def __init__(self, seconds: float = SECONDS_A_VERDICT, workers: int = 1) -> None:
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
        """Whether each answer equals its gold answer in value; no answer (None) is wrong."""
        hard = []
        for pair in dict.fromkeys(pairs):
            if pair not in self._known:
                verdict = self._without_parser(*pair)
                if verdict is None:
                    hard.append(pair)
                else:
                    self._known[pair] = verdict
        tasks = [hard[start : start + PAIRS_A_TASK] for start in range(0, len(hard), PAIRS_A_TASK)]
        unfinished = self._judge(tasks)
        alone = [[pair] for task, _ in unfinished if len(task) > 1 for pair in task]
        for (pair,), cause in [*(one for one in unfinished if len(one[0]) == 1), *self._judge(alone)]:
            self._known[pair] = False
            self.unjudged[cause] += 1
        return [self._known[pair] for pair in pairs]

    def report(self) -> str | None:
        """One sentence on the answers that count as wrong unjudged; None where there are none."""
        causes = ", ".join(f"{number} {cause}" for cause, number in self.unjudged.items())
        return f"{self.unjudged.total()} distinct answers were not judged and count as wrong: {causes}" if causes else None

    def _without_parser(self, answer: str | None, gold: str) -> bool | None:
        """The verdict where none needs to parse: no answer, one too long, equal texts, two plain numbers."""
        if answer is None:
            return False
        if len(answer) > LONGEST_ANSWER:
            self.unjudged["too long"] += 1
            return False
        if answer == gold:
            return True
        if _PLAIN_NUMBER.fullmatch(answer) and _PLAIN_NUMBER.fullmatch(gold):
            return Decimal(answer.replace(",", "")) == Decimal(gold.replace(",", ""))
        return None

    def _judge(self, tasks: Sequence[Sequence[Pair]]) -> list[tuple[Sequence[Pair], str]]:
        """Let the workers judge each task's pairs; the tasks that they did not get through, with the cause."""
        if tasks and self._pool is None:
            # Forked from a server that has imported the parser, so that a killed worker is replaced at once.
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


def _prepare_worker() -> None:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    with suppress(ValueError, OSError):  # some systems know no such limit
        resource.setrlimit(resource.RLIMIT_AS, (BYTES_A_WORKER, BYTES_A_WORKER))


def _verify(pairs: Sequence[tuple[str, str]], seconds: float) -> list[bool]:
    """The verdicts in order; the process dies of SIGPROF in one that takes longer than `seconds` of its processor time."""
    from math_verify import parse, verify

    verdicts = []
    for answer, gold in pairs:
        # Not math-verify's own alarm, which is heard only between two operations: one multiplication may take for ever.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        stated, wanted = (parse(f"${text.strip()}$", parsing_timeout=0) for text in (answer, gold))
        verdicts.append(bool(verify(wanted, stated, timeout_seconds=None)))
    signal.setitimer(signal.ITIMER_PROF, 0)
    return verdicts
