"""What the offline commands do: a recording in, files out, a summary back.

Every result is written beside its place and renamed when all of them are complete. Sound, log and arrays
are streamed: no command needs more memory for a longer recording.
"""

import time
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.analysis import Analysis
from firmware_py.devices.audio_file import Recording, read_audio
from firmware_py.devices.output import JsonLines, OutputFolder, WavWriter, write_midi, write_npz
from firmware_py.devices.ports import Journal
from firmware_py.devices.session_format import header
from firmware_py.picture import draw_session, refuse_without_matplotlib
from firmware_py.runtimes.artefacts import files_in_use
from firmware_py.wiring import Offline, Progress, open_models
from kelly_edge.config import Settings
from kelly_edge.contract import QUADRANTS, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import SOUNDING_DB
from kelly_edge.units import gain_to_db
from kelly_edge_text.printed import printed

DIGITS = 3
PRESENT: Final = 0.5
"""Presence from which somebody plays."""
SILENT_VOICE: Final = 1e-5
"""Peak of a voice that nobody hears: -100 dBFS."""
FILES: Final = ("performance.mid", "voice.wav", "session.jsonl")


def demo_recording() -> Path:
    """The recording that ships with the program (made by ``models.demo_recording``)."""
    return Path(__file__).resolve().parent / "demo" / "sad_to_happy.flac"


def _sources(path: Path, settings: Settings, config: Path | None) -> list[Path]:
    """All files that an offline command reads."""
    return [path, *([config] if config else []), *files_in_use(settings.runtime.models_dir)]


def play(
    path: Path,
    folder: Path,
    settings: Settings,
    progress: Progress,
    picture: bool = False,
    config: Path | None = None,
) -> dict[str, Any]:
    """``performance.mid``, ``voice.wav`` and ``session.jsonl`` in ``folder``; ``picture``: a picture too.

    Parameters
    ----------
    config: the settings file, which no result may overwrite.
    """
    if picture:
        refuse_without_matplotlib()
    files = [*FILES, "session.png"] if picture else list(FILES)
    sources = _sources(path, settings, config)
    recording = read_audio(path)
    with OutputFolder(folder, files, sources) as output:
        models = open_models(settings)
        Offline.warm_up(settings, models)
        started_s = time.perf_counter()
        with WavWriter(output, "voice.wav", SAMPLE_RATE_HZ) as wav, JsonLines(output, "session.jsonl") as log:
            log.record(header())
            heard = Heard(log)
            offline = Offline(settings, models, recording, play=wav.write, journal=heard)
            # The music ends with the recording.
            offline.composer.ends_s = offline.n_samples / SAMPLE_RATE_HZ
            performance = offline.run(progress)
        took_s = time.perf_counter() - started_s
        write_midi(output, "performance.mid", performance.notes, settings.composer.program, performance.bars)
    if picture:
        draw_session(folder)
    n_notes = len(performance.notes)
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "heard": heard.moods(),
        "n_notes": n_notes,
        "voice_seconds": round(offline.n_samples / SAMPLE_RATE_HZ, DIGITS),
        "voice_peak_dbfs": round(gain_to_db(wav.peak), DIGITS),
        "n_non_finite_samples": recording.n_non_finite,
        "n_clipped_samples": recording.n_clipped,
        "times_real_time": round(recording.duration_s / took_s, 1),
        "files": [str(folder / name) for name in files],
        "notices": [*recording.notices, *heard.notices(recording, n_notes)],
    }


