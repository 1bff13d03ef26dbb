"""``dsp``: hears and speaks. Features → emotion; f0 and loudness → voice."""

import numpy as np

from firmware_py.board.map import Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.ports import Clock
from firmware_py.processes.ears import Ears
from kelly_edge.contract import HEARD_DTYPE, HOP_SIZE, KNOBS_DTYPE, Listen
from kelly_edge.emotion.mood import Mood
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.place import Place, PlaceMemory
from kelly_edge.harmony.hearing import ChordTracker
from kelly_edge.rhythm.beat import BeatTracker
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.voice import Voice
from kelly_edge.units import clamp, db_to_gain

GAIN_STEP = 0.125
"""Most that the volume moves in a hop: 43 ms from one end to the other, so that a knob does not click. Chosen
by hand."""
RAMP = np.arange(1, HOP_SIZE + 1, dtype=np.float32) / HOP_SIZE


class DspStage:
    """One ``step()`` takes every period waiting; each full hop is analysed and answered.

    Parameters
    ----------
    listen: what the player is heard by (``ears.listen``).
    own_delay_s: see ``Ears``.

    Attributes
    ----------
    heard: the record of the newest hop group.
    """

    def __init__(
        self,
        ends: Ends,
        emotion_network: EmotionNetwork,
        voice: Voice,
        period: int,
        clock: Clock,
        place: Place | None = None,
        listen: str = Listen.MICROPHONE,
        uses_emopia: bool = True,
        own_delay_s: float | None = None,
    ) -> None:
        self._ends = ends
        self._capture = ends.ring_to_read("capture")
        self._playback = ends.ring_to_write("playback")
        self._heard_cell = ends.cell_to_write("heard")
        self._heard_cell_before = ends.cell_to_read("heard")
        self._heard_ring = ends.ring_to_write("heard")
        self._knobs_cell = ends.cell_to_read("knobs")
        self._telemetry = ends.cell_to_write("telemetry_dsp")
        self._clock = clock
        keys, own = ends.ring_to_read("keys"), ends.ring_to_read("own")
        self.ears = Ears(listen, emotion_network, keys, own, own_delay_s)
        self.extractor = self.ears.extractor
        self.chords = ChordTracker()
        self.tracker = PitchTracker()
        self.meter = LoudnessMeter()
        self.beat = BeatTracker()
        self.voice = voice
        self.mood = Mood(place, uses_emopia)
        self._hop = np.zeros(HOP_SIZE, np.float32)
        self._out = np.zeros(HOP_SIZE, np.float32)
        self._periods_in = list(self._hop.reshape(-1, period))
        self._periods_out = list(self._out.reshape(-1, period))
        self._n_filled = 0
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._gain = self._gain_asked = 1.0
        self._n_places: int | None = None
        self.heard = np.zeros((), HEARD_DTYPE)
        self.counters = new_counters("dsp")
        self._remember()

    def step(self) -> None:
        """Take the periods that wait; never waits itself."""
        while self._capture.read(self._periods_in[self._n_filled]):
            self._n_filled += 1
            if self._n_filled == len(self._periods_in):
                self._n_filled = 0
                self._answer_hop()

    def _answer_hop(self) -> None:
        hop, tracker, meter = self._hop, self.tracker, self.meter
        tracker.push(hop)
        meter.push(hop)
        self.voice.process(hop, self._out, tracker.f0_hz, tracker.confidence, meter.loudness_db)
        if self._gain != 1.0 or self._gain_asked != 1.0:
            self._turn_down()
        for block in self._periods_out:
            self._playback.write(block)
        self.counters["n_hops"] += 1
        if self.ears.push(hop, tracker.f0_hz, tracker.confidence):
            self._answer_group()

    def _answer_group(self) -> None:
        ears, heard, mood, now_s = self.ears, self.heard, self.mood, self._clock.now_s()
        ears.hear(now_s)
        source, emotion = ears.source, ears.emotion
        estimate = mood.update(emotion, ears.features, ears.room_frames, ears.presence)
        presence = ears.players(mood.presence)
        self.beat.push(ears.heard.frames, ears.heard.notes)
        heard["group"] = self.counters["n_emotion_steps"]
        self.counters["n_emotion_steps"] += 1
        heard["time_s"] = now_s
        heard["valence"] = estimate.valence
        heard["arousal"] = estimate.arousal
        heard["confidence"] = estimate.confidence
        heard["posterior"] = estimate.posterior
        heard["emotion"] = emotion
        heard["tonic"] = source.tonic
        heard["mode"] = source.mode
        heard["chroma"] = ears.heard.chroma
        heard["tempo_bpm"] = self._beat_bpm() if ears.tempo_bpm is None else ears.tempo_bpm
        heard["density_hz"] = source.density_hz
        heard["level_db"] = ears.level_db
        heard["presence"] = presence
        chords = self.chords
        chords.push(ears.sounding, source.tonic, source.mode, source.key_posterior, presence)
        heard["chord"], heard["chord_confidence"] = chords.chord, chords.confidence
        heard["highest"] = source.highest
        heard["chord_belief"] = chords.belief
        heard["f0_hz"] = self.tracker.f0_hz
        heard["f0_confidence"] = self.tracker.confidence
        self.beat.fill(heard)
        ears.melody.fill(heard)
        self._fill_place()
        self._heard_cell.write(heard)
        self._heard_ring.write(heard)
        if self._knobs_cell.read(self._knobs):
            self._turn_knobs()
        self._ends.count_drops(self.counters)
        self._telemetry.write(self.counters)

    def _beat_bpm(self) -> float:
        """The tempo of the beat believed, 0 unknown."""
        return 60.0 / self.beat.period_s if self.beat.confidence > 0.0 else 0.0

    def _turn_down(self) -> None:
        """One hop of the voice at the volume asked for, which is gone to in steps."""
        before = self._gain
        self._gain += clamp(self._gain_asked - before, -GAIN_STEP, GAIN_STEP)
        self._out *= before + (self._gain - before) * RAMP

    def _fill_place(self) -> None:
        """The room and the place, as they are heard now."""
        heard, room, place = self.heard, self.mood.room, self.mood.place
        heard["room_drr_db"], heard["room_rt60_s"] = room.drr_db, room.rt60_s
        heard["room_snr_db"], heard["room_arousal"] = room.snr_db, room.arousal
        heard["place_offset"] = place.offset
        heard["place_arousal"], heard["place_minutes"] = place.memory.arousal, place.memory.minutes

    def _remember(self) -> None:
        """Go on from the place that the dsp before this one knew, where the box did not start anew."""
        heard = np.zeros((), HEARD_DTYPE)
        if self._heard_cell_before.read(heard):
            memory = PlaceMemory(float(heard["place_minutes"]), float(heard["place_arousal"]))
            if memory.is_sane:
                self.mood.place.memory = memory

    def _turn_knobs(self) -> None:
        knobs, voice = self._knobs, self.voice
        n_places = int(knobs["n_places"])
        # The first count seen is no change: a dsp that starts again finds what was obeyed.
        if self._n_places is not None and n_places != self._n_places:
            self.mood.place.reset()
        self._n_places = n_places
        self._gain_asked = 0.0 if knobs["mute"] else db_to_gain(float(knobs["volume_db"]))
        voice.voice_index = int(knobs["voice"])
        voice.octave = int(knobs["octave"])
        voice.brightness = float(knobs["brightness"])
        voice.dry_wet = float(knobs["dry_wet"])
