"""Renderings of labelled MIDI and their features, cached: ``python -m models.emotion.data prepare``.

A *condition* is a sound font, a General MIDI programme or an arrangement for other players, and a treatment
(what happens between instrument and microphone). Every clip of a condition gives two ``.npz`` (features in
their units, presence; log mel frames, by which ``kelly_edge.emotion.room`` hears the room, and what room it
is), so an interrupted run goes on where it stopped. Fonts TimGM6mb, OPL-3 and Freepats are
for evaluation only: no training condition names them.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import mido
import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from kelly_edge.contract import EMOTION_RATE_HZ, HOP_SIZE, N_FEATURES, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import FeatureExtractor, standardise
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import melodies, not_music, strings, wild
from models.emotion.acoustics import (
    Treatment,
    Truth,
    add_noise,
    microphone,
    place,
    quiet_place,
    read_audio,
    wet,
)
from models.emotion.arrange import ARRANGEMENTS, arrange

Float32 = NDArray[np.float32]
REPO: Final = Path(__file__).resolve().parents[2]
FONT_FOLDERS: Final = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/etc/timidity")
FONTS: Final = {
    # short name: (file, Debian package)
    "fluid": ("FluidR3_GM.sf2", "fluid-soundfont-gm"),
    "muse": ("MuseScore_General_Lite.sf3", "musescore-general-soundfont-small"),
    "csound": ("sf_GMbank.sf2", "csound-soundfont"),
    "timgm": ("TimGM6mb.sf2", "timgm6mb-soundfont"),
    "opl3": ("OPL-3_FM_128M.sf2", "opl3-soundfont"),
    "freepats": ("freepats.cfg", "timidity freepats"),
}
PATCHES: Final = "freepats"
"""Patches of the Gravis Ultrasound, which another synthesiser plays: timidity."""
RANDOM: Final = "random"
"""Not a font: an instrument drawn for each clip (``strings``). Its programme numbers draw others."""
SOUNDS: Final = (*FONTS, RANDOM)
MIXED: Final = 128
"""A programme that stands for one of ``PALETTE`` a clip: timbres that are struck or plucked. Chosen: one
beyond General MIDI's programs (0 to 127)."""
PALETTE: Final = (1, 2, 3, 4, 5, 6, 7, 11, 24, 46)
"""General MIDI: pianos, harpsichord, clavinet, vibraphone, guitar, harp."""
QUADRANT_SIGNS: Final = {"Q1": (1, 1), "Q2": (-1, 1), "Q3": (-1, -1), "Q4": (1, -1)}
"""Definition of the quadrants in EMOPIA, after Russell (1980): signs of valence and arousal."""


@dataclass(frozen=True)
class Condition:
    """How a clip sounds: font, programme (0 based), treatment (a key of ``TREATMENTS``), players (a key of
    ``ARRANGEMENTS``; none: all notes by ``programme``)."""

    font: str
    programme: int = 0
    treatment: str = "clean"
    arrangement: str = ""

    @property
    def name(self) -> str:
        """Folder name in the cache."""
        programme = "mixed" if self.programme == MIXED else self.programme
        return f"{self.font}-{self.arrangement or programme}" + (
            "" if self.treatment == "clean" else f"-{self.treatment}"
        )


@dataclass(frozen=True)
class Clip:
    """One labelled MIDI file. ``song`` groups clips of one piece."""

    name: str
    path: Path
    split: str
    valence: int
    arousal: int

    @property
    def song(self) -> str:
        """The piece the clip was cut from (EMOPIA: Qn_<video id>_<number>)."""
        return self.name.split("_", 1)[1].rsplit("_", 1)[0]

    @property
    def quadrant(self) -> int:
        """0 .. 3 for Q1 .. Q4."""
        return {(1, 1): 0, (-1, 1): 1, (-1, -1): 2, (1, -1): 3}[self.valence, self.arousal]


