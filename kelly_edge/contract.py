"""The numbers and records every side agrees on: training, the box and the plug-in.

Changing a value here changes what a trained model means, so each has one home.
Conventions: sizes are in samples at ``SAMPLE_RATE_HZ`` unless the name says otherwise;
times are seconds since the start of the stream; valence and arousal run from -1 to 1
(Russell's circumplex); records are numpy structured dtypes so that a ring or a cell
can hold them as plain bytes.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Final

import numpy as np

# --- the clock of the instrument -------------------------------------------------------
SAMPLE_RATE_HZ: Final = 48_000
"""The instrument always runs at this rate; cards and files at others are resampled. Chosen: the rate of
USB audio and of most cards; its hop is a whole number of samples of every period."""
PERIOD_SIZES: Final = (64, 128, 256)
"""ALSA periods the box may be set to, in frames; each divides ``HOP_SIZE``. Chosen: 1.3 to 5.3 ms.
Measured round trips of 4.0, 5.3 and 10.7 ms, with 1, 0 and 0 xruns in 30 s (jackd dummy driver,
real-time priority, a busy machine)."""
HOP_SIZE: Final = 256
"""One hop: 5.33 ms. Pitch, loudness and the voice's controls advance once per hop. Chosen: the longest
period, so that each period of a card fits into one hop."""
HOPS_PER_EMOTION_STEP: Final = 16
"""One hop group: 85.3 ms. Features and the emotion network advance once per group. Chosen: about 12 steps
per second follow a mood closely, and cost little."""
HOP_RATE_HZ: Final = SAMPLE_RATE_HZ / HOP_SIZE
EMOTION_RATE_HZ: Final = HOP_RATE_HZ / HOPS_PER_EMOTION_STEP
GROUP_S: Final = 1.0 / EMOTION_RATE_HZ
N_PITCH_CLASSES: Final = 12
"""Semitones of an octave in equal temperament."""
N_CHORDS: Final = 24
"""Major and minor triads: 2 * root + (0 major, 1 minor), see ``kelly_edge.harmony.chords``. By definition:
two qualities on each pitch class."""

# --- words that travel as numbers ------------------------------------------------------


class Mode(IntEnum):
    """Of a key, in records."""

    UNKNOWN = -1
    MINOR = 0
    MAJOR = 1


class BuiltIn(IntEnum):
    """The programmes every box has (``kelly_edge.emotion.programme``); those of files follow."""

    MIRROR = 0
    ISO = 1
    HOLD = 2


PROGRAMMES: Final = tuple(programme.name.lower() for programme in BuiltIn)
"""The same as settings and logs name them, by number."""


class SessionState(IntEnum):
    """Where a session stands, for the composer."""

    ON = 0
    WAITING = 1  # for somebody to play: the next one begins then, and until then no clock of a programme runs
    ENDED = 2  # by a hand: the music comes to its end, then silence until one is begun


class Rung(IntEnum):
    """The ladder of a late composer, best first: how a bar was made."""

    FULL = 0
    SHORT_CONTEXT = 1
    CONTINUATION = 2
    REST = 3


RUNGS: Final = tuple(rung.name.lower() for rung in Rung)
"""Rungs as logs and counters name them, by number."""


class Role(StrEnum):
    """What the box does beside the player."""

    ACCOMPANY = "accompany"
    ANSWER = "answer"  # silent while they play, and in their pauses as long as their phrase
    TOGETHER = "together"  # as accompany, but as dense as the mood asks
    LEAD = "lead"  # its own tempo and chords, through their pauses too


ROLES: Final = tuple(role.value for role in Role)
"""Roles as settings and programmes name them."""


class Listen(StrEnum):
    """What the player is heard by."""

    MICROPHONE = "microphone"
    KEYBOARD = "keyboard"  # the notes of a MIDI keyboard; no sound card is opened
    BOTH = "both"  # beat, bar, chord and key by the keyboard while it is played, the mood by the microphone


LISTEN: Final = tuple(way.value for way in Listen)
"""The same as settings name them."""

# --- the emotion path ------------------------------------------------------------------
N_FEATURES: Final = 128
"""Inputs of the emotion network; the table is ``kelly_edge.emotion.features.FEATURES``. Chosen: the width
that the network was designed with; the table fills it exactly."""
N_EMOTION: Final = 64
"""Outputs of the emotion network; the table is ``kelly_edge.emotion.vector.EMOTION_VECTOR``. Chosen: the
width that the network was designed with; the table fills it exactly."""
QUADRANTS: Final = ("Q1", "Q2", "Q3", "Q4")
"""Q1 happy (+v +a), Q2 angry (-v +a), Q3 sad (-v -a), Q4 calm (+v -a); EMOPIA's order."""

