"""Judge the pitch tracker beside others: ``python -m models.timbre.pitch_evaluate [--json]``.

The box's tracker, pYIN (librosa), yinfft (aubio) and swift-f0 hear the same sounds of known pitch
(``models.timbre.pitch_sounds``), clean and in white noise of the same power, each at its own defaults and
with its own delay taken off. For each: the median error in cents; the share within 50 cents (mir_eval's raw
pitch accuracy: a hop that has no pitch is wrong), over all voiced hops and over the *settled* ones, from
which the pitch was within 50 cents for a long window's half to both sides; voicing recall and false alarm
(mir_eval) over the lines, which have rests; and what a hop costs on this machine. With 95 % intervals by
bootstrap over sounds.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import librosa
import mir_eval
import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from kelly_edge.contract import F0_MAX_HZ, F0_MIN_HZ, HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command
from kelly_edge.signal.pitch import LONG, PitchTracker
from models.timbre.pitch_sounds import CURVES, PLAYERS, KnownSound, known_sounds, noisy

Float64 = NDArray[np.float64]
# Chosen: the default of the voice's gate; cents as in mir_eval's raw pitch accuracy (Raffel et al., 2014);
# bootstrap as elsewhere.
VOICED: Final = 0.5
NEAR_CENTS: Final = 50.0
N_BOOTSTRAP: Final = 1_000
WINDOW: Final = 4_096
"""Of the trackers that take one: two periods of the lowest note, as the box's long window. Chosen for that
reason."""
# Samples, and samples per second. Chosen: librosa's default hop; swift-f0 hears at 16 kHz by definition.
PYIN_HOP: Final = 512
SWIFT_RATE_HZ: Final = 16_000
SETTLED: Final = LONG
"""Samples to both sides: half the long window, at 48 kHz."""


@dataclass(frozen=True)
class Heard:
    """What a tracker said: times [n] in seconds, f0 [n] (0: none), voiced [n], seconds a hop took."""

    times_s: Float64
    f0_hz: Float64
    voiced: NDArray[np.bool_]
    hop_s: float


def box(sound: NDArray[np.float32]) -> Heard:
    """The box's own, hop by hop."""
    tracker = PitchTracker()
    rows = np.zeros((len(sound) // HOP_SIZE, 3))
    start = time.perf_counter()
    for i in range(len(rows)):
        tracker.push(sound[i * HOP_SIZE : (i + 1) * HOP_SIZE])
        rows[i] = tracker.f0_hz, tracker.confidence, tracker.age_samples
    hop_s = (time.perf_counter() - start) / len(rows)
    ends = (np.arange(len(rows)) + 1) * HOP_SIZE - 1
    # After a change of window an older reading does not undo a younger one.
    times_s = np.maximum.accumulate(ends - rows[:, 2]) / SAMPLE_RATE_HZ
    return Heard(times_s, rows[:, 0], rows[:, 1] >= VOICED, hop_s)


def pyin(sound: NDArray[np.float32]) -> Heard:
    """pYIN over the whole sound at once: it looks ahead to its end."""
    start = time.perf_counter()
    f0_hz, voiced, _ = librosa.pyin(
        sound, fmin=F0_MIN_HZ, fmax=F0_MAX_HZ, sr=SAMPLE_RATE_HZ, frame_length=WINDOW, hop_length=PYIN_HOP,
        fill_na=None,
    )  # fmt: skip
    hop_s = (time.perf_counter() - start) / len(f0_hz)
    times_s = librosa.times_like(f0_hz, sr=SAMPLE_RATE_HZ, hop_length=PYIN_HOP)
    return Heard(times_s, f0_hz, voiced, hop_s)


def aubio_yinfft(sound: NDArray[np.float32]) -> Heard:
    """aubio's default method, hop by hop."""
    import aubio

    tracker = aubio.pitch("yinfft", WINDOW, HOP_SIZE, SAMPLE_RATE_HZ)
    rows = np.zeros((len(sound) // HOP_SIZE, 2))
    start = time.perf_counter()
    for i in range(len(rows)):
        rows[i] = tracker(sound[i * HOP_SIZE : (i + 1) * HOP_SIZE])[0], tracker.get_confidence()
    hop_s = (time.perf_counter() - start) / len(rows)
    ends = (np.arange(len(rows)) + 1) * HOP_SIZE
    return Heard((ends - WINDOW / 2) / SAMPLE_RATE_HZ, rows[:, 0], rows[:, 1] >= VOICED, hop_s)


def swift(sound: NDArray[np.float32]) -> Heard:
    """swift-f0 over the whole sound at once, on one thread."""
    import swift_f0

    detector = swift_f0.SwiftF0(threads=1)
    start = time.perf_counter()
    at_16 = soxr.resample(sound, SAMPLE_RATE_HZ, SWIFT_RATE_HZ)
    result = detector.detect(at_16, SWIFT_RATE_HZ)
    hop_s = (time.perf_counter() - start) / len(result.pitch_hz)
    return Heard(result.timestamps, result.pitch_hz, result.confidence >= VOICED, hop_s)


TRACKERS: Final[dict[str, Callable[[NDArray[np.float32]], Heard]]] = {
    "box": box,
    "pyin": pyin,
    "aubio_yinfft": aubio_yinfft,
    "swift_f0": swift,
}


@dataclass(frozen=True)
class Judged:
    """One sound heard by one tracker, on the box's hops: reference and estimate [n], and a hop's cost."""

    kind: str
    reference_hz: Float64
    settled: NDArray[np.bool_]
    f0_hz: Float64
    voiced: NDArray[np.bool_]
    hop_s: float

    @property
    def cents(self) -> Float64:
        """Distance at voiced hops; infinite where no pitch was found."""
        at = self.reference_hz > 0.0
        with np.errstate(divide="ignore"):
            return np.asarray(np.abs(1_200.0 * np.log2(self.f0_hz[at] / self.reference_hz[at])))


def judge(known: KnownSound, sound: Float64, tracker: Callable[[NDArray[np.float32]], Heard]) -> Judged:
    """``sound`` (``known``'s, maybe in noise) heard, and laid on the reference."""
    # Silence after it, for trackers that look back and answer late; none of it is judged.
    padded = np.concatenate([sound, np.zeros(2 * WINDOW)]).astype(np.float32)
    heard = tracker(padded)
    at = np.arange(SETTLED, len(sound), HOP_SIZE)
    nearest = np.abs(np.searchsorted(0.5 * (heard.times_s[1:] + heard.times_s[:-1]), at / SAMPLE_RATE_HZ))
    octaves = np.log2(np.where(known.f0_hz > 0.0, known.f0_hz, 1.0))
    span = 2 * SETTLED + 1
    moved = maximum_filter1d(octaves, span, mode="nearest") - minimum_filter1d(octaves, span, mode="nearest")
    judged = np.isfinite(known.f0_hz[at])
    at, nearest = at[judged], nearest[judged]
    f0_hz = np.where(np.isfinite(heard.f0_hz), heard.f0_hz, 0.0)[nearest]
    settled = (moved[at] < NEAR_CENTS / 1_200.0) | (known.kind in CURVES)
    return Judged(
        known.kind, known.f0_hz[at], settled, f0_hz, heard.voiced[nearest] & (f0_hz > 0.0), heard.hop_s
    )


def _within(judged: Judged, chosen: NDArray[np.bool_]) -> tuple[float, float]:
    """mir_eval's raw pitch accuracy of the hops chosen, and their number."""
    reference = np.where(chosen, judged.reference_hz, 0.0)
    cents = [mir_eval.melody.hz2cents(np.asarray(hz, np.float64)) for hz in (reference, judged.f0_hz)]
    voicing = (reference > 0.0).astype(float)
    n = float(voicing.sum())
    if not n:
        return 0.0, 0.0
    estimated = judged.voiced.astype(float)
    return n * mir_eval.melody.raw_pitch_accuracy(voicing, cents[0], estimated, cents[1], NEAR_CENTS), n


def _score(some: Sequence[Judged]) -> dict[str, float]:
    """The numbers of sounds taken together."""
    cents = np.concatenate([j.cents for j in some])
    settled = np.array([_within(j, j.settled) for j in some]).sum(axis=0)
    everywhere = np.array([_within(j, np.ones(len(j.f0_hz), bool)) for j in some]).sum(axis=0)
    lines = [j for j in some if j.kind in PLAYERS]
    scores = {
        "median_cents": float(np.median(cents)),
        "within_50": settled[0] / settled[1],
        "within_50_all": everywhere[0] / everywhere[1],
    }
    if lines:
        reference = np.concatenate([j.reference_hz > 0.0 for j in lines]).astype(float)
        voiced = np.concatenate([j.voiced for j in lines]).astype(float)
        recall, false_alarm = mir_eval.melody.voicing_measures(reference, voiced)
        scores |= {"voicing_recall": float(recall), "voicing_false_alarm": float(false_alarm)}
    return scores


def _with_intervals(some: Sequence[Judged]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    value = _score(some)
    draws: dict[str, list[float]] = {name: [] for name in value}
    n = len(some)
    for _ in range(N_BOOTSTRAP if n > 1 else 0):
        for name, drawn in _score([some[i] for i in rng.integers(0, n, n)]).items():
            draws.setdefault(name, []).append(drawn)
    return {
        name: {
            "value": round(v, 4),
            "ci95": [round(float(p), 4) for p in np.percentile(draws[name], [2.5, 97.5])] if n > 1 else None,
        }
        for name, v in value.items()
    }


def evaluate(kinds: frozenset[str] | None, trackers: Sequence[str]) -> dict[str, Any]:
    """Scores by tracker and condition. Raises KellyError."""
    sounds = list(known_sounds(kinds))
    result: dict[str, Any] = {
        "sounds": len(sounds),
        "seconds": round(sum(len(s.sound) for s in sounds) / SAMPLE_RATE_HZ, 1),
        "hop_ms": 1_000.0 * HOP_SIZE / SAMPLE_RATE_HZ,
    }
    for name in trackers:
        try:
            judge(sounds[0], sounds[0].sound, TRACKERS[name])  # compiles, loads
        except ImportError as error:
            raise DataError(
                f"{name} is not installed ({error}); pip install it, or choose with --tracker"
            ) from None
        for condition in ("clean", "0 dB"):
            judged = []
            for seed, known in enumerate(sounds):
                sound = known.sound if condition == "clean" else noisy(known.sound, seed + 100)
                judged.append(judge(known, sound, TRACKERS[name]))
            cell = _with_intervals(judged)
            cell["by_kind"] = {
                kind: {k: round(v, 4) for k, v in _score([j for j in judged if j.kind == kind]).items()}
                for kind in dict.fromkeys(j.kind for j in judged)
            }
            cell["cost_us"] = round(1e6 * float(np.median([j.hop_s for j in judged])), 1)
            result.setdefault(name, {})[condition] = cell
    return result


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['sounds']} sounds, {result['seconds']} s"]
    for name in TRACKERS:
        for condition, cell in result.get(name, {}).items():
            lines.append(f"{name}, {condition}: {cell['cost_us']} us a hop of its own")
            for key, number in cell.items():
                if isinstance(number, dict) and "value" in number:
                    kinds = "  ".join(f"{k} {v[key]:.3f}" for k, v in cell["by_kind"].items() if key in v)
                    lines.append(f"  {key:20} {number['value']:8.3f}  95 % {number['ci95']}   {kinds}")
    return "\n".join(lines)


@command("models.timbre.pitch_evaluate", KellyError)
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(
        prog="python -m models.timbre.pitch_evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--kind", action="append", choices=[*CURVES, *PLAYERS], help="of sounds (default: all)"
    )
    parser.add_argument("--tracker", action="append", choices=TRACKERS, help="default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    result = evaluate(frozenset(args.kind) if args.kind else None, args.tracker or list(TRACKERS))
    print(json.dumps(result) if args.json else _table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
