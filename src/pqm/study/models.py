"""Sections `policies` and `backbones`: models that sample, and models that reward models start from."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from pqm.solution_format import SolutionFormat
from pqm.study.settings import Count, Positive, Settings, Share
from pqm.study.sources import Commit


class Pick(Settings):
    """A snapshot of a pretraining, chosen by its place in the training. Its accuracy is in the pretraining's `snapshots.csv`."""

    pretraining: str
    share: Share = Field(
        1.0,
        description="Take the first snapshot after at least this share of the pretraining's steps. By default the last snapshot"
        " is taken.",
    )

    def choose(self, shares: Mapping[str, float]) -> str:
        """The name of the chosen snapshot.

        Args:
            shares: the share of the steps before each snapshot, in order; the last one is 1.
        """
        return next(name for name, share in shares.items() if share >= self.share)


class ServerConfig(Settings):
    """A server with the OpenAI completions protocol: a running one (`url`), or one that the workflow starts (`command`)."""

    url: str | None = Field(None, description="Address of a running server, such as `http://localhost:8000/v1`.")
    command: str | None = Field(None, description="Command that starts a server. `{port}` in it is replaced by a free port.")
    model: str = Field(description="Name of the model on the server.")
    concurrency: Count = Field(16, description="Requests at the same time.")
    attempts: Count = Field(6, description="Times that a request is tried.")
    timeout: Positive = Field(600.0, description="Seconds to wait for the response to a request.")
    start_timeout: Positive = Field(900.0, description="Seconds to wait for the first response of a started server.")
    logprobs: bool = Field(
        False, description="Request log probabilities. Set it only for servers that return them at temperature 1."
    )
    body: dict[str, Any] = Field(
        {},
        description="Fields to add to each request, such as `top_k`, so that the server samples from the plain distribution.",
    )

    @field_validator("body")
    @classmethod
    def _body_leaves_the_study_alone(cls, body: dict[str, Any]) -> dict[str, Any]:
        ours = {"model", "prompt", "n", "seed", "max_tokens", "temperature", "top_p", "logprobs", "stream"} & set(body)
        if ours:
            raise ValueError(f"{min(ours)} is set by the study, not by the server's body")
        return body

    @model_validator(mode="after")
    def _one_place(self) -> "ServerConfig":
        if (self.url is None) == (self.command is None):
            raise ValueError("give either url (a running server) or command (to start one), not both")
        if self.command is not None and "{port}" not in self.command:
            raise ValueError("command must contain {port}, which is replaced by the server's port")
        return self


class HubModel(Settings):
    """A model of the hub, pinned to a commit."""

    repo: str
    revision: Commit


class GgufModel(Settings):
    """A GGUF file inside an installed package."""

    package: str
    file: str = Field(description="Path of the file inside the package.")


class ModelConfig(Settings):
    """The origin of a model: a snapshot of a pretraining, or a pretrained model."""

    pick: Pick | None = Field(None, description="A snapshot of one of the study's pretrainings.")
    hub: HubModel | None = Field(None, description="A model of the hub.")
    gguf: GgufModel | None = Field(None, description="A GGUF file.")
    format: SolutionFormat | None = Field(
        None, description="Text format of a model that is not a snapshot; a snapshot contains its own."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = [name for name in type(self).model_fields if name in ("pick", "hub", "gguf", "server")]
        given = [name for name in origins if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(origins)}; {' and '.join(given) or 'none'} is given")
        if (self.format is None) != (self.pick is not None):
            raise ValueError("format is required for every model except a picked snapshot, which contains its own")
        return self


class PolicyConfig(ModelConfig):
    """A model that samples solutions, in the job itself or on a server. Set exactly one of `pick`, `hub`, `gguf` and `server`."""

    server: ServerConfig | None = Field(None, description="A server that runs the model.")


class BackboneConfig(ModelConfig):
    """A model that reward models start from. Set exactly one of `pick`, `hub` and `gguf`."""

    add_step_token: bool = Field(False, description="Add the format's step token to the tokenizer as a new token.")

    @model_validator(mode="after")
    def _token_for_pretrained_models(self) -> Self:
        if self.add_step_token and self.format is None:
            raise ValueError("add_step_token is for pretrained models only (hub, gguf)")
        return self
