"""From the emotion network's words to the mood heard: music or not, a linear reading beside the network,
room, place and circumplex, as one stage.

Live, offline and in evaluation the same five parts take a hop group in the same order.
"""

import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.circumplex import Circumplex, EmotionEstimate, arousal_of, joint_log_odds
from kelly_edge.emotion.linear_reading import LinearReading
from kelly_edge.emotion.music_gate import MusicGate
from kelly_edge.emotion.place import Place
from kelly_edge.emotion.room import Room, RoomReading


class Mood:
    """Streaming; ``update`` gives the estimate of a hop group.

    Attributes
    ----------
    presence: of music, 0 .. 1. place: what was learned here.
    """

    def __init__(self, place: Place | None = None, uses_emopia: bool = True) -> None:
        """``uses_emopia``: read the features beside the network, and correct for the room. Both regressions
        were fitted on renderings of EMOPIA, so that the free set does without."""
        self._uses_emopia = uses_emopia
        self._music = MusicGate()
        self._room = Room()
        self._reading = LinearReading()
        self._circumplex = Circumplex()
        self.place = Place() if place is None else place
        self.presence = 0.0

    @property
    def room(self) -> RoomReading:
        """What the room is like."""
        return self._room.reading

    def update(
        self,
        emotion: NDArray[np.float32],
        features: NDArray[np.float32] | None,
        frames: NDArray[np.float32] | None,
        presence: float,
    ) -> EmotionEstimate:
        """Take the emotion vector [64], the features [128] it was read from (None: the network alone), the
        group's log mel frames [8, 27] (None: no room is heard) and the presence 0 .. 1 of sound."""
        self.presence = music = self._music.update(emotion, presence)
        if frames is not None and self._uses_emopia:
            self._room.push(frames, music)
        correction = self._room.reading.arousal
        odds = joint_log_odds(emotion)
        if features is not None and self._uses_emopia:
            odds = self._reading.update(features, odds)
        self.place.push(arousal_of(odds) + correction, music)
        return self._circumplex.push(odds, music, correction + self.place.offset)
