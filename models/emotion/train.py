"""Train the emotion network: ``python -m models.emotion.train --config models/emotion/emotion.yaml``.

Multi-task on the emotion vector at every step after a warm-up (the deployed network is read at any time,
not at a clip's end), with feature-level augmentation that stands for other fonts and microphones: a smooth
offset on the mel bands, offsets per feature, noise. The exponential moving average of the weights is kept:
it needs no epoch to be chosen, so no held-out data is spent on choosing one. ``--folds K --fold k`` holds
out whole songs of the training split, which is where design choices are made; val is only for reporting.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kelly_edge.emotion.features import FEATURES, LIMIT
from kelly_edge.emotion.vector import slice_of
from kelly_edge.errors import ConfigError, KellyError
from models.emotion.data import Clip, default_cache, emopia, feature_path, load, parse_condition
from models.emotion.network import EmotionLstm
from models.emotion.symbolic import N_DESCRIPTORS, TARGETS, describe

Float32 = NDArray[np.float32]
_START: Final = {spec.name: spec.start for spec in FEATURES}
TIMBRE: Final = slice(0, _START["onset_rate"])
PULSE: Final = slice(_START["tempogram"], _START["pitch_mean"])
HARMONY: Final = slice(_START["degree_chroma_15s"], None)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the YAML file may set any of them."""

    conditions: list[str] = field(default_factory=lambda: ["fluid-0", "muse-0"])
    seed: int = 0
    epochs: int = 24
    batch: int = 32
    crop: int = 256  # steps of 85.3 ms
    warm_up: int = 40  # steps without loss
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    label_smoothing: float = 0.1
    auxiliary: float = 0.3  # weight of mode, tempo, … and descriptors
    ema: float = 0.995
    balance: float = 1.0  # 1 weighs the quadrants alike, 0 as they come
    noise: float = 0.15  # of features, in their standardised unit
    offset: float = 0.2  # per clip and feature
    equaliser: float = 0.7  # smooth curve over the mel bands, per clip
    pulse_drop: float = 0.4  # share of clips heard without tempo and tempogram
    pulse_lift: float = 1.0  # how much clearer a pulse may be, per clip
    group_drop: float = 0.05  # share of clips heard without a row of the feature table, for each row
    timbre_drop: float = 0.15  # share of clips heard without mel bands, level and spectral shape


def read_config(path: Path) -> TrainConfig:
    """Typed settings from YAML. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path} ({error}); give a YAML file of settings") from None
    known = {f.name for f in fields(TrainConfig)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigError(f"{path}: {', '.join(unknown)} unknown; known are {', '.join(sorted(known))}")
    return TrainConfig(**content)


@dataclass(frozen=True)
class Example:
    """A clip as heard under one condition, with its targets."""

    features: Float32  # [n, 128]
    presence: Float32  # [n]
    quadrant: int
    symbolic: Float32  # [6 + 16]


def examples(
    cache: Path, conditions: list[str], clips: list[Clip], skip_missing: bool = False
) -> list[Example]:
    """Everything in memory: about 0.25 GB a condition. ``skip_missing`` trains on what is prepared."""
    symbolic = {clip.name: np.concatenate(describe(clip.path)) for clip in clips}
    result = []
    for name in conditions:
        for clip in clips:
            condition = parse_condition(name)
            if skip_missing and not feature_path(cache, condition, clip).exists():
                continue
            features, presence = load(cache, condition, clip)
            result.append(Example(features, presence, clip.quadrant, symbolic[clip.name]))
    return result


def _augment(x: Float32, config: TrainConfig, rng: np.random.Generator) -> Float32:
    n, size = x.shape
    offset = rng.normal(0.0, config.offset, size)
    # Another instrument or microphone moves timbre most, rhythm and register a little, harmony hardly.
    offset[TIMBRE] *= 2.5
    offset[HARMONY] *= 0.25
    knots = rng.normal(0.0, config.equaliser, 6)
    offset[:27] += np.interp(np.arange(27), np.linspace(0, 26, 6), knots)
    x = x.copy()
    if rng.random() < config.timbre_drop:
        x[:, TIMBRE] = 0.0
    # A sequencer's pulse is clearer than any pianist's and means nothing for the mood.
    if rng.random() < config.pulse_drop:
        x[:, PULSE] = 0.0
    offset[PULSE] += abs(rng.normal(0.0, config.pulse_lift))
    for spec in FEATURES:
        if rng.random() < config.group_drop:
            x[:, spec.slice] = 0.0
    noisy = x + offset + rng.normal(0.0, config.noise, (n, size))
    return np.asarray(np.clip(noisy, -LIMIT, LIMIT), np.float32)


def _batch(
    chosen: list[Example], config: TrainConfig, rng: np.random.Generator
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Crops ``[b, crop, 128]``, weights ``[b, crop]``, quadrants ``[b]``, symbolic ``[b, 22]``."""
    x = np.zeros((len(chosen), config.crop, chosen[0].features.shape[1]), np.float32)
    w = np.zeros((len(chosen), config.crop), np.float32)
    for i, example in enumerate(chosen):
        n = len(example.features)
        start = int(rng.integers(0, max(n - config.crop, 0) + 1))
        part = example.features[start : start + config.crop]
        x[i, : len(part)] = _augment(part, config, rng)
        w[i, : len(part)] = example.presence[start : start + config.crop]
    w[:, : config.warm_up] = 0.0
    quadrants = torch.tensor([e.quadrant for e in chosen])
    symbolic = torch.from_numpy(np.stack([e.symbolic for e in chosen]))
    return torch.from_numpy(x), (torch.from_numpy(w), quadrants, symbolic)


