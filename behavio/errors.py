"""What can go wrong.

BehavioError
├── LogError        the events break a rule of EventLog           exit 1
├── ModelError      the data cannot carry what was asked          exit 1
│   └── NotFittedError  a model was asked before it was fitted    exit 1
├── RunError        the run folder does not hold what was asked   exit 1
├── JobError        the job file asks for what does not exist     exit 2
└── DeliveryError   the target does not hold what we sent         exit 3
"""

from __future__ import annotations


class BehavioError(Exception):
    """Base of every error a user may see: one sentence, and a hint that says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class LogError(BehavioError):
    """The events break a rule of EventLog, or a source cannot be read."""


class ModelError(BehavioError):
    """The data cannot carry what a model or a statistic was asked for."""


class NotFittedError(ModelError):
    """A model was asked before it was fitted."""


class RunError(BehavioError):
    """The run folder cannot be written, or does not hold what was asked."""


class JobError(BehavioError):
    """The job file or the command asks for what does not exist."""

    exit_code = 2


class DeliveryError(BehavioError):
    """The target does not hold what we sent."""

    exit_code = 3
