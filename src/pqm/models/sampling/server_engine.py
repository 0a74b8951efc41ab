"""Sampling from a server with the OpenAI completions protocol (vLLM, SGLang, llama.cpp, ..).

Each sample is one request with its own seed. Several choices of one request would share a seed, so a sample would depend on the
number of choices, and not every server returns as many as requested. Servers cache the prompt between requests, so the extra
requests cost little.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed
from tenacity import wait_random_exponential as full_jitter

from pqm.errors import PqmError, shortened
from pqm.io.finish_reason import finish_reason
from pqm.models.sampling.engine import EngineOptions, Request, Sample, random_stream
from pqm.models.server import FILE_NAME, RunningServer, read_server
from pqm.models.tokenizing import expect_unicode
from pqm.progress import say
from pqm.study.reading import load

Shape = TypeVar("Shape", bound=BaseModel)

BUSY = (408, 429)
LONGEST_WAIT = 60.0
BACK_OFF = full_jitter(multiplier=1, max=LONGEST_WAIT)


class Transient(PqmError):
    """An error that a retry may fix.

    Attributes:
        retry_after: seconds to wait, if the server sent them.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _LogProbabilities(BaseModel):
    token_logprobs: list[float]


class _Choice(BaseModel):
    text: str
    finish_reason: str | None = None
    logprobs: _LogProbabilities | None = None


class _Usage(BaseModel):
    completion_tokens: int


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage


class _Model(BaseModel):
    id: str
    owned_by: str = "unknown"


class _Models(BaseModel):
    data: list[_Model]


class ServerEngine:
    """Samples from a policy on a server.

    Args:
        policy: folder with `server.json`.
        options: only `server` is used, if the policy has a command instead of an address; threads and precision are the server's.

    Raises:
        PqmError: the server does not respond, or has no such model.
    """

    def __init__(self, policy: Path, options: EngineOptions) -> None:
        self.server = read_server(policy)
        self.started = self._started(policy, options.server)
        self.url = self.started.url if self.started else str(self.server.url).rstrip("/")
        key = os.environ.get("OPENAI_API_KEY")
        self.client = httpx2.Client(
            timeout=self.server.timeout,
            limits=httpx2.Limits(max_connections=self.server.concurrency),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            trust_env=self.started is None,  # no proxy for a server on this machine
        )
        self.name = f"openai protocol, {self._await_model()}"

    def sample(
        self, requests: Sequence[Request], temperature: float, max_new_tokens: int, seed: int, rows: int | None = None
    ) -> list[list[Sample]]:
        """The samples of each request, in order.

        Raises:
            PqmError: a request failed permanently, or failed `attempts` times.
        """
        settings: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": 1.0}
        if self.server.logprobs:
            settings["logprobs"] = 1
        with ThreadPoolExecutor(self.server.concurrency) as pool:
            waiting = [
                [pool.submit(self._complete, request, number, settings, seed) for number in _numbers(request)]
                for request in requests
            ]
            try:
                groups = [[one.result() for one in group] for group in waiting]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        cut = sum(one.finish_reason == "length" and one.n_tokens < max_new_tokens for group in groups for one in group)
        if cut:
            say(f"{self.url}: truncated {cut} samples before {max_new_tokens} tokens; its context is too short")
        return groups

    def _complete(self, request: Request, number: int, settings: dict[str, Any], seed: int) -> Sample:
        own_seed = int(random_stream(seed, request.name, number).integers(2**31))
        expect_unicode(request.prompt)
        body = self.server.body | settings | {"model": self.server.model, "prompt": request.prompt, "n": 1, "seed": own_seed}
        who = f"{self.url}: {request.name!r}, sample {number}"
        answer = self._patiently("POST", "/completions", who, body)
        completion = _parsed(_Completion, answer, who)
        if len(completion.choices) != 1:
            raise PqmError(f"{who}: the server returned {len(completion.choices)} choices; expected 1")
        [choice] = completion.choices
        try:
            reason = finish_reason(choice.finish_reason)
        except ValueError as error:
            raise PqmError(f"{who}: finish_reason: {error}") from None
        return Sample(
            n_tokens=completion.usage.completion_tokens,
            text=choice.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),  # half a character is U+FFFD
            log_likelihood=sum(choice.logprobs.token_logprobs) if choice.logprobs else float("nan"),
            finish_reason=reason,
        )

    def _started(self, policy: Path, running: Path | None) -> RunningServer | None:
        if self.server.command is None:
            return None
        if running is None:
            raise PqmError(
                f"{policy / FILE_NAME}: its server must be started; run `pqm policies serve {policy} --output FILE`"
                " and pass --server FILE"
            )
        return load(RunningServer, running)

    def _await_model(self) -> str:
        """Wait until the server responds; the names of the model and its server."""
        if self.started:
            starting = Retrying(
                retry=retry_if_exception_type(Transient),
                wait=wait_fixed(0.5),
                stop=stop_after_delay(self.server.start_timeout),
                before=self._expect_process,
                reraise=True,
            )
            answer = starting(self._send, "GET", "/models", self.url)
        else:
            answer = self._patiently("GET", "/models", self.url)
        models = {model.id: model.owned_by for model in _parsed(_Models, answer, self.url).data}
        if self.server.model not in models:
            raise PqmError(f"{self.url}: has no model {self.server.model!r}; it has {', '.join(sorted(models)) or 'none'}")
        return " ".join(filter(None, [self.server.model, "by", models[self.server.model], self._version()]))

    def _version(self) -> str:
        """The version of a vLLM server; the protocol itself does not define one."""
        try:
            answer = self.client.get(httpx2.URL(self.url).join("/version")).json()
            return str(answer["version"])
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return ""

    def _expect_process(self, _: RetryCallState) -> None:
        assert self.started
        try:
            os.kill(self.started.pid, 0)
        except ProcessLookupError:
            raise PqmError(f"{self.url}: the server has stopped; see its log") from None
        except PermissionError:
            pass

    def _patiently(self, method: str, path: str, who: str, body: dict[str, Any] | None = None) -> Any:
        """Call `_send` until it succeeds, or raise the last error after `attempts` attempts."""
        attempts = self.server.attempts
        retrying = Retrying(
            retry=retry_if_exception_type(Transient), wait=_pause, stop=stop_after_attempt(attempts), reraise=True
        )
        try:
            return retrying(self._send, method, path, who, body)
        except Transient as error:
            raise PqmError(f"{error}; gave up after {attempts} attempts") from None

    def _send(self, method: str, path: str, who: str, body: dict[str, Any] | None = None) -> Any:
        """Send one request and return the JSON of the response."""
        try:
            response = self.client.request(method, self.url + path, json=body)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise PqmError(f"{who}: not a valid address ({error}); expected e.g. http://localhost:8000/v1") from None
        except httpx2.ConnectError as error:
            raise Transient(f"{who}: the server cannot be reached ({error})") from None
        except httpx2.TimeoutException:
            raise Transient(f"{who}: no response within {self.server.timeout:g} s") from None
        except httpx2.RequestError as error:
            raise Transient(f"{who}: the response was interrupted ({error})") from None
        if response.status_code in BUSY or response.status_code >= 500:
            raise Transient(f"{who}: {_complaint(response)}", _retry_after(response))
        if response.status_code != 200:
            raise PqmError(f"{who}: {_complaint(response)}")
        try:
            answer = response.json()
        except ValueError:
            raise Transient(f"{who}: the response is not JSON: {shortened(response.text)}") from None
        if _is_error(answer):
            raise Transient(f"{who}: {_complaint(response)}")
        return answer


