"""Errors that a person reads. Each message says what was expected, what was found, where, and what to do next.

Belongs here: the exception types of the domain. Does not belong here: messages, which stand where they are raised.
"""

from __future__ import annotations


class CountersignError(Exception):
    """Something that a person has to put right. Trying again without a change would fail again."""


class ConfigError(CountersignError):
    """The project's configuration is missing, unreadable or not allowed."""


class SessionError(CountersignError):
    """A date that is no session of the exchange, or one that has not closed."""


class SourceError(CountersignError):
    """The source's reply cannot be used: missing, empty, or not bars."""


class EmptyReplyError(SourceError):
    """The source answered, and has nothing: not that a symbol was delisted, nor that anything is wrong."""


class SchemaError(SourceError):
    """The source's columns are not those that bars are read from; ``header`` has our names of those that are known."""

    def __init__(self, message: str, header: tuple[str, ...]) -> None:
        super().__init__(message)
        self.header = header


class DateOrderError(SourceError):
    """Dates of which nobody has said whether the day or the month comes first."""


class NumbersError(SourceError):
    """So many cells that are no numbers that the reply is read in a wrong way, or is no table of bars."""


class TransportError(CountersignError):
    """The source could not be reached. The only error that is worth another attempt."""


class DeliveryError(CountersignError):
    """A channel, a heartbeat or a receiver of metrics did not take what it was sent. The pipeline goes on."""


class ArtifactError(CountersignError):
    """An artifact is missing, truncated, altered or of another kind than it should be."""


class QualityError(CountersignError):
    """Data that a blocking rule refuses."""


class JournalError(CountersignError):
    """The journal's chain is broken."""


class ModelError(CountersignError):
    """A model that cannot be trained, or that must not be used."""


class LookAheadError(ModelError):
    """A session that every model which could score it learned from."""


class GateError(CountersignError):
    """A decision, a signature or a signer that the sign-off does not accept."""
