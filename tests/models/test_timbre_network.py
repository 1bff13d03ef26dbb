"""The voice's network and its differentiable synthesiser against what runs on the box."""

import numpy as np
import pytest

from kelly_edge.contract import HOP_SIZE, N_HARMONICS, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.timbre.controls import (
    BAND_FADE_HZ,
    BAND_LIMIT_HZ,
    N_NOISE_TRAINED,
    N_RAW,
    NOISE_BIAS,
    Controls,
    fill_controls,
)
from kelly_edge.timbre.synth import Synth

torch = pytest.importorskip("torch", reason="training needs torch")

from models.timbre.bank import HarmonicBank  # noqa: E402
from models.timbre.network import (  # noqa: E402
    CONFIGS,
    HOP,
    LOUDNESS_WEIGHT,
    RATE_HZ,
    DecoderNetwork,
    controls_from,
    loudness_l1_db,
    multi_scale_spectral_loss,
    synthesise,
    training_loss,
)

N_HOPS = 40
QUIET_NOISE = -60.0 - NOISE_BIAS


def raw_controls(seed: int, noise: float = QUIET_NOISE) -> np.ndarray:
    """Random raw controls [n, 96] that wander as a decoder's do."""
    rng = np.random.default_rng(seed)
    raw = np.cumsum(rng.normal(0.0, 0.2, (N_HOPS, N_RAW)), axis=0) + rng.normal(0.0, 1.0, N_RAW)
    raw[:, 1 + N_HARMONICS :] = noise
    return raw.astype(np.float32)


