"""What the benchmarks share: rows of results, clocks, environments of peers, and tables.

A part is a module with `measure() -> list[Row]`. Both sides of a ratio are measured in one run, in turn, with one thread, in CPU
seconds; the minimum counts. Wall-clock time is used only where a row says so.
"""

import json
import operator
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench"  # environments of peers, and the rows of the parts; ignored by git
REPEATS = 3
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars
COMPARISONS = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt, "=": operator.eq}
for _name, _value in ONE_THREAD.items():
    os.environ.setdefault(_name, _value)  # numpy and torch read them when they are imported, which is after this module


@dataclass(frozen=True)
class Row:
    """A measured figure, or a comparison with a peer.

    Attributes:
        part: the module that measured it.
        what: the work.
        ours, theirs: the two figures, in `unit`; `theirs` is None if there is nothing to compare with.
        ratio: how many times better ours is, or None.
        goal: a comparison such as ">= 1.5", of the ratio if there is one, else of `ours`; empty if there is no goal.
        note: versions, the size of the work, and how a figure was taken.
    """

    part: str
    what: str
    ours: float
    theirs: float | None = None
    unit: str = "CPU-s"
    ratio: float | None = None
    goal: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached, or None if there is no goal."""
        if not self.goal:
            return None
        sign, number = self.goal.split()
        return COMPARISONS[sign](self.ours if self.ratio is None else self.ratio, float(number))


@dataclass(frozen=True)
class Used:
    """What a command used, with the processes that it waited for.

    Attributes:
        seconds: CPU seconds, of user and system.
        wall: wall-clock seconds.
        output: what it printed on standard output.
    """

    seconds: float
    wall: float
    output: str


def cpu_seconds(*functions: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """The fewest CPU seconds of this process that each function takes; the functions run in turn, `repeats` times."""
    found: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, seconds in zip(functions, found):
            begin = time.process_time()
            function()
            seconds.append(time.process_time() - begin)
    return [min(seconds) for seconds in found]


def command(*arguments: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Used:
    """Run a command to its end, with one thread per process.

    Args:
        env: variables to set in addition to those of this process.

    Raises:
        CalledProcessError: it failed; its error output was shown.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            list(map(str, arguments)), cwd=cwd, env=os.environ | ONE_THREAD | dict(env or {}), stdout=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments[0], text)
    return Used(usage.ru_utime + usage.ru_stime, wall, text)


def commands(*runs: Callable[[], Used], repeats: int = REPEATS) -> list[Used]:
    """What each of several commands used, at the fewest CPU seconds; they run in turn, `repeats` times."""
    found = [[run() for run in runs] for _ in range(repeats)]
    return [min(one, key=lambda used: used.seconds) for one in zip(*found)]


def peak_memory(function: Callable[[], object]) -> int:
    """The most bytes of memory that the process holds during the call, above those that it held before; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _memory("VmRSS")
    function()
    return max(0, _memory("VmHWM") - before)


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def environment(name: str, *requirements: str) -> Path:
    """The Python of a peer's environment, `.bench/<name>`, which is made at the first call.

    The peer's own packages are installed there. Whatever it shares with this environment, such as torch, is read from here, so that
    both sides have the same versions.
    """
    folder = FOLDER / name
    python = folder / "bin/python"
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        site = command(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").output.strip()
        here = [path for path in sys.path if path.endswith("site-packages")]
        Path(site, "shared.pth").write_text("\n".join(here) + "\n")
        command(python, "-m", "pip", "install", "--quiet", "--no-deps", *requirements)
        done.write_text(wanted)
    return python


def versions(*packages: str) -> str:
    """The versions of packages in this environment, such as "torch 2.13.0, numpy 2.4.1"."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in packages)


def cpu_name() -> str:
    """The processor's name and number of cores."""
    found = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{found[0] if found else platform.processor()}, {os.cpu_count()} cores"


def facts() -> dict[str, str]:
    """Where and when the figures were taken."""
    torch = sys.modules.get("torch")
    card = f"{torch.cuda.get_device_name()}; " if torch and torch.cuda.is_available() else ""
    return {
        "cpu": card + cpu_name(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": f"Python {platform.python_version()}",
    }


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| work | ours | peer | unit | ratio | goal | note |", "|---|---|---|---|---|---|---|"]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
    goal = (
        ""
        if not row.goal
        else f"{row.goal}{' x' if row.ratio is not None else ''}: {'reached' if row.reached else 'not reached'}"
    )
    return f"| {row.what} | {number(row.ours)} | {number(row.theirs)} | {row.unit} | {ratio} | {goal} | {row.note} |"


def number(value: float | None) -> str:
    """A number with three significant digits, and commas between thousands; empty for None."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main(measure: Callable[[], list[Row]]) -> None:
    """Measure a part, print its table, and keep the rows for the page."""
    rows = measure()
    print(table(rows))
    FOLDER.mkdir(exist_ok=True)
    for part in dict.fromkeys(row.part for row in rows):
        kept = {"facts": facts(), "rows": [asdict(row) for row in rows if row.part == part]}
        (FOLDER / f"{part}.json").write_text(json.dumps(kept, indent=2) + "\n")


SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with this process, even if it is killed


class BusyCore:
    """Keeps one core busy with a process of the lowest priority, as in `with BusyCore(): ...`."""

    def __enter__(self) -> None:
        self._process = subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", SPIN])

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
