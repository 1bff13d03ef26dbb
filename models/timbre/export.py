"""Ship a trained voice: ``python -m models.timbre.export --voice flute --checkpoint PT --tensorflow PYTHON``.

Writes ``ddsp_<voice>.tflite`` (INT8 products, float state; see ``convert``), its golden vectors, manifest
entry and card. Nothing is shipped unless both runtimes follow the float network over the held-out recordings.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from firmware_py.runtimes.tflite import RUNTIME_MODULES
from kelly_edge.errors import DataError, KellyError
from models.shipping import SHIPPED, set_alias, ship, stream_tflite, tflite_golden, tflite_tensors
from models.timbre.data import SOURCES, joined, takes
from models.timbre.network import CONFIGS, DecoderNetwork, multi_scale_spectral_loss, synthesise
from models.timbre.train import inputs_of

Float32 = NDArray[np.float32]
DEFAULT_VOICE: Final = "flute"
N_CALIBRATION: Final = 2_000
N_GOLDEN: Final = 64
N_JUDGED: Final = 20_000
GOLDEN_TOLERANCE: Final = 0.1
"""Of raw outputs of about ±10: builds of one runtime differ in the last INT8 step of a product."""
MAX_RELATIVE_ERROR: Final = 0.1

CARD: Final = """# ddsp_{voice}: the voice of a {title}

A DDSP decoder (Engel et al., ICLR 2020): pitch and loudness, with a state carried over, to the amplitude,
harmonic distribution and noise magnitudes of Kelly Edge's synthesiser, 187.5 times a second. Dense {dense},
GRU {gru},
{n_parameters:,} parameters, INT8 weights and products, float32 state and input and output, {size:,} bytes.

- **Learned from:** {data}. Licence of the source: {licence}.
- **Measured** on recordings held out by name: multi-scale spectral loss {float_loss:.3f} in float,
  {int8_loss:.3f} in INT8 ({change:+.2f} %), 24 kHz, hops of 5.33 ms.
- **Limits:** plays up to 11.5 kHz, since the recordings reach 12; learned from single notes or lines,
  so phrasing between notes is the player's; outside the instrument's own register it extrapolates. Not a
  medical device.