def parse_condition(name: str) -> Condition:
    """``fluid-0``, ``fluid-mixed``, ``fluid-band`` or ``fluid-0-microphone``."""
    font, _, rest = name.partition("-")
    programme, _, treatment = rest.partition("-")
    known = font in SOUNDS and (treatment or "clean") in TREATMENTS
    if not known or not (programme in ("mixed", *ARRANGEMENTS) or programme.isdecimal()):
        raise DataError(
            f"no condition {name}; give font-programme or font-programme-treatment with a font of "
            f"{', '.join(SOUNDS)}, a number, mixed, {', '.join(ARRANGEMENTS)} and a treatment of "
            f"{', '.join(TREATMENTS)}"
        )
    treatment = treatment or "clean"
    if programme in ARRANGEMENTS:
        return Condition(font, 0, treatment, programme)
    return Condition(font, MIXED if programme == "mixed" else int(programme), treatment)


TRAIN_CONDITIONS: Final = (
    Condition("fluid"),
    Condition("csound"),
    Condition("muse"),
    Condition("fluid", 0, "microphone"),
    Condition("fluid", MIXED),
    Condition(RANDOM),
    *(Condition(font, 0, "place") for font in ("fluid", "csound", "muse", RANDOM)),
    *(Condition(font, 0, "quiet_place") for font in ("fluid", "csound", RANDOM)),
    *(Condition("fluid", 0, treatment) for treatment in ("after", "pause")),
    *(Condition("fluid", 0, "clean", a) for a in ("band", "strings", "guitar")),
    *(Condition("csound", 0, "clean", a) for a in ("winds", "band")),
    *(Condition("muse", 0, "clean", a) for a in ("strings", "choir", "band")),
    Condition("csound", 0, "clean", "strings"),
    Condition("csound", 0, "place", "winds"),
    *(Condition("fluid", 0, "place", a) for a in ("band", "guitar")),
    *(Condition("muse", 0, "place", a) for a in ("band", "strings")),
    Condition("csound", 0, "after"),
    Condition("fluid", 0, "after", "band"),
    *(
        Condition(font, 0, treatment)
        for font in ("fluid", "csound")
        for treatment in ("after_wet", "after_10db")
    ),
)
EVALUATION_CONDITIONS: Final = (
    Condition("fluid"),
    Condition("csound"),
    Condition("muse"),
    Condition("timgm"),
    Condition("opl3"),
    Condition("timgm", 0, "quiet"),
    Condition("timgm", 0, "noise_20db"),
    Condition("timgm", 0, "noise_10db"),
    Condition("timgm", 0, "room"),
    Condition("timgm", 0, "wet"),
    Condition("timgm", 0, "wet_10db"),
    *(Condition("timgm", 0, treatment) for treatment in ("after", "after_wet", "after_10db")),
    *(Condition("timgm", 0, "clean", a) for a in ("band", "strings", "guitar")),
    *(Condition(PATCHES, 0, treatment) for treatment in ("clean", "wet", "noise_10db")),
    *(Condition(PATCHES, 0, "clean", a) for a in ("band", "strings", "guitar")),
)


def data_folder() -> Path:
    """The data sets: ``KELLY_DATA``, else ``../shared/data`` beside the checkout. Raises DataError."""
    folder = Path(os.environ.get("KELLY_DATA") or REPO.parent / "shared" / "data")
    if not (folder / "emopia" / "midis").is_dir():
        raise DataError(
            f"EMOPIA is not in {folder}; get EMOPIA 2.x from Zenodo (record 5257995) so that emopia/midis "
            "and emopia/split exist, and set KELLY_DATA to the folder above"
        )
    return folder


