"""The errors that vbl raises: each has a code, says what is, and says what to type next.

    VblError                       exit 1
    ├── UsageError                 exit 2   the call or the command line is wrong
    │   ├── InvalidInput                    input does not fit the workflow's signature
    │   ├── AmbiguousRun                    a prefix fits several runs
    │   └── NotInWorkflow                   a durable call outside the code that may make it
    ├── NotFound                   exit 3   no such run, workflow, checkpoint
    ├── Conflict                   exit 4   refused because of what the history says already
    │   ├── KeyTaken                        a start key is in use with another input
    │   ├── NotEntitled                     this person may not decide that gate
    │   └── RunBlocked                      the run waits for other code or for a person
    ├── RunFailed                  exit 5   `result()` of a run that failed
    ├── RunWaiting                 exit 6   only a person can move the run
    ├── RunCancelled               exit 8   `result()` of a run that was cancelled
    ├── SupervisorHeld             exit 9   another process supervises the file
    │   └── EpochLost                       a newer supervisor took the file from this one
    ├── StorageError               exit 10  the file, the disk, the lock
    ├── ValueNotStorable           exit 1   a value would not survive being recorded
    ├── NotApproved                exit 6   in workflow code: a gated call that nobody approved
    │   └── ApprovalExpired                 nobody decided in time, with on_timeout="fail"
    ├── WorkflowError              exit 1   workflow code did what only a step may do
    │   └── Divergence                      code and history disagree
    └── StepFailed                 exit 5   in workflow code: a step failed for good

`Parked` is control flow: it derives from BaseException, so that `except Exception` lets it pass.
"""

from __future__ import annotations

import os
from typing import Any


class VblError(Exception):
    """What vbl raises. `code` is stable and snake_case; `hint` is what to type or do next."""

    code = "error"
    exit_code = 1
    kind = "bug"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def as_dict(self) -> dict[str, Any]:
        """The form of `--json`: {"code", "message", "hint"}."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the way from its cell to the call that was refused, without the frames of vbl."""
        import traceback

        told = traceback.TracebackException.from_exception(self)
        inside = os.path.dirname(__file__) + os.sep
        while len(told.stack) > 1 and told.stack[-1].filename.startswith(inside):
            told.stack.pop()
        while len(told.stack) > 1 and f"{os.sep}IPython{os.sep}" in told.stack[0].filename:
            told.stack.pop(0)
        return "".join(told.format()).splitlines()


class UsageError(VblError):
    """The call or the command line is wrong; nothing was done."""

    code = "usage"
    exit_code = 2


class InvalidInput(UsageError):
    """Input does not fit the workflow's signature; no run was created."""

    code = "invalid_input"


class AmbiguousRun(UsageError):
    """A run prefix fits several runs."""

    code = "ambiguous_run"


class NotInWorkflow(UsageError):
    """A durable call was made where no run is executing, or in the wrong kind of code."""

    code = "not_in_workflow"


class NotFound(VblError):
    """No run, workflow, checkpoint or event answers to that name."""

    code = "not_found"
    exit_code = 3


class Conflict(VblError):
    """The history already says something that refuses this."""

    code = "conflict"
    exit_code = 4


class KeyTaken(Conflict):
    """A run with that start key exists and has another input."""

    code = "key_taken"


class NotEntitled(Conflict):
    """A person may not decide that gate: somebody else is asked, or has to; the refusal is in the history."""

    code = "not_entitled"


class RunBlocked(Conflict):
    """The run is blocked: its code and its history disagree, or a person has to settle something."""

    code = "run_blocked"


class RunFailed(VblError):
    """The run ended with an error. `error` is the recorded one: kind, type, message, traceback; `call` is the key of
    the call, in the workflow whose child it was."""

    code = "run_failed"
    exit_code = 5
    call: str | None = None

    def __init__(self, message: str, hint: str = "", *, error: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint)
        self.error = error or {}


class RunWaiting(VblError):
    """Only a person can move the run on, and there is no terminal to ask at."""

    code = "run_waiting"
    exit_code = 6


class RunCancelled(VblError):
    """The run was cancelled."""

    code = "run_cancelled"
    exit_code = 8


class SupervisorHeld(VblError):
    """Another process supervises the file."""

    code = "supervisor_held"
    exit_code = 9


class EpochLost(SupervisorHeld):
    """A newer supervisor took the file; this one may append nothing more."""

    code = "epoch_lost"

    @classmethod
    def between(cls, mine: int, now: int) -> EpochLost:
        """The error of the supervisor of epoch `mine`, where epoch `now` has the file."""
        return cls(
            f"epoch {mine} of this supervisor has ended: epoch {now} has the file now",
            "Only one supervisor moves the runs of a file; this one stops",
        )


class StorageError(VblError):
    """The file cannot be used as asked: `code` tells how (disk_full, locked, read_only, not_vbl, newer, …)."""

    code = "storage"
    exit_code = 10


class ValueNotStorable(VblError):
    """A value would not survive being recorded and read again, so it is refused where it is written."""

    code = "value_not_storable"


class WorkflowError(VblError):
    """Workflow code did something that only a step may do, or that can never end. `step` is the key of the step that
    it is about, where it is about one."""

    code = "workflow_error"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None, step: str | None = None) -> None:
        super().__init__(message, hint, code=code)
        self.step = step


class Divergence(WorkflowError):
    """The code asks for something else than the history holds."""

    code = "diverged"


class NotApproved(VblError):
    """In workflow code: a gated call was to run, and nobody has approved it. `gate` is the gate's id."""

    code = "not_approved"
    exit_code = 6
    kind = "permanent"

    def __init__(self, message: str, hint: str = "", *, gate: str = "", code: str | None = None) -> None:
        super().__init__(message, hint, code=code)
        self.gate = gate


class ApprovalExpired(NotApproved):
    """In workflow code: nobody decided a gate in time, and it was asked for with on_timeout="fail"."""

    code = "approval_expired"
    kind = "timeout"


class StepFailed(VblError):
    """In workflow code: a step failed for good, after its policy gave up.

    Attributes: `step` (key), `kind` (see history.retry.Kind), `attempts` (int), `type` (class name), `message`.
    """

    code = "step_failed"
    exit_code = 5

    def __init__(self, step: str, kind: str, attempts: int, type: str, message: str) -> None:
        self.step = step
        self.kind = str(kind)
        self.attempts = attempts
        self.type = type
        tries = f"{attempts} attempt" + ("s" if attempts != 1 else "")
        self._sentence = f"step {step} failed after {tries} ({kind}): {type}: {message}"
        super().__init__(message)

    def __str__(self) -> str:
        return self._sentence


class Parked(BaseException):
    """Raised in a workflow's `finally:` when it makes a durable call while it is being parked."""
