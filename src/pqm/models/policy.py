"""Loading a policy: the engine that samples from it, a module of `pqm.models.sampling` found by name."""

from importlib import import_module
from pathlib import Path

from pqm.models.engine_settings import engine_of
from pqm.models.sampling.engine import Engine, EngineClass, EngineOptions
from pqm.solution_format import SolutionFormat
from pqm.study.settings import Precision


def load_policy(
    folder: Path, threads: int = 1, server: Path | None = None, precision: Precision = "fp32"
) -> tuple[Engine, SolutionFormat]:
    """Load a policy's engine and its solution format.

    Args:
        folder: the policy's folder.
        threads, server, precision: see `EngineOptions`.

    Raises:
        PqmError: the folder is no policy, the engine cannot sample from its model, or its server does not respond.
    """
    solution_format = SolutionFormat.load(folder)  # first, because its error message is clear if the folder is missing
    engine: EngineClass = import_module(f"pqm.models.sampling.{engine_of(folder)}_engine").ENGINE
    return engine(folder, EngineOptions(threads, server, precision)), solution_format
