"""What the offline commands do: a recording in, files out, a summary back.

Every result is written beside its place and renamed when all of them are complete.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.audio_file import Recording, read_audio
from firmware_py.devices.output import OutputFolder, write_json_lines, write_midi, write_npz, write_wav
from firmware_py.picture import draw_session
from firmware_py.wiring import Models, Offline, Performance, Progress, open_models
from kelly_edge.config import Settings
from kelly_edge.contract import HOP_SIZE, N_EMOTION, N_FEATURES, QUADRANTS, SAMPLE_RATE_HZ
from kelly_edge.units import gain_to_db

DIGITS = 3


def demo_recording() -> Path:
    """The recording that ships with the program (made by ``models.demo_recording``)."""
    return Path(__file__).resolve().parent / "demo" / "sad_to_happy.flac"


def play(
    path: Path, folder: Path, settings: Settings, progress: Progress, picture: bool = False
) -> dict[str, Any]:
    """``performance.mid``, ``voice.wav`` and ``session.jsonl`` in ``folder``; ``picture``: a picture too."""
    recording = read_audio(path)
    with OutputFolder(folder) as output:
        models = open_models(settings)
        Offline.warm_up(settings, models)
        started_s = time.perf_counter()
        performance = Offline(settings, models, recording.samples).run(progress)
        took_s = time.perf_counter() - started_s
        write_midi(output, "performance.mid", performance.notes, settings.composer.program)
        write_wav(output, "voice.wav", performance.voice, SAMPLE_RATE_HZ)
        write_json_lines(output, "session.jsonl", performance.session)
    summary = _summary(recording, performance)
    files = ["performance.mid", "voice.wav", "session.jsonl"]
    if picture:
        draw_session(folder)
        files.append("session.png")
    return {
        **summary,
        "times_real_time": round(recording.duration_s / took_s, 1),
        "files": [str(folder / name) for name in files],
    }


def _summary(recording: Recording, performance: Performance) -> dict[str, Any]:
    emotions = [e for e in performance.session if e["kind"] == "emotion"]
    # What was heard is told from where somebody played; silence has no mood.
    played = [e for e in emotions if e["presence"] > 0.5] or emotions
    halves = [played[: len(played) // 2], played[len(played) // 2 :]]
    peak = float(np.max(np.abs(performance.voice), initial=0.0))
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "heard": [_mood(half) for half in halves if half],
        "n_notes": len(performance.notes),
        "voice_seconds": round(len(performance.voice) / SAMPLE_RATE_HZ, DIGITS),
        "voice_peak_dbfs": round(gain_to_db(peak), DIGITS),
        "n_non_finite_samples": recording.n_non_finite,
        "n_clipped_samples": recording.n_clipped,
    }


def _mood(entries: list[dict[str, Any]]) -> dict[str, Any]:
    quadrants = Counter(QUADRANTS[int(np.argmax(e["posterior"]))] for e in entries)
    return {
        "from_s": entries[0]["time_s"],
        "to_s": entries[-1]["time_s"],
        "quadrant": quadrants.most_common(1)[0][0],
        "valence": round(float(np.mean([e["valence"] for e in entries])), DIGITS),
        "arousal": round(float(np.mean([e["arousal"] for e in entries])), DIGITS),
    }


def analysis(recording: Recording, settings: Settings, progress: Progress) -> dict[str, NDArray[Any]]:
    """The arrays of ``analyse``, one row a hop; what advances once a hop group is held in between."""
    models = open_models(settings)
    offline = Offline(settings, models, recording.samples)
    n_hops = offline.n_samples // HOP_SIZE
    rows: dict[str, NDArray[Any]] = {
        "time_s": np.arange(1, n_hops + 1) * (HOP_SIZE / SAMPLE_RATE_HZ),
        "features": np.zeros((n_hops, N_FEATURES), np.float32),
        "emotion": np.zeros((n_hops, N_EMOTION), np.float32),
        "emotion_step": np.zeros(n_hops, np.int64),
    }
    names = ("f0_hz", "confidence", "loudness_db", "valence", "arousal", "emotion_confidence", "presence")
    rows |= {name: np.zeros(n_hops, np.float32) for name in names}
    dsp = offline.dsp

    def note_down(n_done: int) -> None:
        i = n_done - 1
        rows["f0_hz"][i] = dsp.tracker.f0_hz
        rows["confidence"][i] = dsp.tracker.confidence
        rows["loudness_db"][i] = dsp.meter.loudness_db
        rows["features"][i] = dsp.extractor.features
        rows["emotion"][i] = dsp.heard["emotion"]
        rows["emotion_step"][i] = dsp.counters["n_emotion_steps"]
        rows["valence"][i] = dsp.heard["valence"]
        rows["arousal"][i] = dsp.heard["arousal"]
        rows["emotion_confidence"][i] = dsp.heard["confidence"]
        rows["presence"][i] = dsp.heard["presence"]

    performance = offline.run(progress, note_down)
    targets = [e for e in performance.session if e["kind"] == "emotion"]
    rows["target_time_s"] = np.array([e["time_s"] for e in targets])
    for name in ("valence", "arousal", "density", "tempo_bpm"):
        rows[f"target_{name}"] = np.array([e["target"][name] for e in targets], np.float32)
    return rows


def analyse(path: Path, out: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Write the arrays of ``analysis`` to the .npz file ``out``."""
    recording = read_audio(path)
    with OutputFolder(out.parent) as output:
        rows = analysis(recording, settings, progress)
        write_npz(output, out.name, rows)
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "arrays": {name: list(values.shape) for name, values in rows.items()},
        "files": [str(out)],
    }


def speak(path: Path, out: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Write the voice's answer alone to the .wav file ``out``: no composer, no MIDI."""
    recording = read_audio(path)
    with OutputFolder(out.parent) as output:
        models = open_models(settings)
        voice = speak_samples(recording.samples, settings, models, progress)
        write_wav(output, out.name, voice, SAMPLE_RATE_HZ)
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "voice": settings.voice.selected,
        "voice_peak_dbfs": round(gain_to_db(float(np.max(np.abs(voice), initial=0.0))), DIGITS),
        "files": [str(out)],
    }


def speak_samples(
    samples: NDArray[np.float32], settings: Settings, models: Models, progress: Progress | None = None
) -> NDArray[np.float32]:
    """The voice's answer to ``samples`` (float32 [n], 48 kHz), as long as they are (whole hops)."""
    return Offline(settings, models, samples, composer=False).run(progress).voice
