"""Player and box on one grid of time, in the measures of music therapy.

The measures are those of the Music Therapy Toolbox (Erkkilä 2007; Lartillot, Toiviainen & Erkkilä): dynamics,
register, density, pulse, tonality and dissonance, each a mean over a few seconds. The player's come from
sound, the box's from its notes.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.course import Course
from firmware_py.report.pitch_classes import best_keys, dissonance
from kelly_edge.contract import N_PITCH_CLASSES, PRESENT

Float64 = NDArray[np.float64]
MOST_POINTS: Final = 7_200
"""Most points of the grid: one per second up to two hours, coarser for longer sessions. Chosen: the page of
an hour stays below half a megabyte."""
WINDOW_S: Final = 6.0
"""Chosen: the Music Therapy Toolbox takes means over some seconds (Erkkilä 2007)."""
KEY_WINDOW_S: Final = 15.0
"""Time over which a key is told, as by the box's ears. Chosen: as ``emotion.running_means.KEY_S``."""
CHORD_S: Final = 0.035
"""Notes nearer than this are one onset. Chosen: above the unevenness of a chord, below a fast note."""
LONGEST_WEIGHT_S: Final = 2.0
"""A held note counts no longer than this for register and pitch classes. Chosen by hand: strings of a
piano have decayed by then."""


@dataclass(frozen=True)
class Party:
    """One of the two: arrays [n] on the grid, not a number where it does not play or nothing is known.

    ``level_db``: of the player dBFS, of the box 40 log10(velocity / 127), General MIDI's recommendation.
    ``register``: mean pitch, MIDI note. ``density_hz``: onsets per second, chords count once. ``tempo_bpm``.
    ``tonality``: correlation with the best key's profile. ``dissonance``: 0..1. ``key``: 0..11 major tonics,
    12..23 minor ones.
    """

    level_db: Float64
    register: Float64
    density_hz: Float64
    tempo_bpm: Float64
    tonality: Float64
    dissonance: Float64
    key: Float64


@dataclass(frozen=True)
class Parties:
    """Both on the grid ``time_s``, seconds since ``start_s`` of the log.

    ``heard`` and ``asked``: valence and arousal, [n, 2]; ``leads``: 1 where the programme leads, 0 where it
    follows, not a number in logs that do not say.
    """

    start_s: float
    step_s: float
    time_s: Float64
    is_playing: NDArray[np.bool_]
    heard: Float64
    asked: Float64
    leads: Float64
    player: Party
    box: Party
    notes: Float64
    """The box's, in order, onset in seconds since ``start_s``."""

    @property
    def end_s(self) -> float:
        """How long the session is."""
        return len(self.time_s) * self.step_s


def meet(course: Course) -> Parties:
    """Put a session's columns on the grid."""
    emotions, notes, sounds, plans = (course.rows(n) for n in ("emotions", "notes", "sounds", "plans"))
    firsts = [rows[0, 0] for rows in (emotions, notes, sounds) if len(rows)]
    start_s = min(firsts, default=0.0)
    length_s = max(course.end_s - start_s, 1.0)
    step_s = max(1.0, length_s / MOST_POINTS)
    n = max(1, int(np.ceil(length_s / step_s)))
    time_s = (np.arange(n) + 0.5) * step_s
    for rows in (emotions, notes, sounds, plans):
        rows[:, 0] -= start_s
    held = _held(emotions, time_s)
    is_playing = held[:, 5] >= PRESENT
    plan = _held(plans, time_s)
    return Parties(
        start_s, step_s, time_s, is_playing, held[:, 1:3], held[:, 3:5], plan[:, 4],
        _player(held, sounds, is_playing, step_s),
        _box(notes, plan, n, step_s),
        notes,
    )  # fmt: skip


def _held(rows: Float64, time_s: Float64) -> Float64:
    """Each column's value at ``time_s``: that of the last row before; not a number before the first."""
    if not len(rows):
        return np.full((len(time_s), rows.shape[1]), np.nan)
    at = np.searchsorted(rows[:, 0], time_s, side="right") - 1
    values: Float64 = rows[np.maximum(at, 0)]
    values[at < 0] = np.nan
    return values