ENGINE = ServerEngine


def _numbers(request: Request) -> range:
    return range(request.skip, request.skip + request.samples)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: as requested by the server, or else exponential with full jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Transient) else None
    return BACK_OFF(state) if asked is None else min(asked, LONGEST_WAIT)


def _retry_after(response: httpx2.Response) -> float | None:
    """The header Retry-After (seconds or a date), in seconds from now."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _is_error(answer: Any) -> bool:
    """Whether a response with status 200 contains an error instead of a result, or an error instead of a choice."""
    if not isinstance(answer, dict):
        return False
    choices = answer.get("choices")
    parts = [answer, *(choices if isinstance(choices, list) else [])]
    return not answer.keys() & {"choices", "data"} or any(isinstance(part, dict) and part.get("error") for part in parts)


def _complaint(response: httpx2.Response) -> str:
    """The status and message of a response, on one line. Servers put the message in different places."""
    message: Any = response.text
    try:
        answer = response.json()
        errors = [answer.get("error"), *(choice.get("error") for choice in answer.get("choices") or [])]
        message = next(filter(None, errors), answer)
        if isinstance(message, dict):
            message = message.get("message") or message.get("detail") or message
    except (ValueError, AttributeError, TypeError):
        pass
    return f"the server responded with {response.status_code} ({' '.join(str(message).split())[:300] or 'no message'})"


def _parsed(shape: type[Shape], answer: Any, who: str) -> Shape:
    try:
        return shape.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the response"
        raise PqmError(f"{who}: the response does not follow the protocol ({where}: {first['msg']})") from None