class Heard:
    """A ``Journal`` that remembers in a few numbers what was heard, and passes each entry on."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self.loudest_db = -120.0
        self._rows = {name: array("d") for name in ("time_s", "valence", "arousal", "presence")}
        self._quadrants = array("b")

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        if entry["kind"] == "emotion":
            for name, values in self._rows.items():
                values.append(entry[name])
            self._quadrants.append(int(np.argmax(entry["posterior"])))
            self.loudest_db = max(self.loudest_db, entry["level_db"])
        if self._journal is not None:
            self._journal.record(entry)

    def moods(self) -> list[dict[str, Any]]:
        """What was heard in each half of what was played; nothing where nobody played."""
        played = np.flatnonzero(np.frombuffer(self._rows["presence"]) > PRESENT)
        halves = (played[: len(played) // 2], played[len(played) // 2 :])
        return [self._mood(half) for half in halves if len(half)]

    def _mood(self, at: NDArray[np.int64]) -> dict[str, Any]:
        rows = {name: np.frombuffer(values)[at] for name, values in self._rows.items()}
        quadrants = Counter(QUADRANTS[self._quadrants[i]] for i in at)
        return {
            "from_s": float(rows["time_s"][0]),
            "to_s": float(rows["time_s"][-1]),
            "quadrant": quadrants.most_common(1)[0][0],
            "valence": round(float(np.mean(rows["valence"])), DIGITS),
            "arousal": round(float(np.mean(rows["arousal"])), DIGITS),
        }

    def notices(self, recording: Recording, n_notes: int | None = None) -> Iterable[str]:
        """Why nothing was heard, or answered, in one line."""
        name = printed(str(recording.path), 300)
        if self.moods():
            if n_notes == 0:
                yield f"{name}: too little music was heard for an answer: no note was played"
        elif self.loudest_db < SOUNDING_DB:
            level = "silence" if self.loudest_db <= -119.0 else f"{self.loudest_db:.0f} dBFS at its loudest"
            yield (
                f"{name}: too quiet to be heard as music ({level}; {SOUNDING_DB:.0f} is needed), so no "
                "emotion is told; raise the gain of the microphone"
            )
        else:
            yield f"{name}: no music was heard (noise, or a tone that never moves), so no emotion is told"


def analyse(
    path: Path, out: Path, settings: Settings, progress: Progress, config: Path | None = None
) -> dict[str, Any]:
    """Write what is heard to the .npz file ``out``, see ``Analysis``; ``config`` as in ``play``."""
    sources = _sources(path, settings, config)
    recording = read_audio(path)
    with OutputFolder(out.parent, [out.name], sources) as output, Analysis(output) as analysis:
        heard = Heard(analysis)
        offline = Offline(settings, open_models(settings), recording, play=_nobody, journal=heard)
        offline.run(progress, lambda n_done: analysis.note_down(offline.dsp))
        arrays = analysis.arrays()
        write_npz(output, out.name, arrays)
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "arrays": {name: list(values.shape) for name, values in arrays.items()},
        "files": [str(out)],
        "notices": [*recording.notices, *heard.notices(recording)],
    }


def _nobody(block: NDArray[np.float32]) -> None:
    """Nobody listens."""


def speak(
    path: Path, out: Path, settings: Settings, progress: Progress, config: Path | None = None
) -> dict[str, Any]:
    """Write the voice's answer alone to the .wav file ``out``, no music; ``config`` as in ``play``."""
    sources = _sources(path, settings, config)
    recording = read_audio(path)
    with OutputFolder(out.parent, [out.name], sources) as output:
        models = open_models(settings)
        with WavWriter(output, out.name, SAMPLE_RATE_HZ) as wav:
            Offline(settings, models, recording, composer=False, play=wav.write).run(progress)
    notices = list(recording.notices)
    if wav.peak < SILENT_VOICE:
        name = printed(str(path), 300)
        notices.append(
            f"{name}: the voice stays silent: no note is clear and loud enough "
            f"({recording.level_db:.0f} dBFS; see voice.gate_db and voice.gate_confidence)"
        )
    return {
        "seconds": round(recording.duration_s, DIGITS),
        "voice": settings.voice.selected,
        "voice_peak_dbfs": round(gain_to_db(wav.peak), DIGITS),
        "files": [str(out)],
        "notices": notices,
    }
