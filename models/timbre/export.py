"""Ship a trained voice: ``python -m models.timbre.export --voice flute --checkpoint PT --tensorflow PYTHON``.

Writes ``ddsp_<voice>.tflite`` (INT8 products, float state; see ``convert``), its golden vectors, manifest
entry and card. Nothing is shipped unless both runtimes follow the float network over the held-out recordings.
"""

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
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.shipping import (
    SHIPPED,
    refuse_to_ship_onto,
    set_alias,
    ship,
    stream_tflite,
    tflite_golden,
    tflite_tensors,
)
from models.timbre.data import SOURCES, joined, takes
from models.timbre.evaluate import evaluate
from models.timbre.network import CONFIGS, DecoderNetwork, multi_scale_spectral_loss, synthesise
from models.timbre.train import inputs_of, load

Float32 = NDArray[np.float32]
DEFAULT_VOICE: Final = "flute"
# Hops that set the ranges of INT8, of golden vectors, and that are judged. Chosen: ranges are steady; loading
# stays quick; a minute and three quarters.
N_CALIBRATION: Final = 2_000
N_GOLDEN: Final = 64
N_JUDGED: Final = 20_000
GOLDEN_TOLERANCE: Final = 0.1
"""Of raw outputs of about ±10: builds of one runtime differ in the last INT8 step of a product. Measured
between builds and doubled."""
# Of INT8 against float: amplitudes, and f0. Chosen: 1 dB, and a quarter-tone.
MAX_RELATIVE_ERROR: Final = 0.1
MAX_F0_CENTS: Final = 50.0

CARD: Final = """# ddsp_{voice}: the voice of a {title}

A DDSP decoder (Engel et al., ICLR 2020): pitch and loudness, with a state carried over, to the amplitude,
harmonic distribution and noise magnitudes of Kelly Edge's synthesiser, 187.5 times a second. Dense {dense},
GRU {gru},
{n_parameters:,} parameters, INT8 weights and products, float32 state and input and output, {size:,} bytes.

- **Learned from:** {data}. Licence of the source: {licence}.
- **Who may use it:** anybody, also commercially, on the terms of that licence. It saw nothing of
  EMOPIA; the free set (`runtime.models: free`) takes this very file.
- **Measured** on {n} recordings held out by name, through the box's own ears and synthesiser (means, 95 %
  interval by bootstrap over recordings): multi-scale spectral loss {loss} at 24 kHz;
  f0 of the answer off by {f0_cents} cents (median);
  loudness off by {loudness_l1_db} dB (L1).
  INT8 against float, in training's synthesiser: {int8_loss:.3f} against {float_loss:.3f} ({change:+.2f} %).
- **Against the yardstick** (GRU 512, 1.6 M parameters, same recordings and loss): {yardstick}
- **Limits:** plays up to 11.5 kHz, since the recordings reach 12; learned from single notes or lines,
  so phrasing between notes is the player's; outside the instrument's own register it extrapolates. Not a
  medical device.
- **Made by:** `python -m models.timbre.train --voice {voice} --steps {n_steps}`, then
  `python -m models.timbre.export`.
"""


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
    """Licence of a voice's training data, and what that was."""
    if audio is not None or voice not in SOURCES:
        return "that of the recordings", "recordings of its maker's own"
    source = SOURCES[voice]
    return source.licence, ", ".join(source.patterns) or f"rendered General MIDI program {source.program + 1}"


def _cell(cell: dict[str, Any]) -> str:
    """A number with its interval, as the card writes it."""
    return f"{cell['value']} ({cell['ci95'][0]} to {cell['ci95'][1]})" if cell["ci95"] else str(cell["value"])


def _yardstick(judged: dict[str, Any]) -> str:
    if "reference" not in judged:
        return "not trained for this voice."
    change = judged["loss_change_percent"]
    loss = judged["reference"]["loss"]
    return f"its loss {_cell(loss)}; this voice's is higher by {_cell(change)} % (a recording's mean change)."


