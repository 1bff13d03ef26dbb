"""What every stage costs on this machine, beside its alternatives, in one run.

A subject is one stage in one variant (precision and runtime). All subjects take turns in rounds, so that a
stall of the machine meets all of them; medians and p99 are over single calls from Python, input and output
included. ``models.bench`` adds peers that need the workshop, ``models.instructions`` counts the same subjects
in Cortex-A72 instructions.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from firmware_py.runtimes import artefacts
from firmware_py.runtimes.emotion_network import TfliteEmotion
from firmware_py.runtimes.rtneural import open_rtneural
from firmware_py.runtimes.tflite import RUNTIME_MODULES
from firmware_py.runtimes.voice_decoder import TfliteDecoder
from firmware_py.settings import Settings
from firmware_py.wiring.choice import EMOTION_MODELS, Choice, choice_path, store_choice
from firmware_py.wiring.composer_models import new_generator, open_composer_network
from kelly_edge.contract import HOP_SIZE, HOPS_PER_EMOTION_STEP, N_FEATURES, N_HARMONICS, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.errors import ArtefactError
from kelly_edge.music.target import Target
from kelly_edge.signal.limiter import Limiter
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.synth import Synth
from kelly_edge.timbre.voice import Voice

HOP_US: Final = 1e6 * HOP_SIZE / SAMPLE_RATE_HZ
"""By definition: a hop in microseconds."""
GROUP_US: Final = HOP_US * HOPS_PER_EMOTION_STEP
WORD_US: Final = 1e6 / 7
"""Music needs about 7 compound words per second. Measured on the composer's music; in microseconds."""
F0_HZ: Final = 170.0
"""All 64 harmonics of it are below the voices' band limit. Chosen: the most work."""
# Rounds that are timed, and that come before. Chosen: the median of ten is steady, three load caches.
N_ROUNDS: Final = 10
N_WARM: Final = 3
KEEP_DEFAULT_SHARE: Final = 0.9
"""A rival of the default must cost less than this share of it: a stall decides nothing. Chosen by hand."""


@dataclass(frozen=True)
class Subject:
    """``step()`` does the work once and returns how many items that was; one is due ``every_us``."""

    stage: str
    variant: str
    every_us: float
    step: Callable[[], int]


@dataclass(frozen=True)
class Cost:
    """Microseconds an item, and the share of a core it takes in real time."""

    stage: str
    variant: str
    p50_us: float
    p99_us: float
    share_of_core: float


