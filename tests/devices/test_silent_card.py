"""Without a microphone no card is opened: silence at the pace of the clock."""

import time

import numpy as np

from firmware_py.devices.sound.absent_card import SilentCard
from firmware_py.wiring.cards import open_card
from kelly_edge.config import AudioSettings
from kelly_edge.contract import Listen

PERIOD_S = 0.002


def test_a_keyboard_alone_needs_no_card_and_a_period_lasts_as_long_as_one() -> None:
    told: list[str] = []
    card = open_card(AudioSettings(card="no such card"), told.append, Listen.KEYBOARD)
    assert isinstance(card, SilentCard) and card.is_there and not told
    card = SilentCard(PERIOD_S)
    block, begin_s = np.ones(128, np.float32), time.monotonic()
    for _ in range(20):
        card.wait()
        card.read(block)
        card.write(block)
    # Never faster; how much slower is the machine's affair.
    assert time.monotonic() - begin_s > 19 * PERIOD_S
    assert not block.any() and card.n_capture_xruns == card.n_playback_xruns == 0
    card.close()