- **Made by:** `python -m models.timbre.train --voice {voice}`, then `python -m models.timbre.export`.
"""


def load(checkpoint: Path, config: str) -> DecoderNetwork:
    """The trained network of a checkpoint. Raises DataError."""
    network = DecoderNetwork(CONFIGS[config])
    try:
        network.load_state_dict(torch.load(checkpoint, weights_only=True)["network"])
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"no trained voice in {checkpoint} ({error}); run models.timbre.train") from None
    return network.eval()


def float_stream(network: DecoderNetwork, x: Float32) -> tuple[Float32, Float32]:
    """Raw outputs [n, 96], and the state [n, gru] before each step, streamed from zero."""
    with torch.no_grad():
        states, _ = network.gru(torch.tanh(network.enter(torch.from_numpy(x)[None])))
        raw = network.leave(states)[0].numpy()
    before = np.concatenate([np.zeros((1, states.shape[-1]), np.float32), states[0, :-1].numpy()])
    return raw, before


def _weights(network: DecoderNetwork) -> dict[str, Float32]:
    def transposed(tensor: torch.Tensor) -> Float32:
        return np.ascontiguousarray(tensor.detach().numpy().T)

    gru = network.gru
    return {
        "enter_w": transposed(network.enter.weight),
        "enter_b": transposed(network.enter.bias),
        "gru_x": transposed(gru.weight_ih_l0),
        "gru_bx": transposed(gru.bias_ih_l0),
        "gru_h": transposed(gru.weight_hh_l0),
        "gru_bh": transposed(gru.bias_hh_l0),
        "leave_w": transposed(network.leave.weight),
        "leave_b": transposed(network.leave.bias),
    }


def _state_pairs(model: bytes, gru: int) -> list[tuple[str, str]]:
    tensors = tflite_tensors(model)
    (name_in,) = (t["name"] for t in tensors["inputs"] if t["shape"] == [1, gru])
    (name_out,) = (t["name"] for t in tensors["outputs"] if t["shape"] == [1, gru])
    return [(name_in, name_out)]


def _loss(raw: Float32, f0_hz: Float32, sound: Float32) -> float:
    torch.manual_seed(0)
    with torch.no_grad():
        played = synthesise(torch.from_numpy(raw)[None], torch.from_numpy(f0_hz)[None])
        return float(multi_scale_spectral_loss(played, torch.from_numpy(sound)[None]))


def _credit(voice: str, audio: Path | None) -> tuple[str, str]:
    """Licence of what a voice was learned from, and what that was."""
    if audio is not None or voice not in SOURCES:
        return "that of the recordings", "recordings of its maker's own"
    source = SOURCES[voice]
    return source.licence, ", ".join(source.patterns) or f"rendered General MIDI program {source.program + 1}"


def export(voice: str, audio: Path | None, checkpoint: Path, config: str, tensorflow: str) -> Path:
    """Convert, judge in both runtimes, ship; returns the manifest entry's path."""
    network = load(checkpoint, config)
    train = joined(takes(voice, audio, held_out=False))
    held_out = joined(takes(voice, audio, held_out=True))
    x_train, x = inputs_of(train)[-N_JUDGED:], inputs_of(held_out)[:N_JUDGED]
    f0_hz, sound = held_out.f0_hz[: len(x)], held_out.sound[: len(x) * 128]
    _, states = float_stream(network, x_train)
    every = max(1, len(x_train) // N_CALIBRATION)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "weights.npz", Path(folder) / f"ddsp_{voice}.tflite"
        np.savez(source, x=x_train[::every], h=states[::every], **_weights(network))  # type: ignore[arg-type]
        script = Path(__file__).with_name("convert.py")
        done = subprocess.run(
            [tensorflow, str(script), str(source), str(target)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"conversion failed: {last}; give --tensorflow PYTHON")
        model = target.read_bytes()
        state = _state_pairs(model, CONFIGS[config].gru)
        raw, _ = float_stream(network, x)
        float_loss = _loss(raw, f0_hz, sound)
        (name_in,) = (t["name"] for t in tflite_tensors(model)["inputs"] if t["shape"] == [1, 2])
        metrics: dict[str, Any] = {"held_out_loss_float": round(float_loss, 4)}
        for runtime in RUNTIME_MODULES:
            (streamed,) = stream_tflite(model, runtime, state, {name_in: x[:, None]}).values()
            error = float(np.sqrt(np.mean((streamed[:, 0] - raw) ** 2) / np.mean(raw**2)))
            if not error < MAX_RELATIVE_ERROR:
                raise DataError(f"{runtime} computes something else (relative RMSE {error:.3f}); not shipped")
            loss = _loss(np.ascontiguousarray(streamed[:, 0]), f0_hz, sound)
            metrics[runtime] = {"relative_rmse": round(error, 4), "held_out_loss_int8": round(loss, 4)}
        golden_x = x[np.argmax(held_out.loudness_db[: len(x)]) :][:N_GOLDEN]
        golden = tflite_golden(model, state, {name_in: golden_x[:, None]})
        licence, learned_from = _credit(voice, audio)
        n_parameters = sum(p.numel() for p in network.parameters())
        entry = {
            "name": f"ddsp_{voice}",
            "kind": "voice",
            "n_parameters": n_parameters,
            "precision": "int8",
            "runtimes": list(RUNTIME_MODULES),
            "golden_tolerance": dict.fromkeys(RUNTIME_MODULES, GOLDEN_TOLERANCE),
            "state": [{"input": a, "output": b} for a, b in state],
            "metrics": metrics,
            "licence": licence,
            "data": [learned_from],
            "card": f"ddsp_{voice}.md",
        }
        path = ship(entry, target, golden)
    int8_loss = metrics["ai_edge_litert"]["held_out_loss_int8"]
    card = CARD.format(
        voice=voice,
        title=voice.replace("_", " "),
        dense=CONFIGS[config].dense,
        gru=CONFIGS[config].gru,
        n_parameters=n_parameters,
        size=len(model),
        data=learned_from,
        licence=licence,
        float_loss=float_loss,
        int8_loss=int8_loss,
        change=100.0 * (int8_loss / float_loss - 1.0),
    )
    (SHIPPED / f"ddsp_{voice}.md").write_text(card, encoding="utf-8")
    if voice == DEFAULT_VOICE:
        set_alias("ddsp_model", f"ddsp_{voice}")
    print(json.dumps({"voice": voice, **metrics, "bytes": len(model)}))
    return path


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", required=True)
    parser.add_argument("--audio", type=Path, help="the folder it was trained on, if not its own source")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--config", choices=CONFIGS, default="student")
    parser.add_argument("--tensorflow", default=sys.executable, help="a Python with tensorflow-cpu 2.15.1")
    args = parser.parse_args()
    try:
        export(args.voice, args.audio, args.checkpoint, args.config, args.tensorflow)
    except KellyError as error:
        print(f"models.timbre.export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
