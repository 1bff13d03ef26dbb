"""Everything the project raises on purpose.

    KellyError                      the one to catch; its text is the one line a person reads
    ├── ConfigError                 a setting is wrong (all faults of a file in one error)
    ├── AudioFileError              a recording cannot be read
    ├── SessionError                a session log is missing, damaged or of a newer format
    ├── OutputError                 a result cannot be written
    ├── ArtefactError               a model file is missing, damaged or not the one promised
    ├── DataError                   a data set of the workshop is absent or damaged
    └── DeviceError                 a sound card, MIDI port or GPIO chip refuses

A message says the fault, the place and the remedy, in that order, on one line
(``ConfigError`` may hold several faults, one per line).
"""

from kelly_edge.shared.printed import LONGEST_LINE, printed


class KellyError(Exception):
    """A fault a person can act on; the command line prints it and exits with 2.

    Its text is printable: a name from outside in it can neither begin a line nor colour one.
    """

    def __str__(self) -> str:
        return printed(super().__str__(), LONGEST_LINE)


class ConfigError(KellyError):
    """A setting is unknown, of the wrong type or out of its limits."""

    def __str__(self) -> str:
        return "\n".join(printed(line, LONGEST_LINE) for line in Exception.__str__(self).split("\n"))


class AudioFileError(KellyError):
    """A recording is missing, is not audio, is empty or cannot be read."""


class SessionError(KellyError):
    """A session log is missing, is none, or was written in a newer format."""


class OutputError(KellyError):
    """A result cannot be written: no permission, no space, not a folder."""


class ArtefactError(KellyError):
    """A model file is missing, damaged, or does not compute what its manifest promises."""


class DataError(KellyError):
    """A data set the workshop needs is absent or damaged."""


class DeviceError(KellyError):
    """A sound card, MIDI port or GPIO chip is absent or refuses."""
