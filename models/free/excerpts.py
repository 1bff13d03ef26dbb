"""Excerpts of POP909 and the Lieder as MIDI files, with the emotion that their notes say: what the free
emotion model is trained on once they are rendered.

One excerpt a song, from a bar line on. Valence and arousal are sums of cues (``models.free.cues``),
standardised within a corpus over its excerpts for training; their signs give the quadrant, their distance
from the middle how sure a label is.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mido
import numpy as np

from kelly_edge.errors import DataError
from kelly_edge.music.compound_word import MAJOR, MINOR
from models.composer.data import PITCH_NAMES, Floats, Notes, estimate_key, read_midi
from models.emotion.data import Clip
from models.free.cues import Scale, measure_cues
from models.free.data import split_of
from models.free.lieder import read_song

LENGTH_S: Final = 24.0
"""Chosen: as long as what the emotion model hears before its mean settles, with the warm-up of training."""
FEWEST_NOTES: Final = 24
"""Chosen: a note a second."""
STEEPNESS: Final = 1.5
"""Log odds of a sign for one standard deviation of its sum. Chosen by hand: a sum that explains some 80 %
of the variance of ratings (Eerola et al. 2013) errs about one time in six."""
TICKS_PER_BEAT: Final = 480
"""Chosen: what sequencers write; with 120 beats a minute 960 ticks are a second."""


@dataclass(frozen=True)
class Excerpt:
    """Notes from 0 s on, and their cues."""

    song: str
    notes: Notes
    cues: Floats
    """[6]."""


def _cut(song: str, notes: Notes, beats_s: Floats, phase: int, key: tuple[int, int] | None) -> Excerpt | None:
    """From a bar line drawn by the song's name; ``key``: tonic and mode, None: estimated."""
    rng = np.random.default_rng([*song.encode()])
    lines = beats_s[phase::4]
    lines = lines[(lines >= notes.onset_s.min() - 0.1) & (lines <= notes.end_s.max() - LENGTH_S)]
    if not len(lines):
        return None
    begin = float(lines[rng.integers(len(lines))]) - 0.02
    inside = (notes.onset_s >= begin) & (notes.onset_s < begin + LENGTH_S)
    if inside.sum() < FEWEST_NOTES:
        return None
    cut = Notes(
        notes.onset_s[inside] - begin,
        np.minimum(notes.end_s[inside] - begin, LENGTH_S),
        notes.pitch[inside],
        notes.velocity[inside],
    )
    tonic, mode = key or estimate_key(cut.pitch, np.minimum(cut.end_s - cut.onset_s, 2.0))
    beats = np.diff(beats_s[(beats_s >= begin) & (beats_s <= begin + LENGTH_S)])
    return Excerpt(song, cut, measure_cues(cut, tonic, mode, 60.0 / max(0.1, float(np.median(beats)))))


def pop909_excerpt(folder: Path) -> Excerpt | None:
    """Of a song's folder of POP909; None where its parts are missing or it is too short."""
    files = [folder / f"{folder.name}.mid", folder / "beat_midi.txt", folder / "key_audio.txt"]
    if not all(file.exists() for file in files):
        return None
    beats = np.loadtxt(files[1])
    downbeats = np.flatnonzero(beats[:, 2] > 0)
    match = re.match(r"[\d.]+\s+[\d.]+\s+([A-G])([b#]?):(maj|min)", files[2].read_text(encoding="utf-8"))
    if len(downbeats) < 8 or match is None:
        return None
    tonic = (PITCH_NAMES[match[1]] + {"b": -1, "#": 1, "": 0}[match[2]]) % 12
    key = tonic, MAJOR if match[3] == "maj" else MINOR
    phase = int(np.bincount(downbeats % 4, minlength=4).argmax())
    return _cut(f"pop909-{folder.name}", read_midi(files[0]), beats[:, 0], phase, key)


