"""What the programmes promise, end to end: a piece is led to the goal, and what is played is heard so.

The pieces are our own, rendered through a piano's sound font, as what is played back is.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_py.board.map import Board
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance
from kelly_edge.contract import EMOTION_RATE_HZ, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from kelly_edge.music.sampling import MAJOR_THIRD, MINOR_THIRD
from models.composer.judge import KRUMHANSL_MAJOR, KRUMHANSL_MINOR
from models.emotion.data import font_path
from models.therapy import LAMENT, SONG, Piece, by_model, heard_in, played, rendered

SECONDS, LAST_S = 150.0, 50.0
LEAD_IN_S = 12.0
"""Heard before, so that the model knows what it hears."""
SOON = {"programme": "iso", "iso_match_s": 25.0, "iso_rate_per_min": 2.0}
TO_JOY = {**SOON, "goal_valence": 0.6, "goal_arousal": -0.2}
TO_SORROW = {**SOON, "goal_valence": -0.6, "goal_arousal": -0.3}

HARMONIC_MINOR, MAJOR_SCALE = (0, 2, 3, 5, 7, 8, 11), (0, 2, 4, 5, 7, 9, 11)
"""Semitones above the tonic."""
Moves = dict[str, float | str]
Sound = Callable[[Piece], NDArray[np.float32]]


def key_of(pitches: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[int, str]:
    """Tonic (pitch class) and mode whose Krumhansl profile fits best."""
    heard = np.bincount(pitches % 12, weights, minlength=12)
    fits = {
        (tonic, mode): float(np.corrcoef(np.roll(profile, tonic), heard)[0, 1])
        for mode, profile in (("major", KRUMHANSL_MAJOR), ("minor", KRUMHANSL_MINOR))
        for tonic in range(12)
    }
    return max(fits, key=lambda key: fits[key])


def last_key(performance: Performance) -> tuple[int, str]:
    last = performance.notes[performance.notes["onset_s"] >= SECONDS - LAST_S]
    return key_of(last["pitch"].astype(int), np.minimum(last["duration_s"], 2.0).astype(float))


def heard_last(models: Models, performance: Performance, path: Path) -> tuple[float, float]:
    """Mean valence and arousal that the shipped model hears in the last ``LAST_S`` when it is played back."""
    begin_s = SECONDS - LAST_S - LEAD_IN_S
    notes = performance.notes[performance.notes["onset_s"] >= begin_s].copy()
    notes["onset_s"] -= begin_s
    estimates = by_model(notes, models, LEAD_IN_S + LAST_S, path.parent)
    valence, arousal = estimates[round(LEAD_IN_S * EMOTION_RATE_HZ) :].mean(axis=0)
    return float(valence), float(arousal)


def with_seed(seed: int, **emotion: float | str) -> Settings:
    settings = Settings()
    return replace(
        settings,
        emotion=replace(settings.emotion, **emotion),  # type: ignore[arg-type]
        composer=replace(settings.composer, seed=seed),
    )


@pytest.fixture(scope="module")
def sound_of(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """``SECONDS`` of a piece, as sound."""
    if shutil.which("fluidsynth") is None:
        pytest.skip("fluidsynth is not installed; apt install fluidsynth")
    try:
        font_path("fluid")
    except DataError as error:
        pytest.skip(str(error))

    def sound(piece: Piece) -> NDArray[np.float32]:
        samples = rendered(played(piece, SECONDS), tmp_path_factory.mktemp("piece") / "piece.mid")
        return samples[: round(SECONDS * SAMPLE_RATE_HZ)]

    return sound


class Hearing:
    """A ``dsp`` that hears again what one before it ``heard``: the same for every seed of the composer."""

    def __init__(self, board: Board, heard: NDArray[Any]) -> None:
        self._ring, self._cell, self._capture = (
            board.rings["heard"],
            board.cells["heard"],
            board.rings["capture"],
        )
        self._heard, self._n_hops = heard, 0
        self._block = np.zeros(Settings().audio.period, np.float32)

    def step(self) -> None:
        while self._capture.read(self._block):
            continue
        self._n_hops += 1
        group, hop = divmod(self._n_hops, HOPS_PER_EMOTION_STEP)
        if hop == 0:
            self._ring.write(self._heard[group - 1])
            self._cell.write(self._heard[group - 1])


def answer(
    models: Models, sound: NDArray[np.float32], heard: NDArray[Any], seed: int, moves: Moves
) -> Performance:
    """What is played to a sound that was heard before."""
    offline = Offline(with_seed(seed, **moves), models, sound)
    hearing = Hearing(offline.board, heard)
    offline.turns = [
        replace(turn, stage=hearing) if turn.stage is offline.dsp else turn for turn in offline.turns
    ]
    return offline.run()


def arrives(models: Models, performance: Performance, moves: Moves, path: Path) -> bool:
    """Whether the end of the answer is heard where the programme leads."""
    valence, arousal = heard_last(models, performance, path)
    print(f"heard ({valence:+.2f}, {arousal:+.2f})")
    return valence > 0.2 and arousal < 0.3 if moves is TO_JOY else valence < -0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "moves", "mode"), [(LAMENT, TO_JOY, "major"), (SONG, TO_SORROW, "minor")], ids=["joy", "sorrow"]
)
def test_iso_leads_a_piece_to_the_goal_and_the_model_hears_it_there(
    models: Models, sound_of: Sound, tmp_path: Path, piece: Piece, moves: Moves, mode: str
) -> None:
    sound = sound_of(piece)
    heard = heard_in(sound, models, Settings())
    answers = [answer(models, sound, heard, seed, moves) for seed in range(10)]
    assert [last_key(performance)[1] for performance in answers] == [mode] * 10
    assert sum(arrives(models, played, moves, tmp_path / "played.mid") for played in answers) >= 8


def transposed(piece: Piece, semitones: int) -> Piece:
    """The piece so many semitones higher."""
    return replace(
        piece,
        chords={
            name: (low + semitones, a + semitones, b + semitones, c + semitones)
            for name, (low, a, b, c) in piece.chords.items()
        },
        melody=tuple(tuple((pitch + semitones, beats) for pitch, beats in bar) for bar in piece.melody),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "tonic", "scale"),
    [
        (LAMENT, 9, HARMONIC_MINOR),
        (transposed(LAMENT, -5), 4, HARMONIC_MINOR),
        (transposed(LAMENT, 5), 2, HARMONIC_MINOR),
        (transposed(LAMENT, 3), 0, HARMONIC_MINOR),
        (SONG, 0, MAJOR_SCALE),
        (transposed(SONG, -3), 9, MAJOR_SCALE),
    ],
    ids=["A minor", "E minor", "D minor", "C minor", "C major", "A major"],
)
def test_a_piece_that_is_mirrored_is_answered_in_its_own_key(
    models: Models, sound_of: Sound, piece: Piece, tonic: int, scale: tuple[int, ...]
) -> None:
    sound = sound_of(piece)[: round(60.0 * SAMPLE_RATE_HZ)]
    performance = Offline(with_seed(0, programme="mirror"), models, sound).run()
    last = performance.notes[performance.notes["onset_s"] >= 30.0]
    weights = np.bincount((last["pitch"] - tonic) % 12, np.minimum(last["duration_s"], 2.0), minlength=12)
    shares = weights / weights.sum()
    assert shares[list(scale)].sum() > 0.95
    # A low tonic's fifth partial is the major third, which is not to be heard as a chord's.
    assert shares[MINOR_THIRD if scale is MAJOR_SCALE else MAJOR_THIRD] < 0.01
