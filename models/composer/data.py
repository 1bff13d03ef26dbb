"""EMOPIA and POP909 as compound words: beats, keys, chords and the levels of emotion.

- EMOPIA is transcribed from recordings and has no beats: they are tracked on the note onsets (librosa's
  dynamic programming), the bar line is the beat phase with most bass and most velocity.
- POP909 comes with beats and keys; its three tracks are one piano here. Validation: every 20th song.
- Of EMOPIA's training songs a sixteenth (18 of 290, 52 clips) is held out (split ``held``): checkpoints and
  constants are chosen on it. Nothing is chosen on the official validation split; it only reports.
- Key: EMOPIA's by correlation of the pitch-class histogram with Temperley's profiles.
- Chord of a bar: the template that its pitch classes (weighted by length, the lowest doubled) fit best.
- Emotion levels: EMOPIA gives only a sign of valence and of arousal. A logistic regression on what the
  rows say (density, velocity, register, degrees, chords, mode), cross-validated by song on EMOPIA's
  training clips, gives each clip a log-odds; clips of one sign are ranked by it and cut into thirds, which
  gives levels 4..6 for the positive and 1..3 for the negative sign. So the sign is the human label and the
  distance from the middle is a classifier's confidence. POP909, without labels, gets its levels from the
  same classifier alone, a level every eight bars.

``python -m models.composer.data --work DIR`` writes DIR/tokens.npz.
"""

import csv
import os
import re
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import DataError, KellyError
from kelly_edge.music.compound_word import (
    CHORD_QUALITIES,
    MAJOR,
    MINOR,
    N_LEVELS,
    N_STEPS,
    NO_CHORD,
    NOTE,
    PITCH,
    PITCH_HIGH,
    PITCH_LOW,
    STEPS_PER_BEAT,
    TYPE,
    Condition,
    GridBar,
    GridNote,
    Rows,
    chord_token,
    density_token,
    encode,
)
from kelly_edge.music.known_runs import interval_hashes
from kelly_edge.shared.command_line import Parser, command, path_argument

Floats = NDArray[np.float64]

MAJOR_PROFILE = np.array([0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400])
MINOR_PROFILE = np.array([0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330])
"""Temperley, "Music and Probability" (2007), Kostka-Payne corpus."""
PITCH_NAMES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Definition of the note names, in semitones above C."""
# Chosen: passages of eight bars share a level; one song in sixteen is held out; a hundredth of a second is
# finer than onsets are transcribed.
BARS_PER_LABEL = 8
HELD_ONE_IN = 16
ONSET_RATE_HZ = 100


@dataclass(frozen=True)
class Notes:
    """Columns of a piece: onset and end in seconds, MIDI pitch, velocity."""

    onset_s: Floats
    end_s: Floats
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """A piece on the grid, before its levels are known."""

    name: str
    song: str
    split: str
    quadrant: int
    """1..4, 0 unknown."""
    bars: tuple[GridBar, ...]


SOURCES = {
    "emopia": "EMOPIA (zenodo.org, 'EMOPIA 2.1')",
    "pop909": "POP909 (github music-x-lab/POP909-Dataset)",
    "lieder": "OpenScore Lieder (github OpenScore/Lieder) as .mxl",
}
"""Where each corpus comes from, by its folder's name."""


def data_folder(*needed: str) -> Path:
    """The shared data: $KELLY_DATA, else ../shared/data beside the repository; with the corpora
    ``needed``."""
    folder = Path(os.environ.get("KELLY_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    for part in needed or ("emopia/midis",):
        if not (folder / part).is_dir():
            name = part.partition("/")[0]
            raise DataError(
                f"composer data: no {part} in {folder}; set KELLY_DATA to a folder with {SOURCES[name]} "
                f"as {name}/"
            )
    return folder


def read_midi(path: Path) -> Notes:
    """All notes of all tracks of a MIDI file, by onset."""
    import mido

    time_s = 0.0
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    notes = []
    try:
        for message in mido.MidiFile(path):
            time_s += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            key = (message.channel, message.note)
            if key in sounding:
                onset_s, velocity = sounding.pop(key)
                notes.append((onset_s, max(time_s, onset_s + 0.01), message.note, velocity))
            if message.type == "note_on" and message.velocity > 0:
                sounding[key] = (time_s, message.velocity)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path}: not a readable MIDI file ({error}); give a standard MIDI file") from error
    table = np.array(sorted(notes), np.float64).reshape(-1, 4)
    return Notes(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64))


