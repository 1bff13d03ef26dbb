"""The latency of the voice path, computed from the delay of each part.

One table, one sum: ``kelly-edge check`` prints it, and tests measure it to the sample, dry and wet, through
every stage. Of the wet sound it is the middle of the change: a click, a step of level or a glide comes out
late by this much on average, since where in a hop it falls moves it by up to 6 samples. A decoder's own
memory is not in it: what a voice does with what it hears, as a bow or a breath does, is its sound."""

from collections.abc import Sequence
from dataclasses import dataclass

from kelly_edge.config import AudioSettings
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.limiter import Limiter
from kelly_edge.signal.resampling import delay_s


@dataclass(frozen=True)
class LatencyPart:
    """What one part of the path adds, in samples at ``SAMPLE_RATE_HZ``."""

    part: str
    samples: int

    @property
    def ms(self) -> float:
        """The same in milliseconds."""
        return 1_000.0 * self.samples / SAMPLE_RATE_HZ


def algorithmic_latency(voice_delay_samples: int) -> tuple[LatencyPart, ...]:
    """What the instrument itself adds between a sample heard and the sample it answers with.

    Parameters
    ----------
    voice_delay_samples: delay of the analysis and the voice after a whole hop is there.
    """
    return (
        LatencyPart("hop", HOP_SIZE),
        LatencyPart("analysis and voice", voice_delay_samples),
        LatencyPart("limiter", Limiter.delay_samples),
    )


def pitch_latency(tracker_delay_samples: int) -> tuple[LatencyPart, ...]:
    """What lies between a change of pitch heard and the same change played: the tracker looks further back.

    Parameters
    ----------
    tracker_delay_samples: age of the middle of what the pitch is measured on.
    """
    return (
        LatencyPart("hop", HOP_SIZE),
        LatencyPart("pitch tracker", tracker_delay_samples),
        LatencyPart("limiter", Limiter.delay_samples),
    )


def card_latency(audio: AudioSettings) -> LatencyPart:
    """What the card's playback buffer adds, in samples at the instrument's rate."""
    frames = audio.period * audio.n_periods
    return LatencyPart("playback buffer", round(frames * SAMPLE_RATE_HZ / audio.sample_rate_hz))


def rate_latency(audio: AudioSettings) -> tuple[LatencyPart, ...]:
    """What a card at another rate adds: both resamplers, and the period they keep ready to be played."""
    rate_hz = audio.sample_rate_hz
    if rate_hz == SAMPLE_RATE_HZ:
        return ()
    resamplers_s = delay_s(rate_hz) + delay_s(SAMPLE_RATE_HZ)
    return (
        LatencyPart("resamplers", round(resamplers_s * SAMPLE_RATE_HZ)),
        LatencyPart("resamplers' buffer", round(audio.period * SAMPLE_RATE_HZ / rate_hz)),
    )


def total_samples(parts: Sequence[LatencyPart]) -> int:
    """The sum of the parts."""
    return sum(part.samples for part in parts)
