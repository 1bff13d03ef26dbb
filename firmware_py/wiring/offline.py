"""The offline wiring: all stages in one process, on a virtual clock and recorded devices.

Live, offline and tests are wirings of the same stages; ``live`` holds the other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import BAR_DTYPE, Board, memory_board
from firmware_py.devices.files.midi_file import KeyboardPerformance, KeyboardPlayer
from firmware_py.devices.files.programmes import numbered, open_programmes
from firmware_py.devices.offline import (
    ListJournal,
    RecordingCard,
    RecordingMidi,
    Sound,
    StreamedCard,
    VirtualClock,
)
from firmware_py.ports import Journal, SoundCard
from firmware_py.processes.audio import AudioStage
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.control import ControlStage
from firmware_py.processes.dsp import DspStage
from firmware_py.processes.keyboard import Keyboard
from firmware_py.processes.midi import MidiStage
from firmware_py.processes.panic import PanicStage
from firmware_py.runtimes.onnx import OnnxComposer
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator, open_composer_network
from firmware_py.wiring.dsp_models import (
    new_place,
    new_voice,
    open_decoders,
    open_emotion,
    own_delay_s,
    uses_emopia,
)
from firmware_py.wiring.loop import Turn, run_offline
from kelly_edge.contract import HOP_SIZE, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ, Listen
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.errors import ConfigError
from kelly_edge.signal.limiter import Limiter
from kelly_edge.timbre.voice import Decoder

GROUP_SIZE = HOP_SIZE * HOPS_PER_EMOTION_STEP
Progress = Callable[[float], None]
"""Called with the share done, 0..1."""


@dataclass(frozen=True)
class Models:
    """The models of the instrument, opened and proved."""

    emotion: EmotionNetwork
    composer: OnnxComposer
    decoders: Sequence[Decoder]


def open_models(settings: Settings) -> Models:
    """Every model, verified.

    Raises
    ------
    ArtefactError: a model is missing, damaged or computes something else than promised.
    """
    return Models(open_emotion(settings), open_composer_network(settings), open_decoders(settings))


@dataclass(frozen=True)
class Silence:
    """A ``Sound`` of nothing."""

    n_samples: int

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """No block: what follows a sound is silence."""
        return iter(())


def listening(settings: Settings, player: NDArray[np.float32] | Sound | KeyboardPerformance) -> Settings:
    """The settings, with the ears that hear ``player``.

    Raises
    ------
    ConfigError: its notes' mood is read by weights that the free set of models keeps off.
    """
    is_keyboard = isinstance(player, KeyboardPerformance)
    if is_keyboard and settings.runtime.models == "free":
        raise ConfigError(
            "a MIDI file's mood is read by weights fitted to EMOPIA, which runtime.models=free keeps off; "
            "take runtime.models=research, or a recording"
        )
    listen = Listen.KEYBOARD if is_keyboard else Listen.MICROPHONE
    return replace(settings, ears=replace(settings.ears, listen=listen.value))


@dataclass
class Performance:
    """What came out of a recording.

    ``voice`` is float32 [n] at 48 kHz; ``notes`` NOTE_DTYPE [n]; ``bars`` BAR_DTYPE [n], as they were
    committed; ``session`` the log's entries. Voice and session are empty where they went elsewhere (see
    ``Offline``).
    """

    voice: NDArray[np.float32]
    notes: NDArray[Any]
    bars: NDArray[Any]
    session: list[dict[str, Any]]


class Offline:
    """The stages on a virtual clock, with a recording for a sound card.

    Parameters
    ----------
    models: with ``composer=False`` only its decoders and emotion network are used.
    sound: all samples at once (float32 [n], 48 kHz), or block by block; or what a keyboard plays.
        The settings listen to which of them it is.
    play: gets what the box plays, a period at a time (copy what is kept); None: it is kept.
    journal: gets the log's entries; None: they are kept.
    """

    def __init__(
        self,
        settings: Settings,
        models: Models,
        sound: NDArray[np.float32] | Sound | KeyboardPerformance,
        composer: bool = True,
        play: Callable[[NDArray[np.float32]], None] | None = None,
        journal: Journal | None = None,
    ) -> None:
        settings = listening(settings, sound)
        keys: KeyboardPerformance | None = None
        if isinstance(sound, KeyboardPerformance):
            keys, sound = sound, Silence(math.ceil(sound.duration_s * SAMPLE_RATE_HZ))
        self.settings = settings
        self.period = settings.audio.period
        n_given = len(sound) if isinstance(sound, np.ndarray) else sound.n_samples
        # A recording ends on a whole hop: the last one is filled with silence.
        self.n_samples = -(-n_given // HOP_SIZE) * HOP_SIZE
        self.clock = VirtualClock()
        self.board: Board = memory_board()
        n_kept = 0 if play else self.n_samples // self.period
        self._kept = RecordingCard(
            sound if isinstance(sound, np.ndarray) else np.zeros(0, np.float32), n_kept, self.period
        )
        self.card: SoundCard = self._kept
        if not isinstance(sound, np.ndarray):
            self.card = StreamedCard(sound.blocks(), play or self._kept.write)
        self.midi_out = RecordingMidi()
        self._entries = ListJournal()
        self.journal = journal or self._entries
        limiter = Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms)
        self.control = ControlStage(
            self.board.ends("control"), settings, self.journal, programmes=numbered(settings)
        )
        self.audio = AudioStage(self.board.ends("audio"), self.card, limiter, self.period)
        self.dsp = DspStage(
            self.board.ends("dsp"),
            models.emotion,
            new_voice(settings, models.decoders),
            self.period,
            self.clock,
            new_place(settings),
            settings.ears.listen,
            uses_emopia(settings),
            own_delay_s(settings),
        )
        self.midi = MidiStage(self.board.ends("midi"), self.midi_out, self.clock)
        self.turns = [Turn(self.audio, self.period), Turn(self.dsp, HOP_SIZE)]
        if keys is not None:
            keyboard = Keyboard(self.board.ends("control"), self.clock)
            self.turns.insert(0, Turn(KeyboardPlayer(keys, keyboard.hear, self.clock), HOP_SIZE))
        if composer:
            generator = new_generator(settings, models.composer)
            self.composer = ComposerStage(
                self.board.ends("composer"), settings, generator, self.clock, True, open_programmes(settings)
            )
            # Before the processes that obey it.
            self.turns.insert(0, Turn(PanicStage(self.board.ends("guardian"), self.clock), HOP_SIZE))
            self.turns += [
                Turn(self.composer, GROUP_SIZE),
                Turn(self.midi, HOP_SIZE),
                Turn(self.control, GROUP_SIZE),
            ]

    @classmethod
    def warm_up(cls, settings: Settings, models: Models) -> None:
        """Run a moment of silence: compiled code is loaded at first use, which belongs before the music."""
        cls(settings, models, np.zeros(GROUP_SIZE, np.float32)).run()

    def run(
        self, progress: Progress | None = None, after_hop: Callable[[int], None] | None = None
    ) -> Performance:
        """Play the recording from its beginning to its end; notes sounding there end as they would have."""
        n_hops = self.n_samples // HOP_SIZE
        bars, bar = [], np.zeros((), BAR_DTYPE)
        committed = self.board.ends("midi").ring_to_read("bars")

        def hop_done(n_done: int) -> None:
            while committed.read(bar):
                if bar["beat"] == 0:
                    bars.append(bar.copy())
                else:
                    # The beats of a bar differ a little where they follow the player's.
                    played_s = bar["start_s"] + bar["beat_s"] - bars[-1]["start_s"]
                    bars[-1]["beat_s"] = played_s / (bar["beat"] + 1)
            if after_hop is not None:
                after_hop(n_done)
            if progress is not None and n_done % HOPS_PER_EMOTION_STEP == 0:
                progress(n_done / n_hops)

        run_offline(self.turns, self.clock, self.n_samples, self.period, hop_done)
        self.midi.finish()
        self.control.close()
        notes = self.midi_out.notes(self.settings.midi.latency_ms / 1_000.0)
        return Performance(self._kept.played, notes, np.array(bars, BAR_DTYPE), self._entries.entries)