# --- the voice path --------------------------------------------------------------------
F0_MIN_HZ: Final = 41.2
"""E1, the lowest string of a double bass. Pitch of equal temperament at A = 440 Hz (ISO 16)."""
F0_MAX_HZ: Final = 2_093.0
"""C7. Pitch of equal temperament at A = 440 Hz (ISO 16); chosen: the top of a flute's usual range."""
# Chosen, counts of bands: 64 harmonics reach 11 kHz from 170 Hz; 65 noise bands are those of DDSP (Engel et
# al., 2020).
N_HARMONICS: Final = 64
N_NOISE_BANDS: Final = 65

# --- records ---------------------------------------------------------------------------
HEARD_DTYPE: Final = np.dtype(
    [
        ("time_s", "<f8"),  # stream time of the newest sample used
        ("group", "<u4"),  # number of the hop group since dsp began, from 0
        ("valence", "<f4"),
        ("arousal", "<f4"),
        ("confidence", "<f4"),  # 0..1: how far the emotion may be trusted
        ("posterior", "<f4", (4,)),  # over QUADRANTS, sums to 1
        ("emotion", "<f4", (N_EMOTION,)),  # the whole emotion vector
        ("tonic", "<i1"),  # pitch class 0..11 (C = 0), -1 unknown
        ("mode", "<i1"),  # Mode
        ("chroma", "<f4", (N_PITCH_CLASSES,)),  # share of each pitch class now, C first; zeros: none
        ("tempo_bpm", "<f4"),  # 0 unknown
        ("density_hz", "<f4"),  # note onsets per second
        ("level_db", "<f4"),  # dBFS, RMS of the last hop group
        ("presence", "<f4"),  # 0 silence, noise, speech .. 1 music
        ("f0_hz", "<f4"),
        ("f0_confidence", "<f4"),
        ("chord", "<i1"),  # 2 * root + (0 major, 1 minor), -1 none
        ("chord_confidence", "<f4"),  # 0..1: probability of that chord
        ("highest", "<f4"),  # highest key that sounds, MIDI note, mean of 0.4 s; 0 none
        ("chord_belief", "<f4", (N_CHORDS + 1,)),  # of every chord and, last, of none; sums to 1, or zeros
        ("beat_phase", "<f4"),  # 0..1 within the beat at time_s, 0 on it
        ("beat_s", "<f4"),  # seconds from beat to beat, 0 where none is believed
        ("beat_confidence", "<f4"),  # 0..1
        ("bar_phase", "<f4"),  # 0..1 within the bar at time_s, 0 at the downbeat
        ("n_beats", "<i1"),  # beats of the bar: 3, 4 or 6
        ("melody", "<u1"),  # MIDI note of the melody that sounds, 0 none
        ("melody_number", "<u1"),  # notes of it begun so far, modulo 256
        ("melody_age_s", "<f4"),  # how old the last one's onset was when it was told
        ("room_drr_db", "<f4"),  # direct-to-reverberant ratio, about 12 in a dry place
        ("room_rt60_s", "<f4"),  # seconds until reverberation has fallen by 60 dB
        ("room_snr_db", "<f4"),  # music over noise
        ("room_arousal", "<f4"),  # half log odds added to arousal for that room
        ("place_offset", "<f4"),  # half log odds added to arousal for what was learned here
        ("place_arousal", "<f4"),  # half log odds, mean over the music heard here
        ("place_minutes", "<f4"),  # of music heard here, as far as it is remembered
    ]
)
"""What the instrument hears, once per hop group: the ``heard`` ring and cell."""
KEY_DTYPE: Final = np.dtype(
    [
        ("time_s", "<f8"),  # seconds of the stream
        ("pitch", "u1"),  # MIDI note 0..127
        ("velocity", "u1"),  # 1..127 struck; 0: it sounds no longer, the pedal considered
    ]
)
"""A key of the player's keyboard: the ``keys`` ring."""
EVERY_KEY: Final = 255
"""In place of a pitch: none sounds any longer. Our own format; MIDI notes end at 127."""
PRESENT: Final = 0.5
"""Presence from which somebody plays. Chosen by hand: half."""
PLAYING: Final = 0.35
"""Presence from which music begins, and a session by itself: soft playing counts. Chosen by hand."""