def track_beats(notes: Notes) -> tuple[Floats, int]:
    """Beat times (s) and the phase 0..3 of the bar line, tracked on the onsets."""
    import librosa

    n_frames = int(notes.end_s.max() * ONSET_RATE_HZ) + 2
    envelope = np.zeros(n_frames)
    np.add.at(envelope, (notes.onset_s * ONSET_RATE_HZ).astype(int), notes.velocity / 127.0)
    envelope = np.convolve(envelope, [0.25, 0.75, 1.0, 0.75, 0.25], "same")
    _, frames = librosa.beat.beat_track(
        onset_envelope=envelope, sr=ONSET_RATE_HZ * 256, hop_length=256, start_bpm=110.0, trim=False
    )
    beats = np.asarray(frames) / ONSET_RATE_HZ
    if len(beats) < 8:
        return np.arange(0.0, notes.end_s.max() + 1.0, 0.5), 0
    period = float(np.median(np.diff(beats)))
    before = beats[0] - period * np.arange(int(beats[0] / period) + 1, 0, -1)
    after = beats[-1] + period * np.arange(1, int((notes.end_s.max() - beats[-1]) / period) + 3)
    beats = np.concatenate([before, beats, after])
    at = np.interp(notes.onset_s, beats, np.arange(len(beats)))
    near = np.abs(at - np.round(at)) < 0.15
    weight = notes.velocity * (1.0 + 2.0 * (notes.pitch < 50)) * near
    phase = np.bincount(np.round(at).astype(int) % 4, weight, minlength=4)
    return beats, int(phase.argmax())


def estimate_key(pitch: NDArray[np.int64], weight: Floats) -> tuple[int, int]:
    """(tonic 0..11, MAJOR or MINOR) whose profile the histogram resembles most."""
    histogram = np.bincount(pitch % 12, weight, minlength=12)
    scores = [
        (float(np.corrcoef(np.roll(profile, tonic), histogram)[0, 1]), tonic, mode)
        for mode, profile in ((MAJOR, MAJOR_PROFILE), (MINOR, MINOR_PROFILE))
        for tonic in range(12)
    ]
    return max(scores)[1:]


def to_tonic_c(tonic: int) -> int:
    """Semitones (-6..5) that move ``tonic`` to C."""
    return (6 - tonic) % 12 - 6


def fit_chord(notes: Iterable[GridNote]) -> int:
    """Chord token of a bar, ``NO_CHORD`` if it holds fewer than three notes."""
    notes = list(notes)
    if len(notes) < 3:
        return NO_CHORD
    chroma = np.zeros(12)
    for note in notes:
        chroma[note.pitch % 12] += min(note.steps, N_STEPS - note.position)
    bass = min(notes, key=lambda note: note.pitch).pitch % 12
    chroma[bass] *= 2.0
    chroma /= np.linalg.norm(chroma)
    best = max(
        (
            sum(chroma[(root + step) % 12] for step in steps) / len(steps) ** 0.5 + 0.01 * (root == bass),
            root,
            name,
        )
        for name, steps in CHORD_QUALITIES.items()
        for root in range(12)
    )
    return chord_token(best[1], best[2])


def to_bars(
    notes: Notes, beats: Floats, phase: int, keys: list[tuple[float, int, int]]
) -> tuple[GridBar, ...]:
    """Quantise to sixteenths and bars of four beats; ``keys`` are (start s, tonic, mode), by start."""
    index = np.arange(len(beats))
    onset = np.round((np.interp(notes.onset_s, beats, index) - phase) * STEPS_PER_BEAT).astype(int)
    end = np.round((np.interp(notes.end_s, beats, index) - phase) * STEPS_PER_BEAT).astype(int)
    first = onset.min() // N_STEPS
    n_bars = onset.max() // N_STEPS - first + 1
    starts = np.array([start for start, _, _ in keys])
    in_bar: list[list[GridNote]] = [[] for _ in range(n_bars)]
    bar_keys, tempi = [], []
    for number in range(n_bars):
        line = np.clip((first + number) * 4 + phase + np.array([0, 4]), 0, len(beats) - 1)
        bar_keys.append(keys[max(0, int(np.searchsorted(starts, beats[line[0]] + 0.1)) - 1)])
        tempi.append(60.0 * max(1, line[1] - line[0]) / max(0.1, beats[line[1]] - beats[line[0]]))
    for on, off, pitch, velocity in zip(onset, end, notes.pitch, notes.velocity, strict=True):
        number = on // N_STEPS - first
        moved = int(pitch) + to_tonic_c(bar_keys[number][1])
        if PITCH_LOW <= moved <= PITCH_HIGH:
            in_bar[number].append(GridNote(int(on % N_STEPS), moved, max(1, int(off - on)), int(velocity)))
    tempo = np.convolve(np.pad(tempi, 2, "edge"), np.ones(5) / 5, "valid")
    return tuple(
        GridBar(Condition(density=density_token(len(n)), mode=key[2]), float(t), fit_chord(n), tuple(n))
        for n, key, t in zip(in_bar, bar_keys, tempo, strict=True)
    )