def played_by_the_box(raw: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    synth, controls, out = Synth(0), Controls(), np.zeros((len(raw), HOP_SIZE), np.float32)
    for row, f0, hop in zip(raw, f0_hz.tolist(), out, strict=True):
        fill_controls(row, f0, controls)
        synth.play(controls, f0, 1.0, hop)
    return out.reshape(-1)


def played_in_training(raw: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return synthesise(torch.from_numpy(raw)[None], torch.from_numpy(f0_hz)[None])[0].numpy()


@pytest.mark.parametrize("f0_hz", [41.2, 123.4, 440.0, 1_045.0, 2_093.0])
def test_training_hears_the_harmonics_that_the_box_plays(f0_hz: float) -> None:
    """All lies below 12 kHz, so every second sample at 48 kHz is the sample at 24 kHz."""
    raw, f0 = raw_controls(1), np.full(N_HOPS, f0_hz, np.float32)
    box = played_by_the_box(raw, f0)[1::2]
    # The box rises from silence in the first hop.
    np.testing.assert_allclose(played_in_training(raw, f0)[HOP:], box[HOP:], atol=2e-4)


def test_training_hears_the_glides_that_the_box_plays() -> None:
    raw = raw_controls(2)
    f0 = np.geomspace(300.0, 330.0, N_HOPS).astype(np.float32)
    trained, box = played_in_training(raw, f0)[HOP:], played_by_the_box(raw, f0)[1::2][HOP:]
    # The phase is summed in steps of 1/24,000 s there, of half that here: a glide drifts apart a little.
    assert np.sqrt(np.mean((trained - box) ** 2)) < 0.05 * np.sqrt(np.mean(box**2))


def test_noise_has_the_same_power_in_training_as_on_the_box() -> None:
    raw = raw_controls(3, noise=2.0)
    raw[:, 0] = -60.0
    f0 = np.full(N_HOPS, 440.0, np.float32)
    torch.manual_seed(0)
    assert played_in_training(raw, f0)[HOP:].std() == pytest.approx(
        played_by_the_box(raw, f0)[HOP_SIZE:].std(), rel=0.05
    )


def test_controls_are_the_same_in_training_and_on_the_box() -> None:
    raw = raw_controls(4, noise=1.0)
    f0 = np.geomspace(50.0, 4_000.0, N_HOPS).astype(np.float32)
    levels, noise = controls_from(torch.from_numpy(raw)[None], torch.from_numpy(f0)[None])
    controls = Controls()
    for i in range(N_HOPS):
        fill_controls(raw[i], float(f0[i]), controls)
        np.testing.assert_allclose(
            levels[0, i], controls.amplitude * controls.harmonic_distribution, atol=2e-6
        )
        np.testing.assert_allclose(noise[0, i], controls.noise_magnitudes[:N_NOISE_TRAINED], rtol=1e-4)


def test_the_decoder_that_ships_has_at_most_10_000_parameters() -> None:
    network = DecoderNetwork(CONFIGS["student"])
    assert sum(p.numel() for p in network.parameters()) <= 10_000
    raw, state = network(torch.zeros(2, 5, 2))
    assert raw.shape == (2, 5, N_RAW)
    assert state.shape == (1, 2, CONFIGS["student"].gru)


def test_streamed_hop_by_hop_it_says_what_it_says_at_once() -> None:
    torch.manual_seed(0)
    network = DecoderNetwork(CONFIGS["student"]).eval()
    x = torch.rand(1, 12, 2)
    with torch.no_grad():
        at_once, _ = network(x)
        state, rows = None, []
        for i in range(12):
            raw, state = network(x[:, i : i + 1], state)
            rows.append(raw)
    torch.testing.assert_close(torch.cat(rows, dim=1), at_once, atol=1e-5, rtol=1e-5)


def test_the_loss_is_0_for_the_same_sound_and_falls_as_a_sound_comes_near() -> None:
    torch.manual_seed(0)
    target = torch.rand(1, 4_096) - 0.5
    other = torch.rand(1, 4_096) - 0.5
    assert float(multi_scale_spectral_loss(target, target)) == 0.0
    losses = [float(multi_scale_spectral_loss(target + share * other, target)) for share in (0.1, 0.5, 1.0)]
    assert 0.0 < losses[0] < losses[1] < losses[2]


def test_the_bank_s_gradient_is_that_of_the_sines_written_out() -> None:
    """Levels move linearly over a hop, each harmonic fades out below the band limit."""
    rng = np.random.default_rng(5)
    n, n_harmonics = 6, 12
    f0 = np.linspace(700.0, 1_100.0, n).astype(np.float32)
    ends = torch.from_numpy(rng.uniform(0.0, 1.0, (1, n, 2, n_harmonics)).astype(np.float32)).requires_grad_()
    towards = torch.from_numpy(rng.normal(size=(1, n, HOP)).astype(np.float32))
    sound = HarmonicBank.apply(ends, torch.from_numpy(f0)[None], RATE_HZ, HOP)
    (sound * towards).sum().backward()

    share = np.arange(1, HOP + 1) / HOP
    starts = np.concatenate([f0[:1], f0[:-1]]).astype(float)
    f0_now = starts[:, None] + share * (f0.astype(float) - starts)[:, None]
    phase = 2.0 * np.pi * np.cumsum(f0_now.reshape(-1) / RATE_HZ).reshape(n, HOP, 1)
    number = np.arange(1, n_harmonics + 1)
    fade = np.clip((BAND_LIMIT_HZ - number * f0_now[..., None]) / BAND_FADE_HZ, 0.0, 1.0)
    sines = fade * np.sin(number * phase)
    at = ends.detach().numpy()[0]
    moving = at[:, None, 0] + share[None, :, None] * (at[:, None, 1] - at[:, None, 0])
    np.testing.assert_allclose(sound.detach().numpy()[0], (moving * sines).sum(-1), atol=1e-5)
    pull = towards.numpy()[0][..., None] * sines
    expected = np.stack([((1.0 - share)[:, None] * pull).sum(1), (share[:, None] * pull).sum(1)], axis=1)
    assert ends.grad is not None
    np.testing.assert_allclose(ends.grad.numpy()[0], expected, atol=1e-4)


def test_the_loudness_compared_in_training_is_the_box_s() -> None:
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sounds = {}
    for level in (0.02, 0.3):
        sound = level * sum(np.sin(2.0 * np.pi * k * 440.0 * t + k) / k for k in range(1, 12))
        meter = LoudnessMeter()
        for hop in sound[: len(t) // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE):
            meter.push(hop)
        sounds[meter.loudness_db] = torch.from_numpy(sound[::2].astype(np.float32))[None]
    (quiet_db, quiet), (loud_db, loud) = sounds.items()
    assert float(loudness_l1_db(quiet, loud)) == pytest.approx(loud_db - quiet_db, abs=0.3)
    assert float(loudness_l1_db(loud, loud)) == 0.0
    # Against silence all of a sound's loudness above the floor is missing.
    assert float(loudness_l1_db(torch.zeros_like(loud), loud)) == pytest.approx(loud_db + 80.0, abs=1.0)


def test_what_does_not_sound_is_not_compared_in_loudness() -> None:
    silence = torch.zeros(1, 4_096)
    assert float(loudness_l1_db(torch.rand(1, 4_096), silence)) == 0.0


def test_a_voice_too_quiet_costs_more_in_training_than_its_spectrum_alone() -> None:
    torch.manual_seed(0)
    target = torch.rand(1, 8_192) - 0.5
    quiet = 0.5 * target
    extra = float(training_loss(quiet, target)) - float(multi_scale_spectral_loss(quiet, target))
    assert extra == pytest.approx(LOUDNESS_WEIGHT * 6.02, rel=0.01)
    assert float(training_loss(target, target)) == 0.0


def test_every_parameter_learns_from_the_loss() -> None:
    torch.manual_seed(0)
    network = DecoderNetwork(CONFIGS["student"])
    raw, _ = network(torch.rand(1, 20, 2))
    sound = synthesise(raw, torch.full((1, 20), 330.0))
    multi_scale_spectral_loss(sound, torch.rand_like(sound) - 0.5).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0.0, name