def _loss(
    network: EmotionLstm, emotion: Tensor, targets: tuple[Tensor, Tensor, Tensor], config: TrainConfig
) -> Tensor:
    """Weighted mean over steps of the multi-task loss."""
    w, quadrant, symbolic = targets
    smooth = config.label_smoothing
    valence = ((quadrant == 0) | (quadrant == 3)).float()
    arousal = ((quadrant == 0) | (quadrant == 1)).float()

    def binary(name: str, label: Tensor) -> Tensor:
        # The entry is half the log odds (tanh of it is the mean sign).
        logit = 2.0 * emotion[..., slice_of(name)].squeeze(-1)
        target = (label * (1.0 - smooth) + 0.5 * smooth)[:, None].expand_as(logit)
        return functional.binary_cross_entropy_with_logits(logit, target, reduction="none")

    n = emotion.shape[1]
    quadrants = functional.cross_entropy(
        emotion[..., slice_of("quadrant")].transpose(1, 2),
        quadrant[:, None].expand(-1, n),
        reduction="none",
        label_smoothing=smooth,
    )
    mode = functional.cross_entropy(
        emotion[..., slice_of("mode")].transpose(1, 2), symbolic[:, :1].long().expand(-1, n), reduction="none"
    )
    regression = sum(
        (emotion[..., slice_of(name)].squeeze(-1) - symbolic[:, i : i + 1]).square()
        for i, name in enumerate(TARGETS)
        if name != "mode"
    )
    descriptors = (network.descriptors(emotion) - symbolic[:, None, -N_DESCRIPTORS:]).square().mean(-1)
    main = quadrants + binary("valence", valence) + binary("arousal", arousal)
    total = main + config.auxiliary * (mode + regression + descriptors)
    return (total * w).sum() / w.sum().clamp(min=1.0)


def train(config: TrainConfig, data: list[Example], log: Path | None, checkpoint: Path | None) -> EmotionLstm:
    """Train and return the moving average; resumes from ``checkpoint`` when it exists."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    counts = np.bincount([example.quadrant for example in data], minlength=4)
    # Quadrants weigh alike, whatever the set has most of: its prior is not the listener's.
    balance = (len(data) / 4.0 / np.maximum(counts, 1)).astype(np.float32) ** np.float32(config.balance)
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
            chosen = [data[i] for i in order[b * config.batch : (b + 1) * config.batch]]
            x, targets = _batch(chosen, config, rng)
            targets[0].mul_(torch.from_numpy(balance)[targets[1]][:, None])
            emotion, _ = network(x)
            loss = _loss(network, emotion, targets, config)
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


def split_songs(clips: list[Clip], folds: int, fold: int) -> tuple[list[Clip], list[Clip]]:
    """Clips outside and inside fold ``fold`` of ``folds``, songs kept whole; folds 0 holds nothing out."""
    if folds == 0:
        return clips, []
    songs = sorted({clip.song for clip in clips})
    np.random.default_rng(1).shuffle(songs)
    held = set(songs[fold::folds])
    return [c for c in clips if c.song not in held], [c for c in clips if c.song in held]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.emotion.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("emotion.yaml"))
    parser.add_argument("--out", type=Path, help="folder of the run (default out/emotion/<config>-<seed>)")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--seed", type=int)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--skip-missing", action="store_true", help="use the clips prepared so far")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        torch.set_num_threads(args.threads)
        config = read_config(args.config)
        if args.seed is not None:
            config = TrainConfig(**{**config.__dict__, "seed": args.seed})
        out = args.out or Path("out") / "emotion" / f"{args.config.stem}-{config.seed}"
        out.mkdir(parents=True, exist_ok=True)
        clips, _ = split_songs(emopia("train"), args.folds, args.fold)
        data = examples(args.cache, config.conditions, clips, args.skip_missing)
        print(f"{len(clips)} clips, {len(data)} examples, {len(config.conditions)} conditions")
        network = train(config, data, out / "train.log", out / "checkpoint.pt")
        torch.save(network.state_dict(), out / "emotion_model.pt")
        print(f"wrote {out / 'emotion_model.pt'}; next: python -m models.emotion.export --run {out}")
    except KellyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