def split_of(song: str, official: str) -> str:
    """``train``, ``held`` or ``val``: a sixteenth of the songs of the official training split is held out."""
    held = official == "train" and zlib.crc32(song.encode()) % HELD_ONE_IN == 0
    return "held" if held else official


def read_splits(folder: Path) -> dict[str, str]:
    """Official split (train, val) of EMOPIA's clips by name; clips in none are left out."""
    splits: dict[str, str] = {}
    for split in ("train", "val"):
        with (folder / "split" / f"{split}.csv").open(encoding="utf-8") as file:
            splits |= {row["fname"]: split for row in csv.DictReader(file)}
    return splits


def read_emopia(folder: Path) -> list[Piece]:
    """EMOPIA's clips in the official splits."""
    splits = read_splits(folder)
    pieces = []
    for path in sorted((folder / "midis").glob("*.mid")):
        if path.stem not in splits:
            continue
        notes = read_midi(path)
        if len(notes.pitch) < 16:
            continue
        tonic, mode = estimate_key(notes.pitch, np.minimum(notes.end_s - notes.onset_s, 2.0))
        bars = to_bars(notes, *track_beats(notes), [(0.0, tonic, mode)])
        song = path.stem[3:].rsplit("_", 1)[0]
        pieces.append(Piece(path.stem, song, split_of(song, splits[path.stem]), int(path.stem[1]), bars))
    return pieces


def read_pop909(folder: Path, every: int = 1) -> list[Piece]:
    """POP909's songs in common time, with the beats and keys it comes with; one song in ``every``."""
    pieces = []
    for song in sorted((folder / "POP909").iterdir())[::every]:
        files = [song / f"{song.name}.mid", song / "beat_midi.txt", song / "key_audio.txt"]
        if not all(file.exists() for file in files):
            continue
        table = np.loadtxt(files[1])
        downbeats = np.flatnonzero(table[:, 2] > 0)
        if len(downbeats) < 8 or np.median(np.diff(downbeats)) != 4:
            continue
        keys = []
        for line in files[2].read_text(encoding="utf-8").splitlines():
            match = re.match(r"([\d.]+)\s+[\d.]+\s+([A-G])([b#]?):(maj|min)", line)
            if match:
                tonic = (PITCH_NAMES[match[2]] + {"b": -1, "#": 1, "": 0}[match[3]]) % 12
                keys.append((float(match[1]), tonic, MAJOR if match[4] == "maj" else MINOR))
        phase = int(np.bincount(downbeats % 4, minlength=4).argmax())
        if not keys:
            continue
        bars = to_bars(read_midi(files[0]), table[:, 0], phase, keys)
        pieces.append(
            Piece(f"pop909_{song.name}", song.name, "val" if int(song.name) % 20 == 0 else "train", 0, bars)
        )
    return pieces


def describe(bars: Iterable[GridBar]) -> Floats:
    """What the rows say of a passage, for the level classifier; shape [37]."""
    bars = list(bars)
    notes = [note for bar in bars for note in bar.notes]
    pitch = np.array([note.pitch for note in notes] or [60])
    velocity = np.array([note.velocity for note in notes] or [64])
    steps = np.array([note.steps for note in notes] or [4])
    degrees = np.bincount(pitch % 12, minlength=12) / len(pitch)
    counts = np.array([len(bar.notes) for bar in bars])
    tempo = np.array([bar.tempo_bpm for bar in bars])
    qualities = np.bincount([(bar.chord - 1) % 6 if bar.chord < NO_CHORD else 6 for bar in bars], minlength=7)
    onsets = [len({note.position for note in bar.notes}) for bar in bars]
    off_beat = np.mean([note.position % 4 != 0 for note in notes] or [False])
    seconds = 240.0 / tempo
    lowest, highest = np.percentile(pitch, [10, 90])
    scalars = [
        np.log1p(counts.sum() / seconds.sum()), np.log1p(counts.mean()), np.mean(onsets), counts.std(),
        velocity.mean(), velocity.std(), np.percentile(velocity, 90),
        pitch.mean(), pitch.std(), lowest, highest, np.log(steps).mean(), np.log(tempo.mean()), off_beat,
        np.mean([bar.condition.mode == MAJOR for bar in bars]),
        degrees[[0, 2, 4, 5, 7, 9, 11]].sum(), degrees[4] - degrees[3], degrees[9] - degrees[8],
    ]  # fmt: skip
    return np.concatenate([scalars, degrees, qualities / len(bars)])


