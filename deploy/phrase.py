"""The test phrase of the health check: 5 s of a bowed tone playing a minor phrase, made from nothing.

16-bit mono WAV at 48 kHz. No recording is shipped for it, so nobody has to be asked for one.
"""

import io
import math
import struct
import wave
from functools import cache
from typing import Final

RATE_HZ: Final = 48_000
"""Follows from ``contract.SAMPLE_RATE_HZ``: courier and instrument share no code for it."""
NOTES: Final = ((69, 0.8), (72, 0.4), (76, 0.8), (74, 0.4), (72, 0.6), (71, 0.6), (69, 1.2))
"""MIDI note and seconds. Chosen: a phrase in A minor that every release of ours answers."""
PARTIALS: Final = (0.6, 0.3, 0.18, 0.1, 0.06)
"""Amplitudes of the partials. Chosen by hand: about a plucked string."""
EDGE_S: Final = 0.03
"""Fade at both ends of a note. Chosen by hand: no click."""


@cache
def phrase_wav() -> bytes:
    """The phrase as a WAV file."""
    samples: list[int] = []
    for midi_note, length_s in NOTES:
        f0_hz = 440.0 * 2.0 ** ((midi_note - 69) / 12.0)
        n = round(length_s * RATE_HZ)
        for i in range(n):
            time_s = i / RATE_HZ
            edge = min(1.0, time_s / EDGE_S, (n - i) / RATE_HZ / EDGE_S)
            tone = sum(a * math.sin(2.0 * math.pi * f0_hz * (k + 1) * time_s) for k, a in enumerate(PARTIALS))
            samples.append(round(12_000 * edge * tone))
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return content.getvalue()
