"""Part of ``dsp``: what the player is heard by, a microphone, a keyboard, or both.

The trackers of beat and chord read either of the two alike. With both, the keyboard is what they read from
its first note until some seconds after its last; mood, room and pitch stay the microphone's. What the box
plays itself is taken off what the microphone hears, but for the mood (``own_notes``).
"""

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import RingReader
from kelly_edge.contract import HOPS_PER_EMOTION_STEP, KEY_DTYPE, Listen
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.keyboard import KeyboardEar
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.own_notes import OwnNotes
from kelly_edge.signal.melody import MelodyNote, MelodyTracker

Float32 = NDArray[np.float32]


class Ears:
    """``push`` every hop; where it ends a group, ``hear`` it, then read.

    Parameters
    ----------
    listen: one of ``contract.Listen``.
    keys, own: the rings of these names.
    own_delay_s: from a note of the box until the microphone hears it; None where its notes are not taken
        off.

    Attributes
    ----------
    extractor, keyboard: the two, as far as they are listened to; otherwise they hear nothing.
    emotion: the emotion vector [64] of the group.
    own: what the microphone hears without the box's own notes; None where they are not taken off.
    """

    def __init__(
        self,
        listen: str,
        network: EmotionNetwork,
        keys: RingReader,
        own: RingReader,
        own_delay_s: float | None = None,
    ) -> None:
        self._has_microphone = listen != Listen.KEYBOARD
        self._has_keyboard = listen != Listen.MICROPHONE
        self._network = network
        self._network.reset()
        self._keys, self._own_ring = keys, own
        self._key = np.zeros((), KEY_DTYPE)
        self._n_hops = 0
        self.extractor = FeatureExtractor()
        self.keyboard = KeyboardEar(reads_mood=not self._has_microphone)
        self.emotion = self.keyboard.emotion
        self.own = OwnNotes(own_delay_s) if self._has_microphone and own_delay_s is not None else None
        self._tracker = MelodyTracker()
        self._melody = self._tracker.note

    def push(self, hop: Float32, f0_hz: float, confidence: float) -> bool:
        """Take a hop, float32 [256], and its pitch; True where a hop group is complete."""
        self._tracker.push(hop, f0_hz, confidence)
        if self._has_microphone:
            return self.extractor.push(hop)
        self._n_hops = (self._n_hops + 1) % HOPS_PER_EMOTION_STEP
        return self._n_hops == 0

    def hear(self, now_s: float) -> None:
        """The group that ends at ``now_s``, seconds of the stream."""
        if self._has_microphone:
            self.emotion = self._network.step(self.extractor.features)
            self._melody = self._tracker.note
        while self._own_ring.read(self._key):
            if self.own is not None:
                key = self._key
                self.own.take(int(key["pitch"]), int(key["velocity"]), float(key["time_s"]))
        if self.own is not None:
            self.own.hear(now_s, self.extractor)
            self._melody = self.own.melody(self._melody, now_s)
        if self._has_keyboard:
            while self._keys.read(self._key):
                key = self._key
                self.keyboard.take(int(key["pitch"]), int(key["velocity"]), float(key["time_s"]))
            self.keyboard.hear(now_s)

    @property
    def source(self) -> FeatureExtractor | KeyboardEar:
        """Whose notes, key and onsets count."""
        is_keyboard = self._has_keyboard and (self.keyboard.is_played or not self._has_microphone)
        return self.keyboard if is_keyboard else self.extractor

    @property
    def heard(self) -> FeatureExtractor | KeyboardEar | OwnNotes:
        """Whose frames, notes and chroma count: the source's, without the box's own."""
        return self.own if self.own is not None and self.source is self.extractor else self.source

    @property
    def sounding(self) -> Float32:
        """Activations [88] that chords are heard in."""
        heard = self.heard
        return heard.sounding if isinstance(heard, KeyboardEar) else heard.notes

    @property
    def melody(self) -> MelodyNote:
        """The note of the melody."""
        return self.keyboard.melody.note if self.source is self.keyboard else self._melody

    @property
    def tempo_bpm(self) -> float | None:
        """0 unknown; None where nothing but the beat tells it."""
        source = self.source
        return None if isinstance(source, KeyboardEar) else source.tempo_bpm

    @property
    def presence(self) -> float:
        """Of what the mood is heard in, 0..1."""
        return self.extractor.presence if self._has_microphone else self.keyboard.presence

    def players(self, presence: float) -> float:
        """The presence of the player, of ``presence`` as the mood has it: the box is nobody, and keys are
        somebody."""
        if self.own is not None:
            presence *= self.own.players_share
        return max(presence, self.keyboard.presence) if self.source is self.keyboard else presence

    @property
    def features(self) -> Float32 | None:
        """The features [128] that ``emotion`` was read from; None where it was read from notes."""
        return self.extractor.features if self._has_microphone else None

    @property
    def room_frames(self) -> Float32 | None:
        """Log mel frames [8, 27] that a room is heard in."""
        return self.extractor.frames if self._has_microphone else None

    @property
    def level_db(self) -> float:
        """The louder of the two, dBFS."""
        microphone = self.extractor if self.own is None else self.own
        return max(microphone.level_db, self.keyboard.level_db)