def playing(n_hops: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tone of ``F0_HZ`` with overtones and some noise: float32 [n_hops, 256]."""
    t = np.arange(n_hops * HOP_SIZE) / SAMPLE_RATE_HZ
    sound = sum(0.2 / k * np.sin(2 * np.pi * k * F0_HZ * t) for k in range(1, 9))
    sound += 0.002 * np.random.default_rng(0).standard_normal(t.size)
    return np.asarray(sound, np.float32).reshape(n_hops, HOP_SIZE)


def emotion_subject(variant: str, network: EmotionNetwork) -> Subject:
    """One step of an emotion network."""
    features = np.random.default_rng(0).normal(0, 1, N_FEATURES).astype(np.float32)

    def step() -> int:
        network.step(features)
        return 1

    return Subject("emotion step", variant, GROUP_US, step)


def _emotion_subjects(model_set: tuple[str, str]) -> list[Subject]:
    found = []
    for precision, name in EMOTION_MODELS.items():
        try:
            artefact = artefacts.load(name, *model_set)
        except ArtefactError:
            continue
        for runtime in RUNTIME_MODULES:
            try:
                network = TfliteEmotion(artefacts.open_tflite(artefact, runtime))
            except ArtefactError:
                continue
            found.append(emotion_subject(f"{precision}, {runtime}", network))
    json_file = artefacts.load("emotion_model", *model_set).path.with_suffix(".json")
    return [*found, emotion_subject("float32, numpy", open_rtneural(json_file))]


def _features_subject() -> Subject:
    extractor, hops = FeatureExtractor(), playing(HOPS_PER_EMOTION_STEP)

    def step() -> int:
        for hop in hops:
            extractor.push(hop)
        return 1

    return Subject("128 features", f"{HOPS_PER_EMOTION_STEP} hops", GROUP_US, step)


def _analysis_subject() -> Subject:
    tracker, meter, hop = PitchTracker(), LoudnessMeter(), playing(1)[0]

    def step() -> int:
        tracker.push(hop)
        meter.push(hop)
        return 1

    return Subject("pitch and loudness", "numba", HOP_US, step)


def _decoder_subject(runtime: str, decoder: TfliteDecoder) -> Subject:
    controls = Controls()

    def step() -> int:
        decoder.step(F0_HZ, -20.0, controls)
        return 1

    return Subject("voice decoder", f"int8, {runtime}", HOP_US, step)


def _whole_voice_subject(runtime: str, decoder: TfliteDecoder) -> Subject:
    voice, hop, out = Voice([decoder], seed=0), playing(1)[0], np.zeros(HOP_SIZE, np.float32)

    def step() -> int:
        voice.process(hop, out, F0_HZ, 1.0, -20.0)
        return 1

    return Subject("whole voice", f"{runtime}, numba", HOP_US, step)


def _voice_subjects(settings: Settings) -> list[Subject]:
    artefact = artefacts.load(f"ddsp_{settings.voice.selected}", *settings.runtime.model_set)
    decoders = {}
    for runtime in RUNTIME_MODULES:
        try:
            decoders[runtime] = TfliteDecoder(artefacts.open_tflite(artefact, runtime))
        except ArtefactError:
            continue
    found = [_decoder_subject(runtime, decoder) for runtime, decoder in decoders.items()]
    synth, controls, out = Synth(0), Controls(), np.zeros(HOP_SIZE, np.float32)
    controls.amplitude = 0.5
    controls.harmonic_distribution[:] = 1.0 / N_HARMONICS
    controls.noise_magnitudes[:] = 1e-3

    def play() -> int:
        synth.play(controls, F0_HZ, 1.0, out)
        return 1

    found.append(Subject("synthesiser", f"numba, {N_HARMONICS} harmonics", HOP_US, play))
    return [*found, *(_whole_voice_subject(r, d) for r, d in list(decoders.items())[:1])]


def _limiter_subject(settings: Settings) -> Subject:
    limiter = Limiter(settings.limiter.ceiling_db, settings.limiter.release_ms)
    period = settings.audio.period
    block, loud = np.zeros(period, np.float32), np.full(period, 1.5, np.float32)

    def step() -> int:
        block[:] = loud
        limiter.process(block)
        return 1

    return Subject("limiter, at work", "numpy", 1e6 * period / SAMPLE_RATE_HZ, step)


def _composer_subject(settings: Settings) -> Subject:
    generator, target = new_generator(settings, open_composer_network(settings)), Target(0.3, 0.3)

    def step() -> int:
        return 1 + len(generator.compose_bar(target).notes)

    return Subject("compound word", "int8, onnxruntime, sampling", WORD_US, step)


def subjects(settings: Settings) -> list[Subject]:
    """Every stage of the box in every variant this machine has.

    Raises
    ------
    ArtefactError: a model is missing or damaged.
    """
    return [
        _features_subject(),
        *_emotion_subjects(settings.runtime.model_set),
        _analysis_subject(),
        *_voice_subjects(settings),
        _limiter_subject(settings),
        _composer_subject(settings),
    ]


def measure(some: Sequence[Subject], seconds_each: float) -> list[Cost]:
    """Time all of ``some``, each for about ``seconds_each``, in ``N_ROUNDS`` rounds."""
    times: list[list[float]] = [[] for _ in some]
    for subject in some:
        for _ in range(N_WARM):
            subject.step()
    for _ in range(N_ROUNDS):
        for subject, found in zip(some, times, strict=True):
            end_s = time.perf_counter() + seconds_each / N_ROUNDS
            while (began_s := time.perf_counter()) < end_s:
                n_items = subject.step()
                found.append(1e6 * (time.perf_counter() - began_s) / n_items)
    costs = []
    for subject, found in zip(some, times, strict=True):
        p50, p99 = (float(q) for q in np.quantile(found, [0.5, 0.99]))
        costs.append(Cost(subject.stage, subject.variant, p50, p99, p50 / subject.every_us))
    return costs


def choose(costs: Sequence[Cost]) -> Choice:
    """The runtime whose emotion step and voice decoder together cost least, and the emotion's precision.

    The default stays unless a rival is clearly cheaper.
    """
    p50 = {(c.stage, c.variant): c.p50_us for c in costs}

    def emotion(precision: str, runtime: str) -> float:
        return p50.get(("emotion step", f"{precision}, {runtime}"), np.inf)

    def whole(choice: Choice) -> float:
        decoder = p50.get(("voice decoder", f"int8, {choice.tflite}"), np.inf)
        return emotion(choice.precision, choice.tflite) / GROUP_US + decoder / HOP_US

    best = min((Choice(r, p) for r in RUNTIME_MODULES for p in EMOTION_MODELS), key=whole)
    return best if whole(best) < KEEP_DEFAULT_SHARE * whole(Choice()) else Choice()


def print_costs(costs: Sequence[Cost], title: str) -> None:
    """A table on stdout."""
    table = Table(title=title, title_justify="left")
    for name in ("stage", "variant"):
        table.add_column(name)
    for name in ("p50 µs", "p99 µs", "% of a core"):
        table.add_column(name, justify="right")
    for cost in costs:
        numbers = (f"{cost.p50_us:.1f}", f"{cost.p99_us:.1f}", f"{100 * cost.share_of_core:.2f}")
        table.add_row(cost.stage, cost.variant, *numbers)
    console = Console()
    if not console.is_terminal:
        console.width = 100
    console.print(table)


def bench(settings: Settings, seconds_each: float, as_json: bool, store: bool) -> int:
    """Measure, print, and keep the choice for this board if asked to; returns the exit code."""
    costs = measure(subjects(settings), seconds_each)
    choice = choose(costs)
    rows = [vars(cost) for cost in costs]
    path = choice_path(settings.runtime.state_dir) if store else None
    if path:
        store_choice(choice, {f"{c.stage} ({c.variant})": round(c.p50_us, 2) for c in costs}, path)
    if as_json:
        result = {"costs": rows, "choice": vars(choice), "stored": str(path) if path else None}
        print(json.dumps(result, indent=2))
        return 0
    print_costs(costs, "Cost of every stage on this machine")
    print(f"fastest here: {choice.tflite}, {choice.precision} emotion model")
    if path:
        print(f"kept in {path}; runtime.tflite=auto takes it")
    return 0