ATTENDED_DTYPE: Final = np.dtype(
    [
        ("valence", "<f2"),
        ("arousal", "<f2"),
        ("confidence", "<f2"),
        ("tonic", "<i1"),
        ("mode", "<i1"),
        ("chroma", "<f2", (N_PITCH_CLASSES,)),
        ("tempo_bpm", "<f2"),
        ("density_hz", "<f2"),
        ("level_db", "<f2"),
        ("presence", "<f2"),
        ("highest", "<f2"),
        ("chord_belief", "<f2", (N_CHORDS + 1,)),
        ("beat_phase", "<f4"),
        ("beat_s", "<f4"),
        ("beat_confidence", "<f2"),
        ("bar_phase", "<f4"),
        ("n_beats", "<i1"),
        ("melody", "<u1"),
        ("melody_number", "<u1"),
        ("melody_age_s", "<f2"),
    ]
)
"""What the composer attends to of ``HEARD_DTYPE``, as precisely as the session log keeps it
(``kelly_edge.music.attention``)."""

KNOBS_DTYPE: Final = np.dtype(
    [
        ("valence", "<f4"),  # -1..1, added to the target
        ("arousal", "<f4"),  # -1..1, added to the target
        ("density", "<f4"),  # -1..1, thinner to denser
        ("dry_wet", "<f4"),  # 0 dry .. 1 wet
        ("brightness", "<f4"),  # -1..1, spectral tilt of the voice
        ("octave", "<i1"),  # -2..2, octave shift of the voice
        ("voice", "<i1"),  # index into the configured voices
        ("programme", "<i1"),  # BuiltIn, then those of the settings' files
        ("n_panics", "<u4"),  # a count: a change is a panic, asked for at a controller
        ("n_sessions", "<u4"),  # a count: a change begins a new session
        ("n_resumes", "<u4"),  # a count: a change ends the silence of a panic
        ("n_marks", "<u4"),  # a count: a change is a moment marked in the session log
        ("session", "<i1"),  # SessionState
        ("volume_db", "<f4"),  # -40..0, of notes and voice
        ("mute", "<i1"),  # 1: neither notes nor voice
        ("loudest", "<u1"),  # 1..127, no note has a higher velocity; 0 before it is set
        ("n_places", "<u4"),  # a count: a change forgets what was learned of the place
    ]
)
"""What a person set by hand: the ``knobs`` cell."""
KNOB_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    "density": (-1.0, 1.0),
    "dry_wet": (0.0, 1.0),
    "brightness": (-1.0, 1.0),
    "octave": (-2.0, 2.0),
    "voice": (0.0, 126.0),
    "volume_db": (-40.0, 0.0),
    "mute": (0.0, 1.0),
    "loudest": (1.0, 127.0),
}
"""What a hand may turn of them, and its limits. Voices end where the settings' names end. Definition of the
knobs."""
WHOLE_KNOBS: Final = ("octave", "voice", "mute", "loudest")
"""These move by whole numbers."""
GRID_DIGITS: Final = 6
"""Decimals to which a knob moved by steps is rounded, so that as many steps back lead to the same value.
Chosen by hand."""
BUTTONS: Final[Mapping[str, str]] = {
    "panic": "n_panics", "resume": "n_resumes", "session": "n_sessions", "stop": "session", "mark": "n_marks",
}  # fmt: skip
"""What a hand may press, and the knob that tells of it."""

NOTE_DTYPE: Final = np.dtype(
    [
        ("onset_s", "<f8"),  # musical time, seconds of the stream
        ("due_s", "<f8"),  # when it must leave the box: onset less the latency compensation
        ("duration_s", "<f4"),
        ("pitch", "<u1"),  # MIDI note 0..127
        ("velocity", "<u1"),  # 1..127; 0: from due_s on no note sent before sounds or begins
        ("channel", "<u1"),  # 0..15
        ("rung", "<u1"),  # Rung: how it was made
        ("bar", "<u4"),  # number of the bar it belongs to
    ]
)
"""A note event: what the ``notes`` ring carries from composer to midi."""
