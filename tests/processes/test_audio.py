"""audio: sound goes on, and time stays aligned, whatever dsp does."""

import numpy as np

from firmware_py.board.map import Board, memory_board
from firmware_py.devices.offline import RecordingCard
from firmware_py.processes.audio import AudioStage
from kelly_edge.contract import HOP_SIZE
from kelly_edge.signal.limiter import Limiter

PERIOD = 128
N_PERIODS = 12


def rig() -> tuple[Board, RecordingCard, AudioStage]:
    board = memory_board()
    samples = np.arange(N_PERIODS * PERIOD, dtype=np.float32) / 10_000
    card = RecordingCard(samples, N_PERIODS, PERIOD)
    return board, card, AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), PERIOD)


def echo(board: Board) -> None:
    """A dsp that answers each period with itself."""
    block = np.zeros(PERIOD, np.float32)
    while board.rings["capture"].read(block):
        board.rings["playback"].write(block)


def test_the_path_through_the_rings_is_one_hop_and_the_limiter() -> None:
    board, card, stage = rig()
    for _ in range(N_PERIODS):
        stage.step()
        echo(board)
    delay = HOP_SIZE + Limiter.delay_samples
    np.testing.assert_allclose(card.played[delay:], np.arange(len(card.played) - delay) / 10_000, atol=1e-6)
    assert stage.counters["n_late_blocks"] == 0


def test_late_blocks_are_discarded_so_time_stays_aligned() -> None:
    board, card, stage = rig()
    for period in range(N_PERIODS):
        stage.step()
        if not 2 <= period < 6:  # dsp stalls for four periods
            echo(board)
    delay = HOP_SIZE + Limiter.delay_samples
    expected = np.arange(len(card.played) - delay) / 10_000
    np.testing.assert_allclose(card.played[-2 * PERIOD :], expected[-2 * PERIOD :], atol=1e-6)
    assert stage.counters["n_late_blocks"] == stage.counters["n_discarded_blocks"] > 0


def test_without_dsp_it_plays_silence() -> None:
    _, card, stage = rig()
    for _ in range(N_PERIODS):
        stage.step()
    assert not card.played.any()


def test_blocks_that_never_come_are_owed_for_a_moment_only() -> None:
    board = memory_board()
    n_periods = 200
    card = RecordingCard(np.full(n_periods * PERIOD, 0.5, np.float32), n_periods, PERIOD)
    stage = AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), PERIOD)
    block, held = np.zeros(PERIOD, np.float32), []
    for period in range(n_periods):
        stage.step()
        if period == 40:  # dsp is killed with a period in its hands
            board.rings["capture"].read(block)
            held.clear()
        while board.rings["capture"].read(block):
            held.append(block.copy())
        if len(held) == HOP_SIZE // PERIOD:  # it answers whole hops
            for answer in held:
                board.rings["playback"].write(answer)
            held.clear()
    assert np.all(card.played[-60 * PERIOD :] > 0.4)


def test_an_audio_process_started_again_leaves_what_the_one_before_it_left() -> None:
    board, card, _ = rig()
    board.rings["playback"].write(np.ones(PERIOD, np.float32))
    stage = AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), PERIOD)
    stage.step()
    assert board.rings["playback"].n_waiting() == HOP_SIZE // PERIOD - 1
    assert not card.played.any()


def test_the_latency_is_the_same_after_dsp_was_killed_with_blocks_in_its_hands() -> None:
    board = memory_board()
    n_periods = 200
    samples = np.arange(n_periods * PERIOD, dtype=np.float32) / 100_000
    card = RecordingCard(samples, n_periods, PERIOD)
    stage = AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), PERIOD)
    block, held = np.zeros(PERIOD, np.float32), []
    for period in range(n_periods):
        stage.step()
        if period == 41:  # killed with one in its hands
            board.rings["capture"].read(block)
            held.clear()
        if 41 <= period < 120:
            continue
        if period == 120:  # the next one takes nothing old
            while board.rings["capture"].read(block):
                continue
        while board.rings["capture"].read(block):
            held.append(block.copy())
        if len(held) >= HOP_SIZE // PERIOD:
            for answer in held:
                board.rings["playback"].write(answer)
            held.clear()
    delay = HOP_SIZE + Limiter.delay_samples
    end = len(card.played)
    np.testing.assert_allclose(
        card.played[-10 * PERIOD :], samples[end - delay - 10 * PERIOD : end - delay], atol=1e-6
    )


def test_nothing_counts_as_late_or_lost_before_dsp_has_answered() -> None:
    board = memory_board()
    card = RecordingCard(np.zeros(0, np.float32), 100, PERIOD)
    stage = AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), PERIOD)
    for _ in range(80):
        stage.step()
    assert not any(stage.counters[name] for name in ("n_late_blocks", "n_capture_dropped"))
    echo(board)
    stage.step()
    echo(board)
    stage.step()
    before = int(stage.counters["n_late_blocks"])
    for _ in range(10):
        stage.step()
    # A hop waits in the ring; then every period is late.
    assert 8 <= stage.counters["n_late_blocks"] - before <= 10


def test_periods_without_a_card_are_counted_apart() -> None:
    _, card, stage = rig()
    for is_there in (False, True, False, False):
        card.is_there = is_there
        stage.step()
    assert (int(stage.counters["n_periods"]), int(stage.counters["n_absent_periods"])) == (4, 3)
