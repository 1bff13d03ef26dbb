"""Judge a voice: ``python -m models.timbre.evaluate --voice flute [--audio-dir DIR] [--json]``.

Recordings held out of training (or all of a folder given) are heard by the box's own analysis and answered
by the shipped model and the box's synthesiser at 48 kHz, gate open. Compared at 24 kHz, the rate of training:
multi-scale spectral loss; and the answer heard again by the analysis: f0 against the f0 asked for, loudness
against that of the recording. ``--checkpoint PT`` adds the float network, or with ``--config reference`` the
yardstick, on the same recordings, and how much higher the shipped voice's loss is. Means over
recordings (for f0: the median), with 95 % intervals by bootstrap over recordings.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from firmware_py.runtimes.artefacts import load as load_artefact
from firmware_py.runtimes.artefacts import open_tflite
from firmware_py.runtimes.tflite import RUNTIME_MODULES
from firmware_py.runtimes.voice_decoder import TfliteDecoder
from kelly_edge.contract import HOP_RATE_HZ, HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.controls import Controls, decoder_inputs, fill_controls
from kelly_edge.timbre.synth import Synth
from kelly_edge.timbre.voice import DELAY, Decoder
from models.timbre.data import VOICED, Take, analyse, read_48, recordings, sounds
from models.timbre.network import CONFIGS, HOP, RATE_HZ, DecoderNetwork, multi_scale_spectral_loss
from models.timbre.train import load as load_network

Float32 = NDArray[np.float32]
SOUNDING_DB: Final = -60.0
"""Loudness from which a hop is judged: that of the box's gate. Chosen as the default of the setting."""
NEAR_CENTS: Final = 50.0
"""As in mir_eval's raw pitch accuracy (Raffel et al., 2014)."""
N_BOOTSTRAP: Final = 2_000
"""Chosen: the interval's ends are steady in the second digit."""
SEED: Final = 0
"""Chosen by nobody: the first one."""


class NetworkDecoder:
    """``Decoder`` in torch: the float network before export."""

    def __init__(self, network: DecoderNetwork) -> None:
        self._network = network
        self._state: torch.Tensor | None = None

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        """One hop."""
        with torch.no_grad():
            x = torch.tensor([[decoder_inputs(f0_hz, loudness_db)]], dtype=torch.float32)
            raw, self._state = self._network(x, self._state)
        fill_controls(raw[0, 0].numpy(), f0_hz, controls)

    def reset(self) -> None:
        """Zero state."""
        self._state = None


@dataclass(frozen=True)
class Row:
    """One recording judged; nan where nothing could be compared."""

    loss: float
    f0_cents: float
    f0_within_50: float
    loudness_l1_db: float
    cost_us: float


def answer(decoder: Decoder, take: Take) -> tuple[Float32, float]:
    """The voice's sound at 48 kHz (float32 [n hops * 256]), and its mean cost in microseconds per hop."""
    decoder.reset()
    synth, controls = Synth(SEED), Controls()
    out = np.zeros((len(take.f0_hz), HOP_SIZE), np.float32)
    heard = zip(take.f0_hz.tolist(), take.loudness_db.tolist(), out, strict=True)
    start = time.perf_counter()
    for f0_hz, loudness_db, hop in heard:
        decoder.step(f0_hz, loudness_db, controls)
        synth.play(controls, f0_hz, 1.0, hop)
    return out.reshape(-1), 1e6 * (time.perf_counter() - start) / len(out)


