"""Loading a policy: an engine that samples, from the policy's own weights or a server."""

from pathlib import Path

from pqm.models.sampling.engine import Engine
from pqm.models.server import is_served
from pqm.solution_format import SolutionFormat


def load_policy(folder: Path, threads: int = 1, server: Path | None = None) -> tuple[Engine, SolutionFormat]:
    """Load a policy's engine and its solution format.

    Args:
        folder: the policy's folder.
        threads: threads of this process; a server has its own.
        server: the file written by `pqm policies serve`, if the policy's server is started by a command.

    Raises:
        PqmError: the folder is no policy, or its server does not respond.
    """
    solution_format = SolutionFormat.load(folder)  # first, because its error message is clear if the folder is missing
    if is_served(folder):
        from pqm.models.sampling.openai_engine import OpenAIEngine

        return OpenAIEngine(folder, server), solution_format
    from pqm.models.sampling.transformers_engine import TransformersEngine

    return TransformersEngine(folder, threads), solution_format