def lieder_excerpt(path: Path) -> Excerpt | None:
    """Of a score of the Lieder; None where it has no twenty seconds in bars of four."""
    song = read_song(path)
    return None if song is None else _cut(f"lieder-{path.stem}", song.notes, song.beats_s, song.phase, None)


def write_midi(notes: Notes, path: Path) -> None:
    """A type 0 file, a tick a 960th of a second."""
    events = [(float(t), 0, int(p), 0) for t, p in zip(notes.end_s, notes.pitch, strict=True)]
    events += [
        (float(t), 1, int(p), int(v))
        for t, p, v in zip(notes.onset_s, notes.pitch, notes.velocity, strict=True)
    ]
    track, now = mido.MidiTrack(), 0
    for time_s, _, pitch, velocity in sorted(events):
        tick = round(time_s * 2 * TICKS_PER_BEAT)
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=tick - now))
        now = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(path)


def cut_all(data: Path, n_songs: tuple[int, int], folder: Path) -> Iterator[str]:
    """Write up to so many songs of POP909 and of the Lieder, and ``cues.json``; yields names. What is there
    already is not cut again."""
    index = folder / "cues.json"
    known = json.loads(index.read_text(encoding="utf-8")) if index.exists() else {}
    sources = (
        (sorted((data / "pop909" / "POP909").iterdir()), pop909_excerpt, "pop909"),
        (sorted((data / "lieder").glob("*.mxl")), lieder_excerpt, "lieder"),
    )
    for (paths, cut, corpus), wanted in zip(sources, n_songs, strict=True):
        found = sum(name.startswith(corpus) for name in known)
        for i in np.random.default_rng(7).permutation(len(paths)):
            name = f"{corpus}-{paths[i].stem}"
            if found >= wanted:
                break
            if name in known or (excerpt := cut(paths[i])) is None:
                continue
            write_midi(excerpt.notes, folder / f"{name}.mid")
            known[name] = [round(float(x), 5) for x in excerpt.cues]
            found += 1
            yield name
    index.parent.mkdir(parents=True, exist_ok=True)
    index.with_suffix(".part").write_text(json.dumps(known), encoding="utf-8")
    index.with_suffix(".part").rename(index)


@dataclass(frozen=True)
class Labelled:
    """Clips for the emotion model, and how probable each quadrant is."""

    clips: list[Clip]
    posteriors: dict[str, Floats]
    """[4] of each clip, in the order of the quadrants."""


def labelled(folder: Path) -> Labelled:
    """The excerpts in ``folder``, labelled by their cues.

    Raises
    ------
    DataError: there are none.
    """
    index = folder / "cues.json"
    if not index.exists():
        raise DataError(f"no {index}; write excerpts with python -m models.free.emotion prepare")
    cues = {name: np.array(row) for name, row in json.loads(index.read_text(encoding="utf-8")).items()}
    clips, posteriors = [], {}
    for corpus in sorted({name.split("-")[0] for name in cues}):
        names = sorted(name for name in cues if name.startswith(corpus))
        splits = {name: split_of(name.split("-", 1)[1]) for name in names}
        training = np.array([cues[name] for name in names if splits[name] == "train"])
        scale = Scale.of(training)
        middle, spread = np.median(scale.emotions(training), 0), scale.emotions(training).std(0)
        for name in names:
            valence, arousal = (scale.emotions(cues[name][None])[0] - middle) / spread
            clip = Clip(
                f"free_{name}_0",
                folder / f"{name}.mid",
                splits[name],
                1 if valence > 0 else -1,
                1 if arousal > 0 else -1,
            )
            v, a = (1.0 / (1.0 + np.exp(-STEEPNESS * x)) for x in (valence, arousal))
            posteriors[clip.name] = np.array([v * a, (1 - v) * a, (1 - v) * (1 - a), v * (1 - a)])
            clips.append(clip)
    return Labelled(clips, posteriors)
