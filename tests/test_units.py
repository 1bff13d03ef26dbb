"""Conversions against known values."""

import numpy as np
import pytest

from kelly_edge.units import clamp, db_to_gain, gain_to_db, hz_to_midi, midi_to_hz


def test_notes_and_frequencies() -> None:
    assert midi_to_hz(69.0) == 440.0
    assert hz_to_midi(261.6256) == pytest.approx(60.0, abs=1e-5)
    np.testing.assert_allclose(hz_to_midi(midi_to_hz(np.arange(128.0))), np.arange(128.0), atol=1e-9)


def test_decibels() -> None:
    assert db_to_gain(-20.0) == pytest.approx(0.1)
    assert gain_to_db(0.0) == -120.0
    assert gain_to_db(db_to_gain(-6.0)) == pytest.approx(-6.0)


def test_clamp_holds_within_the_limits() -> None:
    assert (clamp(5, 0, 3), clamp(-5, 0, 3), clamp(2, 0, 3)) == (3, 0, 2)
