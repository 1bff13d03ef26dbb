"""Part of ``dsp``: what the player is heard by, a microphone, a keyboard, or both.

The trackers of beat and chord read either of the two alike. With both, the keyboard is what they read from
its first note until some seconds after its last; mood, room and pitch stay the microphone's.
"""

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import RingReader
from kelly_edge.contract import HOPS_PER_EMOTION_STEP, KEY_DTYPE, Listen
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.keyboard import KeyboardEar
from kelly_edge.emotion.network import EmotionNetwork

Float32 = NDArray[np.float32]


class Ears:
    """``push`` every hop; where it ends a group, ``hear`` it, then read.

    Parameters
    ----------
    listen: one of ``contract.Listen``.
    keys: the ring ``keys``.

    Attributes
    ----------
    extractor, keyboard: the two, as far as they are listened to; otherwise they hear nothing.
    emotion: the emotion vector [64] of the group.
    """

    def __init__(self, listen: str, network: EmotionNetwork, keys: RingReader) -> None:
        self._has_microphone = listen != Listen.KEYBOARD
        self._has_keyboard = listen != Listen.MICROPHONE
        self._network = network
        self._network.reset()
        self._keys = keys
        self._key = np.zeros((), KEY_DTYPE)
        self._n_hops = 0
        self.extractor = FeatureExtractor()
        self.keyboard = KeyboardEar(reads_mood=not self._has_microphone)
        self.emotion = self.keyboard.emotion

    def push(self, hop: Float32) -> bool:
        """Take a hop, float32 [256]; True where a hop group is complete."""
        if self._has_microphone:
            return self.extractor.push(hop)
        self._n_hops = (self._n_hops + 1) % HOPS_PER_EMOTION_STEP
        return self._n_hops == 0

    def hear(self, now_s: float) -> None:
        """The group that ends at ``now_s``, seconds of the stream."""
        if self._has_microphone:
            self.emotion = self._network.step(self.extractor.features)
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
    def sounding(self) -> Float32:
        """Activations [88] that chords are heard in."""
        source = self.source
        return source.sounding if isinstance(source, KeyboardEar) else source.notes

    @property
    def presence(self) -> float:
        """Of what the mood is heard in, 0..1."""
        return self.extractor.presence if self._has_microphone else self.keyboard.presence

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
        return max(self.extractor.level_db, self.keyboard.level_db)