def emopia(split: str) -> list[Clip]:
    """Clips of the official split ``train`` or ``val``, in the CSV's order."""
    folder = data_folder() / "emopia"
    clips = []
    with (folder / "split" / f"{split}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = folder / "midis" / f"{row['fname']}.mid"
            if path.is_file():
                clips.append(Clip(row["fname"], path, split, *QUADRANT_SIGNS[row["label"]]))
    return clips


def vgmidi_phrases() -> list[Clip]:
    """VGMIDI's labelled phrases, for validation only."""
    folder = data_folder()
    clips = []
    with (folder / "emotion_labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = folder / row["path"]
            if row["source"].startswith("vgmidi") and path.is_file():
                signs = int(float(row["valence_sign"])), int(float(row["arousal_sign"]))
                clips.append(Clip(f"vgmidi_{path.stem}", path, "vgmidi", *signs))
    return clips


def font_path(font: str) -> Path:
    """The installed sound font. Raises DataError naming the Debian package."""
    file, package = FONTS[font]
    for folder in FONT_FOLDERS:
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    raise DataError(f"sound font {file} is not installed; apt install {package}")


def _with_programme(source: Path, programme: int, target: Path) -> Path:
    """A copy of the MIDI file that plays every channel with ``programme``."""
    midi = mido.MidiFile(source)
    for track in midi.tracks:
        track[:] = [m for m in track if m.type != "program_change"]
        channels = {m.channel for m in track if m.type == "note_on"}
        track[:0] = [mido.Message("program_change", channel=c, program=programme) for c in sorted(channels)]
    midi.save(target)
    return target


def render(path: Path, font: str, programme: int = 0, scratch: Path | None = None) -> NDArray[np.int16]:
    """Mono 48 kHz rendering by fluidsynth (Freepats: timidity) with its defaults. Raises DataError."""
    if programme and scratch is not None:
        path = _with_programme(path, programme, scratch / f"programme-{os.getpid()}.mid")
    if font == PATCHES:
        command = ["timidity", "-c", str(font_path(font)), "-s", str(SAMPLE_RATE_HZ), "-Or1slS", "-o", "-"]
        command += ["--quiet=2", str(path)]
    else:
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-r",
            str(SAMPLE_RATE_HZ),
            "-o",
            "synth.dynamic-sample-loading=1",
        ]
        command += ["-O", "s16", "-T", "raw", "-F", "/dev/stdout", str(font_path(font)), str(path)]
    if shutil.which(command[0]) is None:
        raise DataError(f"{command[0]} is not installed; apt install {command[0]}")
    raw = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    if len(raw) < 4:
        raise DataError(f"{command[0]} rendered nothing from {path} with {font}; play the file to see why")
    stereo = np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2).astype(np.int32)
    return np.asarray(stereo.sum(1) // 2, np.int16)


def _room_noise(snr_db: float, audio: Float32) -> Float32:
    return add_noise(
        audio, read_audio(data_folder() / "clips" / "noise-room-2.wav").astype(np.float64), snr_db
    )


def _room(audio: Float32) -> Float32:
    response = read_audio(data_folder() / "clips" / "impulse-response-room-2.wav")
    wet = fftconvolve(audio, response / np.linalg.norm(response))[: audio.size]
    return np.asarray(wet, np.float32)


TREATMENTS: Final[dict[str, Treatment]] = {
    "clean": lambda audio, _rng: audio,
    "microphone": microphone,
    "place": place,
    "quiet_place": quiet_place,
    "quiet": lambda audio, _rng: np.asarray(audio * np.float32(10.0 ** (-12.0 / 20.0)), np.float32),
    "noise_20db": lambda audio, _rng: _room_noise(20.0, audio),
    "noise_10db": lambda audio, _rng: _room_noise(10.0, audio),
    "room": lambda audio, _rng: _room(audio),
    "after": lambda audio, _rng: audio,
    "pause": lambda audio, _rng: audio,
    "wet": wet,
    "wet_10db": lambda audio, rng: _room_noise(10.0, wet(audio, rng)),
    "after_wet": wet,
    "after_10db": lambda audio, _rng: _room_noise(10.0, audio),
}
AFTER: Final = ("after", "pause", "after_wet", "after_10db")
"""Treatments that begin with the end of another clip; room and noise are of both clips together."""


ROOMS: Final[dict[str, Callable[[Float32, np.random.Generator, Truth], Float32]]] = {
    "place": place,
    "quiet_place": quiet_place,
    "wet": wet,
    "after_wet": wet,
}
"""Treatments that tell which room they drew."""
AFTER_S: Final = 12.0
"""``after``: this much of another clip is heard first; what is learned is to forget it. Chosen: most of
the longest mean, 15 s."""
GRACE_S: Final = 2.5
"""After the change nothing is asked of the network for this long. Chosen by hand."""
PAUSE_S: Final = (0.5, 8.0)
"""``pause``: the same, with nearly silence between the two. Chosen by hand."""
QUIET: Final = 1e-4
"""Amplitude of the noise in such a pause: -80 dBFS. Chosen: below any microphone's."""


def _after(audio: Float32, other: Float32, pause_s: float, rng: np.random.Generator) -> Float32:
    """``audio`` after the end of ``other``, at its level, and a pause."""
    before = other[-round(AFTER_S * SAMPLE_RATE_HZ) :]
    before = np.pad(before, (max(round(AFTER_S * SAMPLE_RATE_HZ) - before.size, 0), 0))
    gain = np.sqrt(np.mean(audio**2) / (np.mean(before**2) + 1e-12))
    pause = QUIET * rng.standard_normal(round(pause_s * SAMPLE_RATE_HZ))
    return np.concatenate([gain * before, pause, audio]).astype(np.float32)


def extract(audio: Float32, extractor: FeatureExtractor | None = None) -> tuple[Float32, Float32]:
    """Features ``[n, 128]`` and presence ``[n]`` of mono 48 kHz audio, streaming; n may be 0."""
    physical, presence, _ = _physical(audio, extractor or FeatureExtractor())
    return standardise(physical), presence


class Sound(NamedTuple):
    """What the box hears of a recording of n hop groups."""

    features: Float32  # [n, 128]
    presence: Float32  # [n]
    frames: Float32  # [n, 8, 27] log mel


def hear(audio: Float32, extractor: FeatureExtractor | None = None) -> Sound:
    """Everything that a decision is made of, from mono 48 kHz audio, streaming; n may be 0."""
    physical, presence, frames = _physical(audio, extractor or FeatureExtractor())
    return Sound(standardise(physical), presence, frames)


def _physical(audio: Float32, extractor: FeatureExtractor) -> tuple[Float32, Float32, Float32]:
    """As ``hear``, in the features' units: what is cached outlives another centre or scale."""
    extractor.reset()
    hops = audio[: audio.size // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE)
    features, presence, frames = [], [], []
    for hop in hops:
        if extractor.push(hop):
            features.append(extractor.physical.copy())
            presence.append(extractor.presence)
            frames.append(extractor.frames.copy())
    stacked = np.stack(features) if features else np.zeros((0, N_FEATURES), np.float32)
    mel = np.stack(frames) if frames else np.zeros((0, *extractor.frames.shape), np.float32)
    return stacked, np.array(presence, np.float32), mel


def feature_path(cache: Path, condition: Condition, clip: Clip) -> Path:
    """Where a clip's features are cached."""
    return cache / "features" / condition.name / f"{clip.name}.npz"


def frames_path(cache: Path, condition: Condition, clip: Clip) -> Path:
    """Where a clip's log mel frames, and the room it is in, are cached."""
    return cache / "frames" / condition.name / f"{clip.name}.npz"


def _rendered(clip: Clip, i: int, condition: Condition, scratch: Path) -> NDArray[np.int16]:
    """The ``i``-th clip as ``condition`` sounds before any treatment."""
    if condition.font == RANDOM:
        return strings.play(clip.path, np.random.default_rng([i, condition.programme]))
    if condition.arrangement:
        rng = np.random.default_rng([i, *condition.name.encode()])
        score = arrange(clip.path, condition.arrangement, scratch / f"arranged-{os.getpid()}.mid", rng)
        return render(score, condition.font)
    # Each font begins elsewhere in the palette: a clip is heard with several timbres.
    at = (i + list(FONTS).index(condition.font)) % len(PALETTE)
    programme = PALETTE[at] if condition.programme == MIXED else condition.programme
    return render(clip.path, condition.font, programme, scratch)


def prepare(
    cache: Path, condition: Condition, clips: list[Clip], keep_audio: bool, every: int = 1
) -> Iterator[int]:
    """Render and extract the clips not cached yet, of one clip in ``every``; yields the number of clips done.

    Each condition begins at another clip, so that together they hear all of them.
    """
    extractor = FeatureExtractor()
    audio_folder = cache / "audio" / replace(condition, treatment="clean").name
    audio_folder.mkdir(parents=True, exist_ok=True)

    def sound(i: int) -> Float32:
        rendering = audio_folder / f"{clips[i].name}.npy"
        if rendering.exists():
            samples = np.load(rendering)
        else:
            samples = _rendered(clips[i], i, condition, cache)
            if keep_audio:
                np.save(rendering.with_suffix(".part.npy"), samples)
                rendering.with_suffix(".part.npy").rename(rendering)
        return np.asarray(samples.astype(np.float32) / 32_768.0, np.float32)

    begin = sum(condition.name.encode())
    for i, clip in enumerate(clips):
        if (begin + i) % every:
            continue
        target, frames_target = (path(cache, condition, clip) for path in (feature_path, frames_path))
        if not (target.exists() and frames_target.exists()):
            rng, told = np.random.default_rng([i, *condition.name.encode()]), Truth()
            audio, before_s = sound(i), 0.0
            if condition.treatment in AFTER:
                pause_s = rng.uniform(*PAUSE_S) if condition.treatment == "pause" else 0.0
                audio = _after(audio, sound(int(rng.integers(len(clips)))), pause_s, rng)
                before_s = AFTER_S + pause_s + GRACE_S
            if condition.treatment in ROOMS:
                audio = ROOMS[condition.treatment](audio, rng, told)
            else:
                audio = TREATMENTS[condition.treatment](audio, rng)
            physical, presence, frames = _physical(audio, extractor)
            presence[: round(before_s * EMOTION_RATE_HZ)] = 0.0
            _save(target, physical=physical, presence=presence)
            _save(frames_target, frames=frames.astype(np.float16), presence=presence, **told)
        yield i + 1


def _save(target: Path, **arrays: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.rename(target)


def load(cache: Path, condition: Condition, clip: Clip) -> tuple[Float32, Float32]:
    """Cached features and presence. Raises DataError."""
    path = feature_path(cache, condition, clip)
    try:
        with np.load(path) as arrays:
            return standardise(arrays["physical"]), arrays["presence"]
    except (OSError, ValueError, KeyError):
        raise DataError(f"no features in {path}; run python -m models.emotion.data prepare") from None


def load_frames(cache: Path, condition: Condition, clip: Clip) -> tuple[Float32, Float32, Truth]:
    """Cached log mel frames [n, 8, 27], presence [n], and the room where one was drawn. Raises DataError."""
    path = frames_path(cache, condition, clip)
    try:
        with np.load(path) as arrays:
            told = {key: float(arrays[key]) for key in ("drr_db", "rt60_s", "snr_db") if key in arrays}
            return arrays["frames"].astype(np.float32), arrays["presence"], told
    except (OSError, ValueError, KeyError):
        raise DataError(f"no frames in {path}; run python -m models.emotion.data prepare") from None


OTHERS: Final = ("not_music", "melodies", "wild")
# Chosen: together about as many as EMOPIA's clips for training.
N_NOT_MUSIC, N_MELODIES = 490, 240


def _in_a_place(audio: Float32, rng: np.random.Generator) -> Float32:
    return place(audio, rng) if rng.random() < 0.5 else audio


def other_sounds(kind: str, scratch: Path) -> Iterator[tuple[str, Callable[[], Float32]]]:
    """Names, and what makes the audio, of what is no clip; ``wild`` music as recorded or in a place."""
    if kind == "not_music":
        for i in range(N_NOT_MUSIC):
            yield f"{i:04}", partial(not_music.sound, i, scratch)
    elif kind == "melodies":
        for i in range(N_MELODIES):
            yield f"{i:04}", partial(melodies.sound, i)
    else:
        for path in wild.recordings():
            for i, audio in enumerate(wild.excerpts(path)):
                rng = np.random.default_rng([i, *path.name.encode()])
                yield f"{path.stem}-{i}", partial(_in_a_place, audio, rng)


def prepare_others(cache: Path, kind: str) -> Iterator[int]:
    """Features of ``other_sounds`` into one folder each; yields the number done."""
    folder, extractor = cache / "features" / kind, FeatureExtractor()
    for n, (name, make) in enumerate(other_sounds(kind, cache)):
        target = folder / f"{name}.npz"
        if not target.exists():
            physical, presence, _ = _physical(make(), extractor)
            _save(target, physical=physical, presence=presence)
        yield n + 1


def load_others(cache: Path, kind: str) -> list[tuple[str, Float32, Float32]]:
    """Name, features and presence of what ``prepare_others`` left. Raises DataError where it left nothing."""
    found = []
    for path in sorted((cache / "features" / kind).glob("*.npz")):
        if not path.name.endswith(".part.npz"):
            with np.load(path) as arrays:
                found.append((path.stem, standardise(arrays["physical"]), arrays["presence"]))
    if not found:
        raise DataError(f"no features of {kind} in {cache}; run python -m models.emotion.data prepare")
    return found


def default_cache() -> Path:
    """``KELLY_CACHE`` or ``out/cache`` in the checkout, plus ``emotion``."""
    return Path(os.environ.get("KELLY_CACHE") or REPO / "out" / "cache") / "emotion"


def _jobs(only: set[str]) -> list[tuple[Condition, list[Clip]]]:
    train, val, vgmidi = emopia("train"), emopia("val"), vgmidi_phrases()
    jobs = [(c, train) for c in TRAIN_CONDITIONS] + [(c, val) for c in EVALUATION_CONDITIONS]
    jobs += [(Condition(font), vgmidi) for font in ("timgm", PATCHES)]
    known = {c.name for c, _ in jobs} | set(OTHERS)
    unknown = sorted(only - known)
    if unknown:
        names = ", ".join(sorted(known))
        raise DataError(f"no condition {', '.join(unknown)} to prepare; give some of {names}")
    return [(c, clips) for c, clips in jobs if not only or c.name in only]


@command("models.emotion.data", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.data", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["prepare"])
    parser.add_argument(
        "--cache", type=path_argument, default=default_cache(), help="folder of the cache (resumes)"
    )
    parser.add_argument("--condition", action="append", default=[], help="only these, for instance fluid-0")
    parser.add_argument("--keep-audio", action="store_true", help="keep renderings (about 4 GB a font)")
    parser.add_argument("--split", choices=["train", "val", "vgmidi"], help="only clips of this split")
    parser.add_argument("--every", type=int, default=1, help="one clip in so many of each condition")
    args = parser.parse_args(argv)
    chosen = set(args.condition)
    # What is absent is said before minutes of work.
    jobs = _jobs(chosen) if not chosen or chosen - set(OTHERS) else []
    for kind in OTHERS:
        if not chosen or kind in chosen:
            for done in prepare_others(args.cache, kind):
                if done % 20 == 0:
                    print(f"\r{kind:24} {done:4}", end="", flush=True)
            print()
    for condition, clips in jobs:
        if args.split not in (None, clips[0].split):
            continue
        for done in prepare(args.cache, condition, clips, args.keep_audio, args.every):
            if done % 20 < args.every or done == len(clips):
                print(
                    f"\r{condition.name:24} {clips[0].split:6} {done:4} of {len(clips)}",
                    end="",
                    flush=True,
                )
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
