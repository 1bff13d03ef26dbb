"""A MIDI file as somebody who plays a keyboard: its messages with their times."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mido

from firmware_py.ports import Clock
from firmware_py.ports.midi import KIND, NOTE_OFF, NOTE_ON, SYSTEM
from kelly_edge.errors import AudioFileError
from kelly_edge.shared.printed import printed

SUFFIXES: Final = (".mid", ".midi", ".smf", ".kar")
LONGEST_S: Final = 6.0 * 3_600.0
"""Chosen by hand: a file that claims to last longer is damaged."""
ENDS_AFTER_S: Final = 1.0
"""After the last message, so that the last tones ring. Chosen by hand."""
MUSIC: Final = range(NOTE_OFF, SYSTEM)
"""Status bytes that a keyboard sends. MIDI 1.0: channel messages."""


@dataclass(frozen=True)
class KeyboardPerformance:
    """Messages of a keyboard: time in seconds and bytes, in order; ``duration_s`` of all of it."""

    path: Path
    messages: tuple[tuple[float, bytes], ...]
    duration_s: float
    notices: tuple[str, ...] = ()
    """What a person should know of the file, one line each."""

    @property
    def n_notes(self) -> int:
        """Notes struck."""
        return sum(m[0] & KIND == NOTE_ON and m[2] > 0 for _, m in self.messages)


def is_midi_file(path: Path) -> bool:
    """Whether the name is a MIDI file's."""
    return path.suffix.lower() in SUFFIXES


def read_keyboard(path: Path) -> KeyboardPerformance:
    """The performance of a standard MIDI file, every track of it.

    Raises
    ------
    AudioFileError: it cannot be read, is no MIDI file, or holds no notes.
    """
    name, time_s, messages = printed(str(path), 300), 0.0, []
    try:
        for message in mido.MidiFile(path, clip=True):
            time_s += message.time
            if time_s > LONGEST_S:
                raise AudioFileError(f"{name} lasts more than {LONGEST_S / 3_600:.0f} hours; is it damaged?")
            if not message.is_meta and (data := bytes(message.bytes()))[0] in MUSIC:
                messages.append((time_s, data))
    except OSError as error:
        if error.strerror is None:
            raise _no_midi_file(name) from None
        raise AudioFileError(f"{name} cannot be read ({error.strerror}); give a MIDI file") from None
    except (EOFError, ValueError, KeyError, IndexError, TypeError, ZeroDivisionError):
        raise _no_midi_file(name) from None
    performance = KeyboardPerformance(path, tuple(messages), time_s + ENDS_AFTER_S)
    if not performance.n_notes:
        raise AudioFileError(f"{name} holds no notes; give a MIDI file of somebody who plays")
    return performance


def _no_midi_file(name: str) -> AudioFileError:
    return AudioFileError(f"{name} is no standard MIDI file, or a damaged one; give another")


class KeyboardPlayer:
    """A stage of the offline wiring: one ``step()`` plays the messages that are due.

    Parameters
    ----------
    hear: given a port, a message and its age in seconds.
    """

    def __init__(
        self, performance: KeyboardPerformance, hear: Callable[[str, bytes, float], None], clock: Clock
    ) -> None:
        self._messages = performance.messages
        self._port = performance.path.name
        self._hear = hear
        self._clock = clock
        self._n_played = 0

    def step(self) -> None:
        """Play."""
        now_s = self._clock.now_s()
        while self._n_played < len(self._messages) and self._messages[self._n_played][0] <= now_s:
            time_s, message = self._messages[self._n_played]
            self._hear(self._port, message, now_s - time_s)
            self._n_played += 1