def _heard(sound_48: Float32) -> Float32:
    """f0, confidence, loudness and the f0's age in samples of each hop: [4, n]."""
    tracker, meter = PitchTracker(), LoudnessMeter()
    rows = np.zeros((4, len(sound_48) // HOP_SIZE), np.float32)
    for i, hop in enumerate(sound_48.reshape(-1, HOP_SIZE)):
        tracker.push(hop)
        meter.push(hop)
        rows[:, i] = tracker.f0_hz, tracker.confidence, meter.loudness_db, tracker.age_samples
    return rows


def judge(decoder: Decoder, sound_48: Float32) -> Row:
    """A recording (float32 at 48 kHz) heard, answered, and the answer compared."""
    take = analyse(sound_48)
    played, cost_us = answer(decoder, take)
    at_24 = soxr.resample(played, SAMPLE_RATE_HZ, RATE_HZ).astype(np.float32)[: len(take.f0_hz) * HOP]
    pair = (torch.from_numpy(x)[None] for x in (at_24, take.sound[: len(at_24)]))
    loss = float(multi_scale_spectral_loss(*pair))
    late = np.zeros(len(played), np.float32)
    late[DELAY : DELAY + len(sound_48)] = sound_48
    f0_hz, confidence, loudness_db, age = _heard(played)
    wanted_db = _heard(late)[2]
    sounding = wanted_db >= SOUNDING_DB
    # A hop ends at the f0 asked for; the tracker hears what was played ``age_samples`` before.
    hops = np.arange(len(f0_hz))
    asked_at = hops - age / HOP_SIZE
    asked_hz = np.interp(asked_at, hops, take.f0_hz)
    # Judged where a pitch was asked for throughout what the tracker hears.
    n_window = -(-2 * PitchTracker.delay_samples // HOP_SIZE)
    voiced = np.convolve(take.confidence >= VOICED, np.ones(n_window))[: len(hops)] == n_window
    judged = voiced & sounding & (confidence >= VOICED)
    cents = np.abs(1_200.0 * np.log2(f0_hz[judged] / asked_hz[judged]))
    apart_db = np.abs(loudness_db - wanted_db)[sounding]
    return Row(
        loss=loss,
        f0_cents=float(np.median(cents)) if len(cents) else float("nan"),
        f0_within_50=float(np.mean(cents <= NEAR_CENTS)) if len(cents) else float("nan"),
        loudness_l1_db=float(np.mean(apart_db)) if len(apart_db) else float("nan"),
        cost_us=cost_us,
    )


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Each number of the rows: n, mean (f0: median) and 95 % interval, None where there is none."""
    return {
        name: _interval(
            np.array([asdict(row)[name] for row in rows]), np.median if name == "f0_cents" else np.mean
        )
        for name in Row.__dataclass_fields__
    }


def _interval(values: NDArray[np.float64], statistic: Any) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"n": 0, "value": None, "ci95": None}
    draws = np.random.default_rng(SEED).integers(0, len(values), (N_BOOTSTRAP, len(values)))
    low, high = np.percentile(statistic(values[draws], axis=1), [2.5, 97.5])
    # One recording says nothing about the spread.
    ci95 = [round(float(low), 4), round(float(high), 4)] if len(values) > 1 else None
    return {"n": len(values), "value": round(float(statistic(values)), 4), "ci95": ci95}


def evaluate(
    voice: str,
    audio: Path | None,
    runtime: str,
    checkpoint: Path | None,
    config: str,
    held_out: bool,
    models_dir: str = "",
) -> dict[str, Any]:
    """Scores of the shipped model and, with a checkpoint, of that network. Raises KellyError.

    Parameters
    ----------
    held_out: judge only the recordings held out of training. models_dir: where the shipped model is.
    """
    other = "reference" if config == "reference" else "float"
    artefact = load_artefact(f"ddsp_{voice}", models_dir)
    decoders: dict[str, Decoder] = {"shipped": TfliteDecoder(open_tflite(artefact, runtime))}
    if checkpoint is not None:
        decoders[other] = NetworkDecoder(load_network(checkpoint, config))
    some = sounds(voice, audio, True) if held_out else [read_48(path) for path in recordings(voice, audio)]
    # The first call compiles; it is not to be timed.
    judge(decoders["shipped"], some[0][:SAMPLE_RATE_HZ])
    rows = {name: [judge(decoder, sound) for sound in some] for name, decoder in decoders.items()}
    hop_us = 1e6 / HOP_RATE_HZ
    result: dict[str, Any] = {
        "voice": voice,
        "runtime": runtime,
        "recordings": "held out" if held_out else str(audio),
        "n": len(some),
        "seconds": round(sum(len(sound) for sound in some) / SAMPLE_RATE_HZ, 1),
        **{name: summary(r) for name, r in rows.items()},
    }
    result["shipped"]["core_share"] = round(result["shipped"]["cost_us"]["value"] / hop_us, 4)
    if checkpoint is not None:
        pairs = zip(rows["shipped"], rows[other], strict=True)
        change = np.array([100.0 * (a.loss / b.loss - 1.0) for a, b in pairs])
        result["loss_change_percent"] = _interval(change, np.mean)
    return result


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['voice']}: {result['n']} recordings ({result['recordings']}), {result['seconds']} s"]
    for kind in ("shipped", "float", "reference"):
        for name, cell in result.get(kind, {}).items():
            if isinstance(cell, dict):
                lines.append(f"{kind:8} {name:15} {cell['value']}  95 % {cell['ci95']}  n {cell['n']}")
    if "loss_change_percent" in result:
        change = result["loss_change_percent"]
        lines.append(f"loss of the shipped over the other: {change['value']} %  95 % {change['ci95']}")
    return "\n".join(lines)


@command("models.timbre.evaluate", KellyError)
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(
        prog="python -m models.timbre.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--voice", required=True)
    parser.add_argument(
        "--audio-dir", type=path_argument, help="recordings to judge on (default: those held out)"
    )
    parser.add_argument("--runtime", choices=RUNTIME_MODULES, default="ai_edge_litert")
    parser.add_argument("--checkpoint", type=path_argument, help="judge the float network of a training too")
    parser.add_argument("--config", choices=CONFIGS, default="student", help="of the checkpoint")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    audio = args.audio_dir
    result = evaluate(args.voice, audio, args.runtime, args.checkpoint, args.config, audio is None)
    print(json.dumps(result) if args.json else _table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
