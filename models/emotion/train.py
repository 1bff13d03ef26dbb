"""Train the emotion network: ``python -m models.emotion.train --config models/emotion/emotion.yaml``.

Multi-task on the emotion vector at every step after a warm-up (the deployed network is read at any time,
not at a clip's end), on features altered as other fonts and microphones would (``augment``). The exponential
moving average of the weights is kept: it needs no epoch to be chosen. ``--teacher RUN`` (repeatable) distils
trained runs: their decision on a clip, over all its renderings and with that of ``linear``, becomes part of
its label.
Design choices are made by ``validate``, on songs and a font held out of the training split; val only reports.
"""

import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from firmware_py.devices.files.output import refuse_to_overwrite
from kelly_edge.emotion.circumplex import clip_log_odds, posterior_of
from kelly_edge.emotion.symbolic import N_DESCRIPTORS, TARGETS
from kelly_edge.emotion.vector import slice_of
from kelly_edge.errors import ConfigError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.augment import Augmentation, augment, font_shifts
from models.emotion.data import Clip, default_cache, emopia, feature_path, load, load_others, parse_condition
from models.emotion.linear import linear_log_odds
from models.emotion.network import EmotionLstm, load_run, run_clips
from models.emotion.symbolic import describe
from models.emotion.wild import graded
from models.precision import fast_dtype

Float32 = NDArray[np.float32]
PLEASANT: Final = (1.0, 0.0, 0.0, 1.0)
"""Definition of the quadrants in EMOPIA, after Russell (1980)."""
ENERGETIC: Final = (1.0, 1.0, 0.0, 0.0)
"""Which quadrants have positive valence, positive arousal. That is the definition of the quadrants in
EMOPIA, after Russell (1980)."""
N_FOLDS: Final = 4
"""By song, of the training split. Chosen: a fold is large enough to judge and leaves enough to learn from."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the YAML file may set any of them."""

    conditions: list[str] = field(default_factory=lambda: ["fluid-0", "muse-0"])
    seed: int = 0
    epochs: int = 24
    batch: int = 32
    crop: int = 256  # steps of 85.3 ms
    warm_up: int = 40  # steps without loss
    from_start: float = 0.15  # share of the crops that begin where the recording does
    at_change: float = 0.7  # share of the crops of clips heard after another one that hold the change
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    label_smoothing: float = 0.1
    auxiliary: float = 0.3  # weight of mode, tempo, … and descriptors
    ema: float = 0.995
    balance: float = 1.0  # 1 weighs the quadrants alike, 0 as they come
    distil: float = 0.5  # share of the teachers' decision in a label, where there are teachers
    graded: float = 0.35  # share of the arousal read from the MIDI in a label: how far from the border
    music: float = 0.5  # weight of telling music from other sounds
    others: list[str] = field(default_factory=list)  # of data.OTHERS: sounds that are no labelled clip
    augmentation: Augmentation = field(default_factory=Augmentation)