def smooth(values: Float64, n_window: int) -> Float64:
    """Mean over ``n_window`` points around each, along axis 0; values that are not numbers are left out."""
    kernel = np.ones(max(1, n_window))
    # numpy's "same" gives the longer one's length.
    first = (len(kernel) - 1) // 2

    def summed(column: Float64) -> Float64:
        return np.convolve(column, kernel)[first : first + len(column)]

    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    sums = np.stack([summed(np.where(known[:, i], flat[:, i], 0.0)) for i in range(flat.shape[1])], 1)
    counts = np.stack([summed(known[:, i].astype(float)) for i in range(flat.shape[1])], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0.5, sums / counts, np.nan).reshape(values.shape)


def _party(
    level_db: Float64,
    register: Float64,
    density_hz: Float64,
    tempo_bpm: Float64,
    chroma: Float64,
    step_s: float,
) -> Party:
    """Chroma: [n, 12], not a number where nothing sounds. All are smoothed here."""
    n_window, n_key = (round(window_s / step_s) for window_s in (WINDOW_S, KEY_WINDOW_S))
    tonality, key = best_keys(smooth(chroma, n_key))
    clash = dissonance(smooth(chroma, n_window))
    sounds = np.isfinite(smooth(chroma[:, 0], n_window))
    return Party(
        smooth(level_db, n_window), smooth(register, n_window), density_hz, tempo_bpm,
        np.where(sounds, tonality, np.nan), clash, np.where(sounds, key, np.nan),
    )  # fmt: skip


def _player(held: Float64, sounds: Float64, is_playing: NDArray[np.bool_], step_s: float) -> Party:
    def played(column: int) -> Float64:
        return np.where(is_playing, held[:, column], np.nan)

    n = len(held)
    level_db, register = played(8), np.full(n, np.nan)
    chroma = np.full((n, N_PITCH_CLASSES), np.nan)
    if len(sounds):
        at = np.clip(((sounds[:, 0] - 0.5) / step_s).astype(int), 0, n - 1)
        level_db = np.full(n, np.nan)
        level_db[at], register[at], chroma[at] = sounds[:, 1], sounds[:, 2], sounds[:, 3:]
    tempo_bpm = played(6)
    tempo_bpm[tempo_bpm <= 0.0] = np.nan
    party = _party(level_db, register, smooth(played(7), round(WINDOW_S / step_s)), tempo_bpm, chroma, step_s)
    # The key as the box's ears heard it, not as the sparser log tells it.
    return replace(party, key=_key(played(9), played(10)))


def _box(notes: Float64, plan: Float64, n: int, step_s: float) -> Party:
    onset, duration, pitch, velocity = notes[:, :4].T
    at = np.clip((onset / step_s).astype(int), 0, n - 1)
    weight = np.clip(duration, 0.05, LONGEST_WEIGHT_S)
    count = np.bincount(at, minlength=n).astype(float)
    weights = np.bincount(at, weight, n)
    chroma = np.bincount(
        at * N_PITCH_CLASSES + pitch.astype(int) % N_PITCH_CLASSES, weight, n * N_PITCH_CLASSES
    )
    db = 40.0 * np.log10(np.maximum(velocity, 1.0) / 127.0)
    is_first = np.r_[True, np.diff(onset) > CHORD_S] if len(onset) else np.zeros(0, bool)
    onsets = np.bincount(at[is_first], minlength=n) / step_s
    n_window = round(WINDOW_S / step_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        level_db, register = np.bincount(at, db, n) / count, np.bincount(at, weight * pitch, n) / weights
        chroma_by_s = chroma.reshape(n, -1) / np.where(weights > 0.0, 1.0, np.nan)[:, None]
    density_hz = smooth(onsets, n_window)
    plays = smooth(count, n_window) > 0.0
    tempo_bpm = np.where(plays & (plan[:, 3] > 0.0), plan[:, 3], np.nan)
    party = _party(level_db, register, np.where(plays, density_hz, np.nan), tempo_bpm, chroma_by_s, step_s)
    # The key that was composed in, where it was asked for; else the one that its notes fit best.
    key = np.where(np.isfinite(party.key), _key(plan[:, 1], plan[:, 2]), np.nan)
    return replace(party, key=np.where(np.isfinite(key), key, party.key))


def _key(tonic: Float64, mode: Float64) -> Float64:
    """Not a number where either is unknown."""
    return np.where((tonic >= 0.0) & (mode >= 0.0), tonic + N_PITCH_CLASSES * (1.0 - mode), np.nan)