def level_pieces(pieces: list[Piece]) -> list[tuple[Piece, Rows]]:
    """Give every bar its levels of valence and arousal and encode the pieces; see the module's text."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labelled = [piece for piece in pieces if piece.quadrant]
    train = [piece for piece in labelled if piece.split != "val"]
    x = np.array([describe(piece.bars) for piece in train])
    songs = [piece.song for piece in train]
    signs = {"valence": (1, 4), "arousal": (1, 2)}
    levels: dict[str, dict[str, list[int]]] = {}
    for name, positive in signs.items():
        y = np.array([piece.quadrant in positive for piece in train])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
        odds = cross_val_predict(model, x, y, groups=songs, cv=GroupKFold(10), method="decision_function")
        model.fit(x, y)
        cuts = {sign: np.quantile(odds[y == sign], [1 / 3, 2 / 3]) for sign in (False, True)}
        known = {piece.name: float(value) for piece, value in zip(train, odds, strict=True)}
        for piece in pieces:
            if piece.quadrant:
                sign = piece.quadrant in positive
                value = known.get(piece.name)
                if value is None:
                    value = float(model.decision_function([describe(piece.bars)])[0])
                level = 1 + 3 * sign + int(np.searchsorted(cuts[sign], value))
                spread = [level] * len(piece.bars)
            else:
                spread = []
                for start in range(0, len(piece.bars), BARS_PER_LABEL):
                    passage = piece.bars[start : start + BARS_PER_LABEL]
                    value = float(model.decision_function([describe(passage)])[0])
                    level = 1 + 3 * (value > 0) + int(np.searchsorted(cuts[value > 0], value))
                    spread += [min(level, N_LEVELS)] * len(passage)
            levels.setdefault(piece.name, {})[name] = spread
    result = []
    for piece in pieces:
        found = levels[piece.name]
        bars = [
            replace(bar, condition=replace(bar.condition, valence=v, arousal=a))
            for bar, v, a in zip(piece.bars, found["valence"], found["arousal"], strict=True)
        ]
        result.append((piece, encode(bars)))
    return result


def save_tokens(pieces: list[tuple[Piece, Rows]], path: Path) -> None:
    """Write rows of all pieces, one after the other, with their names, splits and quadrants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.npz")
    np.savez_compressed(
        beside,
        rows=np.concatenate([rows for _, rows in pieces]),
        lengths=np.array([len(rows) for _, rows in pieces]),
        names=np.array([piece.name for piece, _ in pieces]),
        splits=np.array([piece.split for piece, _ in pieces]),
        quadrants=np.array([piece.quadrant for piece, _ in pieces]),
    )
    beside.rename(path)


def load_tokens(path: Path, corpus: str, split: str) -> list[Rows]:
    """Rows of the pieces of ``emopia`` in a split, or of all others: ``pop909``, ``free``
    (``models.free``)."""
    if not path.exists():
        raise DataError(
            f"{path}: no tokens; write them with python -m models.composer.data --work {path.parent}"
        )
    with np.load(path) as saved:
        rows = np.split(saved["rows"], np.cumsum(saved["lengths"])[:-1])
        wanted = (saved["splits"] == split) & ((saved["quadrants"] > 0) == (corpus == "emopia"))
    return [piece for piece, want in zip(rows, wanted, strict=True) if want]


def training_runs(path: Path) -> NDArray[np.uint64]:
    """Every run of notes in the training splits of all corpora, once (``known_runs.interval_hashes``)."""
    pieces = [piece for corpus in ("emopia", "pop909") for piece in load_tokens(path, corpus, "train")]
    return np.unique(np.concatenate([interval_hashes(p[p[:, TYPE] == NOTE, PITCH]) for p in pieces]))


@command("models.composer.data", KellyError)
def main() -> None:
    """Write the tokens of both data sets."""
    parser = Parser(prog="models.composer.data", description=__doc__)
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/composer"), help="folder for tokens and checkpoints"
    )
    work: Path = parser.parse_args().work
    folder = data_folder()
    pieces = read_emopia(folder / "emopia") + read_pop909(folder / "pop909")
    save_tokens(level_pieces(pieces), work / "tokens.npz")
    print(f"{len(pieces)} pieces, {sum(len(p.bars) for p in pieces)} bars to {work / 'tokens.npz'}")


if __name__ == "__main__":
    sys.exit(main())