def read_config(path: Path) -> TrainConfig:
    """Typed settings from YAML. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path} ({error}); give a YAML file of settings") from None
    strength = content.pop("augmentation", {})
    _known(path, content, TrainConfig)
    _known(path, strength, Augmentation)
    return TrainConfig(**content, augmentation=Augmentation(**strength))


def _known(path: Path, content: dict[str, Any], kind: type) -> None:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigError(f"{path}: {', '.join(unknown)} unknown; known are {', '.join(sorted(known))}")


@dataclass(frozen=True)
class Example:
    """A clip as heard under one condition, with its targets."""

    clip: str
    features: Float32  # [n, 128]
    presence: Float32  # [n]
    quadrant: int  # -1: no clip of the labelled set
    symbolic: Float32  # [6 + 16]
    is_music: bool = True
    arousal: Float32 | None = None  # [n] probability of energetic, where the quadrant is not known


def examples(
    cache: Path, conditions: list[str], clips: list[Clip], skip_missing: bool = False
) -> list[Example]:
    """Everything in memory: about 0.25 GB a condition. ``skip_missing`` trains on the conditions prepared."""
    symbolic = {clip.name: np.concatenate(describe(clip.path)) for clip in clips}
    result = []
    for name in conditions:
        for clip in clips:
            condition = parse_condition(name)
            if skip_missing and not feature_path(cache, condition, clip).exists():
                continue
            features, presence = load(cache, condition, clip)
            result.append(Example(clip.name, features, presence, clip.quadrant, symbolic[clip.name]))
    return result


def other_examples(cache: Path, kinds: list[str]) -> list[Example]:
    """What is no labelled clip: sounds that are no music, and recorded music with its graded arousal."""
    unknown = np.zeros(len(TARGETS) + N_DESCRIPTORS, np.float32)
    result = []
    for kind in kinds:
        for name, features, presence in load_others(cache, kind):
            is_music = kind != "not_music"
            arousal = graded(features) if kind == "wild" else None
            heard = presence if is_music else np.ones_like(presence)
            result.append(Example(name, features, heard, -1, unknown, is_music, arousal))
    return result


def graded_arousal(data: list[Example]) -> dict[str, float]:
    """Probability that each labelled clip is energetic by its symbolic descriptors alone, out of fold.

    A label says on which side of the border a clip lies, its notes say how far: four folds of a logistic
    regression over the symbolic targets, none of which saw the clip it decides.
    """
    clips = {e.clip: e for e in data if e.quadrant >= 0}
    names = sorted(clips)
    x = np.stack([clips[name].symbolic for name in names])
    y = np.array([clips[name].quadrant < 2 for name in names])
    if y.all() or not y.any() or min(y.sum(), (~y).sum()) < N_FOLDS:
        return dict.fromkeys(names, 0.5)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1_000))
    p = cross_val_predict(model, x, y, cv=N_FOLDS, method="predict_proba")[:, 1]
    return dict(zip(names, p.tolist(), strict=True))


def taught(networks: list[EmotionLstm], data: list[Example]) -> dict[str, Float32]:
    """The teachers' posterior ``[4]`` for each clip: mean log odds over its renderings and over teachers.

    The linear reading of the clips counts as much as all networks together. No network, no teacher: empty.
    """
    if not networks:
        return {}
    features = [e.features for e in data]
    odds = [
        [clip_log_odds(y, e.presence) for y, e in zip(run_clips(network, features), data, strict=True)]
        for network in networks
    ]
    both = 0.5 * np.mean(odds, 0) + 0.5 * linear_log_odds(features, [e.quadrant for e in data])
    heard = defaultdict(list)
    for example, row in zip(data, both, strict=True):
        heard[example.clip].append(row)
    return {clip: posterior_of(np.mean(rows, 0)).astype(np.float32) for clip, rows in heard.items()}


def labels(data: list[Example], teacher: dict[str, Float32], config: TrainConfig) -> Float32:
    """Probabilities of the quadrants ``[len(data), 4]``: the annotators', smoothed, the graded arousal's and
    the teacher's; flat where no quadrant is known."""
    smooth = config.label_smoothing
    energetic = graded_arousal(data) if config.graded > 0.0 else {}
    rows = []
    for example in data:
        row = np.full(4, smooth / 4.0, np.float32)
        if example.quadrant < 0:
            row[:] = 0.25
        else:
            row[example.quadrant] += 1.0 - smooth
        if example.clip in energetic and example.quadrant >= 0:
            p = config.graded * energetic[example.clip] + (1.0 - config.graded) * float(row[:2].sum())
            # The share of valence within each half stays.
            row[:2] *= p / row[:2].sum()
            row[2:] *= (1.0 - p) / row[2:].sum()
        if example.clip in teacher:
            row += config.distil * (teacher[example.clip] - row)
        rows.append(row)
    return np.stack(rows)


class Batch(NamedTuple):
    """Crops of b examples, each of n steps."""

    x: Tensor  # [b, n, 128]
    labelled: Tensor  # [b, n] weight of the quadrant's losses
    graded: Tensor  # [b, n] weight of ``arousal``
    arousal: Tensor  # [b, n] probability of energetic, where no quadrant is known
    heard: Tensor  # [b, n] weight of telling music from other sounds
    is_music: Tensor  # [b]
    symbolic: Tensor  # [b, 22]
    rows: NDArray[np.int64]  # [b] of the examples


