"""Train a voice: ``python -m models.timbre.train --voice flute [--audio DIR] [--config student|reference]``.

Checkpoints every minute in the work folder; an interrupted training resumes from its last.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kelly_edge.contract import N_HARMONICS
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from kelly_edge.timbre.controls import decoder_inputs
from models.timbre.data import Take, joined, takes
from models.timbre.network import (
    CONFIGS,
    HOP,
    DecoderNetwork,
    loudness_l1_db,
    multi_scale_spectral_loss,
    synthesise,
    training_loss,
)

SEGMENT_HOPS: Final = 128
"""Hops that are learned from at a time: 0.7 s. Chosen: a note and its beginning."""
WARM_UP_HOPS: Final = 16
"""Hops of a segment that only bring the state up and are not judged. Chosen: longer than the state
remembers loudness."""
BATCH: Final = 8
"""Segments of a step. Chosen by hand."""
LAST_RATE: Final = 0.05
"""Of the learning rate, after half a cosine. Chosen by hand."""
# Steps over which the rate rises, and raw noise that is silent. Chosen by hand.
WARM_UP_STEPS: Final = 50
NO_NOISE: Final = -40.0
"""Raw noise that is silent."""
TONES_FIRST_STEPS: Final = 150
"""Without noise: a decaying instrument (the piano) else falls silent and learns to answer in noise alone.
Chosen by hand."""
CHECKPOINT_S: Final = 60.0
"""Chosen: what an interruption costs at most."""


def inputs_of(take: Take) -> NDArray[np.float32]:
    """What the decoder reads: float32 [n, 2]."""
    pairs = zip(take.f0_hz.tolist(), take.loudness_db.tolist(), strict=True)
    return np.array([decoder_inputs(f0, loudness) for f0, loudness in pairs], np.float32)


def _batch(
    take: Take, inputs: NDArray[np.float32], rng: np.random.Generator, likely: NDArray[np.float64]
) -> tuple[Tensor, ...]:
    starts = rng.choice(len(likely), BATCH, p=likely)
    hops = [slice(s, s + SEGMENT_HOPS) for s in starts]
    sound = [take.sound[h.start * HOP : h.stop * HOP] for h in hops]
    arrays = ([inputs[h] for h in hops], [take.f0_hz[h] for h in hops], sound)
    return tuple(torch.from_numpy(np.stack(a)) for a in arrays)


def evaluate(network: DecoderNetwork, held_out: list[Take]) -> tuple[float, float]:
    """Mean multi-scale spectral loss and loudness L1 in decibels over recordings held out."""
    if not held_out:
        return float("nan"), float("nan")
    torch.manual_seed(0)
    network.eval()
    rows, lengths = [], []
    with torch.no_grad():
        for take in held_out:
            raw, _ = network(torch.from_numpy(inputs_of(take))[None])
            sound = synthesise(raw, torch.from_numpy(take.f0_hz)[None])
            target = torch.from_numpy(take.sound)[None]
            rows.append(
                [float(judge(sound, target)) for judge in (multi_scale_spectral_loss, loudness_l1_db)]
            )
            lengths.append(len(take.sound))
    network.train()
    loss, apart_db = np.average(np.array(rows), axis=0, weights=lengths)
    return float(loss), float(apart_db)


def learning_rate(config: str, step: int, n_steps: int) -> float:
    """Of one step: up in ``WARM_UP_STEPS``, down half a cosine over ``n_steps``, wherever it was resumed."""
    share = 0.5 * (1.0 + math.cos(math.pi * min(step / n_steps, 1.0)))
    rising = min((step + 1) / WARM_UP_STEPS, 1.0)
    return CONFIGS[config].learning_rate * rising * (LAST_RATE + (1.0 - LAST_RATE) * share)


def load(checkpoint: Path, config: str) -> DecoderNetwork:
    """The trained network of a checkpoint. Raises DataError."""
    network = DecoderNetwork(CONFIGS[config])
    try:
        network.load_state_dict(torch.load(checkpoint, weights_only=True)["network"])
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"no trained voice in {checkpoint} ({error}); run models.timbre.train") from None
    return network.eval()


def train(voice: str, audio: Path | None, config: str, work: Path, n_steps: int, seed: int) -> Path:
    """Train until ``n_steps``; returns the checkpoint."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{voice}.{config}.pt"
    torch.manual_seed(seed)
    network = DecoderNetwork(CONFIGS[config])
    optimiser = torch.optim.Adam(network.parameters())
    first, cpu_before_s = 0, 0.0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        first, cpu_before_s = int(saved["step"]), float(saved.get("cpu_s", 0.0))
    take = joined(takes(voice, audio, held_out=False))
    held_out = takes(voice, audio, held_out=True)
    inputs = inputs_of(take)
    # Silence teaches little: segments are drawn where something sounds.
    sounding = np.convolve(take.loudness_db > -60.0, np.ones(SEGMENT_HOPS), "valid")[:-1] + 1.0
    likely = sounding / sounding.sum()
    rng = np.random.default_rng(seed + first)

    def save(step: int) -> None:
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
        state["cpu_s"] = cpu_before_s + time.process_time()
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    saved_at, recent = time.monotonic(), []
    for step in range(first, n_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step, n_steps)
        x, f0_hz, target = _batch(take, inputs, rng, likely)
        raw, _ = network(x)
        if step < TONES_FIRST_STEPS:
            raw = torch.cat(
                [raw[..., : 1 + N_HARMONICS], torch.full_like(raw[..., 1 + N_HARMONICS :], NO_NOISE)], -1
            )
        skip = WARM_UP_HOPS * HOP
        loss = training_loss(synthesise(raw, f0_hz)[:, skip:], target[:, skip:])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 3.0)
        optimiser.step()
        recent.append(float(loss.detach()))
        if time.monotonic() - saved_at > CHECKPOINT_S or step + 1 == n_steps:
            save(step + 1)
            saved_at = time.monotonic()
            row = {"step": step + 1, "loss": round(float(np.mean(recent)), 4)}
            print(json.dumps({"voice": voice, "config": config, **row}), flush=True)
            recent.clear()
    loss_held_out, apart_db = evaluate(network, held_out)
    result = {
        "voice": voice,
        "config": config,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "n_steps": n_steps,
        "cpu_s": round(cpu_before_s + time.process_time(), 1),
        "held_out_loss": loss_held_out,
        "held_out_loudness_l1_db": apart_db,
    }
    print(json.dumps(result), flush=True)
    path.with_suffix(".json").write_text(json.dumps(result))
    return path


@command("models.timbre.train", KellyError)
def main() -> int:
    """Command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--voice", required=True)
    parser.add_argument(
        "--audio", type=path_argument, help="folder of recordings (default: the voice's own source)"
    )
    parser.add_argument("--config", choices=CONFIGS, default="student")
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/timbre"), help="folder of the checkpoints"
    )
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train(args.voice, args.audio, args.config, args.work, args.steps, args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
