"""Section `resources`: what jobs request from a machine or a cluster."""

from typing import Annotated

from pydantic import Field

from pqm.study.settings import Count, Settings


class JobRequest(Settings):
    """What one job of a stage requests. Resources that are not set are not requested."""

    gpus: Annotated[int, Field(ge=0)] | None = Field(
        None, description="GPUs. By default 1 in a study with `device: cuda`, else 0."
    )
    memory_mb: Count | None = Field(None, description="Memory in megabytes.")
    minutes: Count | None = Field(None, description="Time limit in minutes.")


class ResourcesConfig(Settings):
    """What the jobs of each stage that runs models request from a machine or a cluster. Resources never change a result."""

    policies: JobRequest = JobRequest()
    rollouts: JobRequest = JobRequest()
    labels: JobRequest = JobRequest()
    train: JobRequest = JobRequest()
    evaluate: JobRequest = JobRequest()