def _start(example: Example, config: TrainConfig, rng: np.random.Generator) -> int:
    """Where a crop begins."""
    # What is heard before the clip itself has no presence.
    change = int(np.argmax(example.presence > 0.0))
    if change > config.warm_up and rng.random() < config.at_change:
        return int(rng.integers(max(change - config.crop // 2, 0), change - config.warm_up // 2))
    if rng.random() < config.from_start:
        return 0
    return int(rng.integers(0, max(len(example.features) - config.crop, 0) + 1))


def _batch(
    data: list[Example],
    rows: NDArray[np.int64],
    shifts: Float32,
    config: TrainConfig,
    rng: np.random.Generator,
) -> Batch:
    """Random crops of the examples ``rows`` [b], altered."""
    shape = len(rows), config.crop
    x = np.zeros((*shape, data[rows[0]].features.shape[1]), np.float32)
    labelled, graded_, arousal, heard = (np.zeros(shape, np.float32) for _ in range(4))
    for i, row in enumerate(rows):
        example = data[row]
        start = _start(example, config, rng)
        part = slice(start, start + config.crop)
        n = len(example.features[part])
        x[i, :n] = augment(example.features[part], config.augmentation, shifts, rng)
        presence = example.presence[part]
        heard[i, :n] = presence
        if example.quadrant >= 0:
            labelled[i, :n] = presence
        elif example.arousal is not None:
            graded_[i, :n], arousal[i, :n] = presence, example.arousal[part]
    for weight in (labelled, graded_):
        weight[:, : config.warm_up] = 0.0
    heard[:, : config.warm_up // 4] = 0.0
    is_music = np.array([data[row].is_music for row in rows], np.float32)
    symbolic = np.stack([data[row].symbolic for row in rows])
    return Batch(
        x=torch.from_numpy(x),
        labelled=torch.from_numpy(labelled),
        graded=torch.from_numpy(graded_),
        arousal=torch.from_numpy(arousal),
        heard=torch.from_numpy(heard),
        is_music=torch.from_numpy(is_music),
        symbolic=torch.from_numpy(symbolic),
        rows=rows,
    )


def _loss(
    network: EmotionLstm, emotion: Tensor, batch: Batch, label: Tensor, balance: Tensor, config: TrainConfig
) -> Tensor:
    """Multi-task loss, a weighted mean over steps; ``label`` [b, 4] are probabilities, ``balance`` [b]."""
    n, symbolic = emotion.shape[1], batch.symbolic

    def logit(name: str) -> Tensor:
        return emotion[..., slice_of(name)].squeeze(-1)

    def binary(name: str, target: Tensor) -> Tensor:
        # The entry is half the log odds (tanh of it is the mean sign).
        return functional.binary_cross_entropy_with_logits(2.0 * logit(name), target, reduction="none")

    def of_quadrants(quadrants: tuple[float, ...]) -> Tensor:
        return (label @ torch.tensor(quadrants))[:, None].expand(-1, n)

    quadrants = functional.cross_entropy(
        emotion[..., slice_of("quadrant")].transpose(1, 2),
        label[:, :, None].expand(-1, -1, n),
        reduction="none",
    )
    mode = functional.cross_entropy(
        emotion[..., slice_of("mode")].transpose(1, 2), symbolic[:, :1].long().expand(-1, n), reduction="none"
    )
    regression = sum(
        (logit(name) - symbolic[:, i : i + 1]).square() for i, name in enumerate(TARGETS) if name != "mode"
    )
    descriptors = (network.descriptors(emotion) - symbolic[:, None, -N_DESCRIPTORS:]).square().mean(-1)
    main = quadrants + binary("valence", of_quadrants(PLEASANT)) + binary("arousal", of_quadrants(ENERGETIC))
    labelled = batch.labelled * balance[:, None]
    total = ((main + config.auxiliary * (mode + regression + descriptors)) * labelled).sum()
    # Both of the network's words on arousal learn from music without a quadrant.
    q = emotion[..., slice_of("quadrant")]
    of_quadrant_logits = torch.logsumexp(q[..., :2], -1) - torch.logsumexp(q[..., 2:], -1)
    by_quadrant = functional.binary_cross_entropy_with_logits(
        of_quadrant_logits, batch.arousal, reduction="none"
    )
    total = total + ((binary("arousal", batch.arousal) + by_quadrant) * batch.graded).sum()
    emotional = total / (labelled.sum() + batch.graded.sum()).clamp(min=1.0)
    music = functional.binary_cross_entropy_with_logits(
        logit("music"), batch.is_music[:, None].expand(-1, n), reduction="none"
    )
    return emotional + config.music * (music * batch.heard).sum() / batch.heard.sum().clamp(min=1.0)


def train(
    config: TrainConfig,
    data: list[Example],
    teacher: dict[str, Float32] | None = None,
    log: Path | None = None,
    checkpoint: Path | None = None,
) -> EmotionLstm:
    """Train and return the moving average; resumes from ``checkpoint`` when it exists."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    known = [example.quadrant for example in data if example.quadrant >= 0]
    # Quadrants weigh alike, whatever the set has most of: its prior is not the listener's.
    counts = np.maximum(np.bincount(known, minlength=4), 1)
    balance = (len(known) / 4.0 / counts).astype(np.float32) ** np.float32(config.balance)
    target = torch.from_numpy(labels(data, teacher or {}, config))
    weight = torch.from_numpy(balance)[[example.quadrant for example in data]]
    shifts = font_shifts(
        [e.features for e in data if e.quadrant >= 0], [e.clip for e in data if e.quadrant >= 0]
    )
    network = EmotionLstm(config.dropout)
    average = EmotionLstm()
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    n_batches = len(data) // config.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=n_batches * config.epochs, pct_start=0.15
    )
    bfloat16 = fast_dtype(torch.device("cpu")) == torch.bfloat16
    first = 0
    if checkpoint is not None and checkpoint.exists():
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=False)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        rng.bit_generator.state = saved["rng"]
        first = saved["epoch"]
    for epoch in range(first, config.epochs):
        started, total = time.monotonic(), 0.0
        order = rng.permutation(len(data))
        for b in range(n_batches):
            rows = order[b * config.batch : (b + 1) * config.batch]
            batch = _batch(data, rows, shifts, config, rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                emotion, _ = network(batch.x)
            loss = _loss(network, emotion.float(), batch, target[rows], weight[rows], config)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
            with torch.no_grad():
                # Young averages would remember the random start: the window grows with the run.
                done = epoch * n_batches + b
                keep = min(config.ema, (1.0 + done) / (10.0 + done))
                for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                    slow.lerp_(fast, 1.0 - keep)
        elapsed = time.monotonic() - started
        line = f"epoch {epoch + 1:3} of {config.epochs} loss {total / n_batches:.4f} {elapsed:.1f} s"
        print(line, flush=True)
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if checkpoint is not None:
            state = {"network": network.state_dict(), "average": average.state_dict(), "epoch": epoch + 1}
            state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
            state["rng"] = rng.bit_generator.state
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").rename(checkpoint)
    return average.eval()


@command("models.emotion.train", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=path_argument, default=Path(__file__).with_name("emotion.yaml"))
    parser.add_argument(
        "--out", type=path_argument, help="folder of the run (default out/emotion/<config>-<seed>)"
    )
    parser.add_argument("--cache", type=path_argument, default=default_cache())
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--teacher", type=path_argument, action="append", default=[], help="folder of a trained run"
    )
    parser.add_argument("--skip-missing", action="store_true", help="use the clips prepared so far")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    config = read_config(args.config)
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    out = args.out or Path("out") / "emotion" / f"{args.config.stem}-{config.seed}"
    teachers = [path for run in args.teacher for path in (run.glob("*") if run.is_dir() else [run])]
    outputs = [out / name for name in ("train.log", "checkpoint.pt", "emotion_model.pt")]
    refuse_to_overwrite(outputs, [args.config, *teachers])
    out.mkdir(parents=True, exist_ok=True)
    clips = emopia("train")
    data = examples(args.cache, config.conditions, clips, args.skip_missing)
    teacher = taught([load_run(run) for run in args.teacher], data)
    data += other_examples(args.cache, config.others)
    print(f"{len(clips)} clips, {len(data)} examples, {len(config.conditions)} conditions")
    network = train(config, data, teacher, out / "train.log", out / "checkpoint.pt")
    torch.save(network.state_dict(), out / "emotion_model.pt")
    print(f"wrote {out / 'emotion_model.pt'}; next: python -m models.emotion.export --run {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