def refuse_off_pitch(voice: str, shipped: dict[str, Any]) -> None:
    """Raise DataError for a voice that does not play the pitch asked for, as one that learned noise alone."""
    cents = shipped["f0_cents"]["value"]
    if cents is None or not cents < MAX_F0_CENTS:
        raise DataError(
            f"{voice} answers {cents} cents off the pitch asked for; not shipped: train it again with "
            "another --seed, or from recordings of one note at a time"
        )


def export(
    voice: str,
    audio: Path | None,
    checkpoint: Path,
    config: str,
    tensorflow: str,
    reference: Path | None = None,
    folder: Path = SHIPPED,
) -> Path:
    """Convert, judge in both runtimes, ship to ``folder``; returns the manifest entry's path."""
    network = load(checkpoint, config)
    train = joined(takes(voice, audio, held_out=False))
    held_out = joined(takes(voice, audio, held_out=True))
    x_train, x = inputs_of(train)[-N_JUDGED:], inputs_of(held_out)[:N_JUDGED]
    f0_hz, sound = held_out.f0_hz[: len(x)], held_out.sound[: len(x) * 128]
    _, states = float_stream(network, x_train)
    every = max(1, len(x_train) // N_CALIBRATION)
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "weights.npz", Path(scratch) / f"ddsp_{voice}.tflite"
        np.savez(source, x=x_train[::every], h=states[::every], **_weights(network))  # type: ignore[arg-type, unused-ignore]
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
        judged_in = Path(scratch) / "models"
        ship(entry, target, golden, judged_in)
        runtime = next(iter(RUNTIME_MODULES))
        judged = evaluate(voice, audio, runtime, reference, "reference", True, str(judged_in))
        shipped = judged["shipped"]
        refuse_off_pitch(voice, shipped)
        entry["metrics"] |= {
            name: shipped[name] for name in ("loss", "f0_cents", "f0_within_50", "loudness_l1_db")
        }
        if reference is not None:
            entry["metrics"]["loss_over_reference_percent"] = judged["loss_change_percent"]
        path = ship(entry, target, golden, folder)
    int8_loss = metrics["ai_edge_litert"]["held_out_loss_int8"]
    card = CARD.format(
        voice=voice,
        title=voice.replace("_", " "),
        n_steps=torch.load(checkpoint, weights_only=True)["step"],
        dense=CONFIGS[config].dense,
        gru=CONFIGS[config].gru,
        n_parameters=n_parameters,
        size=len(model),
        data=learned_from,
        licence=licence,
        n=judged["n"],
        **{name: _cell(shipped[name]) for name in ("loss", "f0_cents", "loudness_l1_db")},
        yardstick=_yardstick(judged),
        float_loss=float_loss,
        int8_loss=int8_loss,
        change=100.0 * (int8_loss / float_loss - 1.0),
    )
    (folder / f"ddsp_{voice}.md").write_text(card, encoding="utf-8")
    if voice == DEFAULT_VOICE:
        set_alias("ddsp_model", f"ddsp_{voice}", folder)
    print(json.dumps({"voice": voice, **entry["metrics"], "bytes": len(model)}))
    return path


@command("models.timbre.export", KellyError)
def main() -> int:
    """Command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--voice", required=True)
    parser.add_argument(
        "--audio", type=path_argument, help="the folder it was trained on, if not its own source"
    )
    parser.add_argument("--checkpoint", type=path_argument, required=True)
    parser.add_argument("--config", choices=CONFIGS, default="student")
    parser.add_argument("--tensorflow", default=sys.executable, help="a Python with tensorflow-cpu 2.15.1")
    parser.add_argument(
        "--reference", type=path_argument, help="checkpoint of the yardstick (--config reference)"
    )
    parser.add_argument(
        "--out", type=path_argument, default=SHIPPED, help="folder of models (default: those shipped)"
    )
    args = parser.parse_args()
    sources = [path for path in (args.checkpoint, args.reference) if path]
    refuse_to_ship_onto(sources, [f"ddsp_{args.voice}", "ddsp_model"], args.out)
    made = (args.voice, args.audio, args.checkpoint, args.config, args.tensorflow)
    export(*made, args.reference, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
