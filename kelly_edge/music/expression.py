"""How an emotion is said within a mode and a form: by chords, register, loudness, and lines that step.

Each function gives weights (nats) for the tokens of a family, added to the network's logits. A network that
hears itself drifts: calm music grows softer than it was asked to be, and music sinks. Loudness and register
are therefore held to the means of people's clips, as EMOPIA's training split has them in each quadrant.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import (
    FAMILIES,
    PITCH,
    PITCH_LOW,
    UNKNOWN,
    VELOCITY,
    VELOCITY_STEP,
    GridNote,
)
from kelly_edge.music.form import tonic_chord
from kelly_edge.music.sampling import CHORD_BRIGHTNESS, Floats, pitches_in_key
from kelly_edge.music.target import Target

N_PITCHES: Final = FAMILIES[PITCH].size
N_VELOCITIES: Final = FAMILIES[VELOCITY].size
PITCH_TOKENS: Final = np.arange(N_PITCHES)

Recent = Sequence[Sequence[GridNote]]
"""Notes of the last bars, in C."""

STEPWISE, LEAP_COST = 1.0, 0.6
"""Nats added to pitches within a step of the melody's last, and taken from those a leap above it. Chosen
by hand, towards the share of steps in people's clips (.36)."""
STEP, LEAP, BELOW_MELODY = 2, 8, 9
"""Semitones of a step and of a leap; the distance below the melody's note from which a struck note is
accompaniment. Definition of a step; a leap is more than a fifth. Distance below the melody: chosen by
hand."""
HARMONY, TONIC_HARMONY, IN_KEY = 2.5, 1.0, 0.5
"""Log odds, times the valence: added to chords with a major third and taken from those with a minor third;
added to the tonic triad; added to the pitches of the key. People's happy and sad clips differ by these.
Chosen by hand after the difference in EMOPIA."""
TURNING: Final = 1.25
"""The same for a change of mode that is at hand: added to major chords in minor that becomes major (the
relative major's and the dominant), to minor chords in major that becomes minor. Chosen by hand: as much as
half a unit of valence (docs/decisions/0042)."""
MEAN_PITCH, PITCH_SLOPE = 62.0, 3.5
"""Mean pitch, and the increase per unit of valence times arousal: people's sad calm clips lie higher than
their happy calm ones (64, 61), their tense ones lower than their joyful ones (61, 62.5). MIDI notes;
measured on EMOPIA's training clips."""
CLIP_PITCH_SD: Final = 3.0
"""How far performances lie from that mean. Semitones; chosen by hand."""
HIGHER: Final = 0.07
"""Nats in favour of an octave higher, per semitone that the last bars lay too low. Chosen by
hand: an octave lower than asked weighs most of a nat."""
LOW_PITCH, LOW_SLOPE, DEEPER = 46.3, -6.2, 0.35
"""Pitch below which a tenth of the notes of people's clips lie at arousal 0, its increase per unit of arousal
(calm clips 49, excited ones 43: a low bass tells energy), and the nats taken from the pitches below it, per
semitone, where the music leads. MIDI notes; measured on EMOPIA's clips, the nats chosen by hand."""
USUAL_MELODY: Final = 72
"""MIDI note: C5. Chosen: where a piece begins its melody when none was played before."""
MEAN_VELOCITY, VELOCITY_SLOPE = 66.0, 21.0
"""Mean velocity at arousal 0, and the increase per unit of arousal: that of the calm and of the excited
clips of EMOPIA's training split (53, 78). Measured there."""
CLIP_VELOCITY_SD: Final = 6.0
"""How far performances lie from that mean. MIDI velocities; chosen by hand."""
LOUDER: Final = 0.09
"""Nats in favour of each louder velocity token, per token that the last bars were too soft.
Chosen by hand."""


def harmony(target: Target, mode: int) -> Floats:
    """Weights for each chord token: [n_chords]."""
    weights = (HARMONY * target.valence + TURNING * target.turning) * CHORD_BRIGHTNESS
    weights[tonic_chord(mode)] += TONIC_HARMONY * target.valence
    return weights.astype(np.float32)


def in_key(target: Target, chord: int, mode: int) -> Floats:
    """Weights for each pitch token, in a bar with ``chord``: [n_pitches]."""
    return (IN_KEY * target.valence * pitches_in_key(chord, mode)).astype(np.float32)


def louder(recent: Recent, target: Target, deviation: float) -> Floats:
    """Weights for each velocity token: [n_velocities]; ``deviation`` is the performance's own."""
    heard = [note.velocity for bar in recent for note in bar]
    if not heard:
        return np.zeros(N_VELOCITIES, np.float32)
    wanted = MEAN_VELOCITY + VELOCITY_SLOPE * target.arousal
    wanted += 0.0 if target.leads else CLIP_VELOCITY_SD * deviation
    missing = (wanted - sum(heard) / len(heard)) / VELOCITY_STEP
    return (LOUDER * missing * np.arange(N_VELOCITIES)).astype(np.float32)


def higher(recent: Recent, shift: int, target: Target, deviation: float) -> Floats:
    """Weights for each pitch token: [n_pitches]; played pitches lie ``shift`` above ``recent``."""
    heard = [note.pitch + shift for bar in recent for note in bar]
    if not heard:
        return np.zeros(N_PITCHES, np.float32)
    wanted = MEAN_PITCH + PITCH_SLOPE * target.valence * target.arousal
    wanted += 0.0 if target.leads else CLIP_PITCH_SD * deviation
    missing = wanted - sum(heard) / len(heard)
    octaves = (PITCH_TOKENS - PITCH_TOKENS.mean()) / 12.0
    return np.asarray(HIGHER * missing * octaves, np.float32)


def deep(shift: int, target: Target) -> Floats:
    """Weights for each pitch token: [n_pitches]; music that leads goes no deeper than its arousal does.

    A low bass is heard as energy, however soft and sparse the music is.
    """
    if not target.leads:
        return np.zeros(N_PITCHES, np.float32)
    lowest = LOW_PITCH + LOW_SLOPE * target.arousal
    pitches = PITCH_TOKENS - 1 + PITCH_LOW + shift
    return np.asarray(-DEEPER * np.maximum(lowest - pitches, 0.0), np.float32)


def melody_pitch(melody: int) -> int:
    """The pitch in C of a melody's token; the middle of the treble where there is none."""
    return melody - 1 + PITCH_LOW if melody != UNKNOWN else USUAL_MELODY


def melody_after(melody: int, top: int) -> int:
    """Pitch token of the melody after a chord whose highest is ``top`` (0: there was none)."""
    return top if top and top > melody - BELOW_MELODY else melody


def stepwise(melody: int) -> Floats:
    """Nats for each pitch token after a melody note: [n_pitches]. Lines that move by step are sung."""
    if not melody:
        return np.zeros(N_PITCHES, np.float32)
    distance = PITCH_TOKENS - melody
    near = STEPWISE * ((distance != 0) & (abs(distance) <= STEP))
    far = LEAP_COST * (distance >= LEAP)
    return np.asarray(near - far, np.float32)
