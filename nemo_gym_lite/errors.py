"""Every error class, in one place, so that a reader learns in a minute what can go wrong.

    GymError                            anything we raise on purpose; says what, where, which value, and a hint
    ├── ConfigError                     the user's configuration, command line or input; exit code 2, no traceback
    │   ├── MalformedConfigPathsError   `config_paths` is not a list of paths
    │   ├── ConfigPathNotFoundError     a file of `config_paths` exists in no search root
    │   ├── InheritPathNotFoundError    `_inherit_from` or `_copy` names a path that is not there
    │   ├── ConfigMissingValuesError    values still `???`, all of them at once
    │   ├── AlmostServerError           a block looks like a server and does not validate
    │   ├── ServerRefNotFoundError      a `{type, name}` reference to a server that is not configured
    │   ├── NoServerInstancesError      nothing to start
    │   ├── SandboxConfigError          a sandbox is asked for in a way that its provider does not know
    │   └── ConfigInterpolationError    `${...}` that cannot be resolved
    ├── OutputError                     the output cannot be read, locked or written; nothing already there is lost
    ├── ServerStartError                a server did not come up, or would not stay up
    ├── SandboxCreateError              a sandbox cannot be made: no container runtime, no image, no right to
    └── FailedCallError                 one call of a rollout failed; `failure_class` goes to the sidecar
        ├── EndpointError               a model endpoint failed; knows whether and when to try again
        ├── NoHealthyEndpointError      every endpoint of a model rests after failures
        └── JudgeError                  a judge's call failed, which is not the same as a wrong answer

Texts are lower case without a final full stop; the hint follows after a blank line. Everything an error knows is in
its `args`, so errors pickle.
"""

from collections.abc import Mapping

from nemo_gym_lite.clients import Json

NO_ENDPOINT = "no_endpoint"
"""Cause of a failure that is no attempt at the rollout: nothing was sent, because every endpoint rested."""


class GymError(Exception):
    """Anything nemo_gym_lite raises on purpose.

    Args:
        message: What went wrong, where, and with which value.
        hint: What to do about it; printed after a blank line.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


class ConfigError(GymError):
    """The user's configuration, command line or input file is wrong; the command ends with exit code 2."""


class MalformedConfigPathsError(ConfigError, ValueError):
    """`config_paths` is not a list of paths."""


class ConfigPathNotFoundError(ConfigError, FileNotFoundError):
    """A file of `config_paths` exists in no search root."""


class InheritPathNotFoundError(ConfigError, ValueError):
    """An `_inherit_from` or `_copy` directive names a path that is not in the configuration."""


class ConfigMissingValuesError(ConfigError, ValueError):
    """Some values are still `???`; the message lists all of them."""


class AlmostServerError(ConfigError, ValueError):
    """A block has the shape of a server and does not validate as one."""


class ServerRefNotFoundError(ConfigError, ValueError):
    """A `{type, name}` reference points to a server that is not configured."""


class NoServerInstancesError(ConfigError, ValueError):
    """The configuration holds no server to start."""


class SandboxConfigError(ConfigError, ValueError):
    """A sandbox, or its provider, is asked for in a way that makes no sense."""


class ConfigInterpolationError(ConfigError, ValueError):
    """An interpolation `${...}` cannot be resolved."""


class OutputError(GymError):
    """An output file cannot be read, locked or written; what it already holds is untouched."""


class ServerStartError(GymError):
    """A server did not come up, or crashed more often than it may."""


class SandboxCreateError(GymError, RuntimeError):
    """A sandbox cannot be made on this machine: no container runtime, no image, or not the right to."""


class FailedCallError(GymError):
    """One call that a rollout depends on failed, so the rollout ends in the sidecar.

    Attributes:
        failure_class: One word for the sidecar: `unreachable`, `reset`, `timeout`, `rate_limited`, `server_error`,
            `bad_request`, `bad_reply`, `seed_failed`, `step_failed`, `verify_failed`, `judge_failed`,
            `agent_failed`, `not_persisted`, `worker_died`.
        terminal: A later run need not try this rollout again, because it would fail the same way.
        cause: Of a check in a process of its own, how that ended: `timeout`, `crash` or `out_of_memory`; of a model
            call, `no_endpoint` if it was not even sent because every endpoint rested; else empty.
        played: What the rollout had by then, kept in its line of the sidecar: `usage` of the turns that were answered,
            and `response` if nothing but the check is missing, so that `ng_verify_rollouts` can make up for it.
    """

    def __init__(
        self, failure_class: str, message: str, hint: str = "", *, terminal: bool = False, cause: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.args = (failure_class, message, hint)
        self.failure_class = failure_class
        self.terminal = terminal
        self.cause = cause
        self.played: Json = {}

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


class EndpointError(FailedCallError):
    """One request to a model endpoint failed.

    Attributes:
        retryable: Whether the same request may succeed later or elsewhere. A 400 is the request's fault.
        status: HTTP status of the reply, None when there was no reply.
        retry_after_s: Seconds that the endpoint asked us to stay away, None when it named none.
        body: Start of the reply's body, for the message and for the context-length check.
        rate_limits: The reply's `x-ratelimit-*` headers, in lower case.
    """

    def __init__(
        self,
        failure_class: str,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        retry_after_s: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(failure_class, message)
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body
        self.rate_limits: dict[str, str] = {}


class NoHealthyEndpointError(FailedCallError):
    """Every endpoint of a model is resting after failures, so nothing was sent.

    Attributes:
        last_errors: Last failure of each endpoint, by base URL.
    """

    def __init__(self, last_errors: Mapping[str, str], failure_class: str = "unreachable") -> None:
        failures = "\n".join(f"  {url}: {error}" for url, error in last_errors.items())
        super().__init__(
            failure_class,
            f"all {len(last_errors)} model endpoints are resting after failures\n{failures}",
            "check that each server answers `GET /health`, then run the same command again; finished rollouts are kept",
            cause=NO_ENDPOINT,
        )
        self.last_errors = dict(last_errors)


class JudgeError(FailedCallError):
    """A call to a judge model failed, which says nothing about the answer that it should have judged."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("judge_failed", message, hint)


def _rebuild(cls: type[FailedCallError], args: tuple[object, ...], state: dict[str, object]) -> FailedCallError:
    """Rebuild a pickled error without calling its constructor, whose arguments differ from class to class."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
