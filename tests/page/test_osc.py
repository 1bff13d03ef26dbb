"""OSC: every address of the table is obeyed or sent, and what is none changes nothing."""

import asyncio
import math
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pythonosc", reason="python-osc is not installed")

from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket
from small_box import SmallBox, state_of

from firmware_py.board.map import CELLS
from firmware_py.commands.page.osc import LARGEST, MOST_MESSAGES, NotOurs, OscIn, OscOut, arguments, messages
from firmware_py.commands.page.osc_table import HEARD, SENT, documentation
from kelly_edge.contract import KNOB_RANGES

DOCS = Path(__file__).resolve().parents[2] / "docs"


def message(address: str, *values: Any) -> bytes:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return bytes(builder.build().dgram)


class Said:
    """Wires that only remember."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.words.append((name, *values))


def obeyed(*packets: bytes) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The words said for the packets, and the complaints."""
    said, complaints = Said(), []

    async def run() -> None:
        heard = OscIn(said, lambda where, text: complaints.append(text))  # type: ignore[arg-type]
        for packet in packets:
            heard.datagram_received(packet, None)
        await heard.obey_what_waits()

    asyncio.run(run())
    return said.words, complaints


WORDS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "/kelly/panic": ((), ("hush",)),
    "/kelly/resume": ((1,), ("resume",)),
    "/kelly/session/start": (("calm-in-15", "M7"), ("start", "calm-in-15", "M7")),
    "/kelly/session/stop": ((1.0,), ("stop",)),
    "/kelly/session/mark": (("she sings",), ("mark", "she sings")),
    "/kelly/programme": (("mirror",), ("choose", "mirror")),
    **{f"/kelly/knob/{name}": ((ends[1],), ("turn", name, ends[1])) for name, ends in KNOB_RANGES.items()},
}


@pytest.mark.parametrize("row", HEARD, ids=lambda row: row.address)
def test_every_address_of_the_table_is_obeyed(row: Any) -> None:
    values, word = WORDS[row.address]
    assert obeyed(message(row.address, *values)) == ([word], [])


def test_the_page_of_the_docs_holds_the_table() -> None:
    assert set(WORDS) == {row.address for row in HEARD}
    assert documentation() in (DOCS / "page.md").read_text()


def test_the_release_of_a_button_is_no_press() -> None:
    assert obeyed(message("/kelly/panic", 0.0), message("/kelly/session/stop", 0)) == ([], [])


def test_a_bundle_is_obeyed_whole_and_a_knob_stays_where_it_was_turned_last() -> None:
    bundle = OscBundleBuilder(IMMEDIATELY)
    for value in np.linspace(-40.0, 0.0, 50):
        builder = OscMessageBuilder("/kelly/knob/volume_db")
        builder.add_arg(float(value))
        bundle.add_content(builder.build())
    words, complaints = obeyed(bytes(bundle.build().dgram))
    assert words == [("turn", "volume_db", 0.0)] and complaints == []


NESTED = b"#bundle\0" + struct.pack(">Q", 1)
for _ in range(100):
    NESTED = b"#bundle\0" + struct.pack(">Qi", 1, len(NESTED)) + NESTED
BAD = (
    b"", b"\0", b"/", b"/kelly", b"kelly/panic\0\0\0\0\0", b"/kelly/panic", b"/kelly/panic\0\0\0\0,f\0\0",
    b"/kelly/panic\0\0\0\0,q\0\0", b"#bundle", b"#bundle\0" + b"\xff" * 8, NESTED, b"\xff" * 64,
    b"#bundle\0" + struct.pack(">Qi", 1, 2**31 - 1) + b"/kelly/panic\0\0\0\0,\0\0\0",
    message("/kelly/panic") + b"x" * LARGEST,
    message("/kelly/panics"), message("/kelly"), message("/kelly/*"), message("/kelly/{panic,resume}"),
    message("/KELLY/PANIC"), message("/kelly/knob/n_panics", 1.0), message("/kelly/knob/programme", 1.0),
    message("/kelly/panic", "x"), message("/kelly/panic", 1.0, 1.0), message("/kelly/panic", math.nan),
    message("/kelly/panic", True), message("/kelly/session/start", 1.0), message("/kelly/programme"),
    message("/kelly/session/start", "a", "b", "c"), message("/kelly/programme", b"mirror"),
    *(
        message("/kelly/knob/volume_db", *values)
        for values in ((), ("x",), (True,), (b"1",), (-6.0, 1.0), (1e9,), (-41,), (math.nan,), (math.inf,))
    ),
    message("/kelly/knob/volume_db", [1.0]), message("/kelly/knob/volume_db", None),
)  # fmt: skip


@pytest.mark.parametrize("packet", BAD, ids=range(len(BAD)))
def test_what_is_no_packet_of_ours_changes_nothing_and_is_complained_of(packet: bytes) -> None:
    words, complaints = obeyed(packet)
    assert words == [] and len(complaints) == 1
    assert "\n" not in complaints[0]


def test_a_bundle_of_too_many_is_refused() -> None:
    bundle = OscBundleBuilder(IMMEDIATELY)
    for _ in range(MOST_MESSAGES + 1):
        bundle.add_content(OscMessageBuilder("/kelly/resume").build())
    assert obeyed(bytes(bundle.build().dgram))[0] == []


@settings(max_examples=100)
@given(st.data())
def test_damaged_packets_are_ours_or_refused(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(HEARD))
    packet = bytearray(message(row.address, *WORDS[row.address][0]))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    packet += data.draw(st.binary(max_size=8))
    try:
        for address, values in messages(bytes(packet)):
            taken = arguments(address, values)
            assert address in WORDS
            for value in taken or ():
                assert isinstance(value, str) or np.isfinite(value)
    except NotOurs:
        pass


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SmallBox]:
    small = SmallBox(tmp_path)
    yield small
    small.close()


def test_what_the_box_does_is_sent_with_the_types_of_the_table(box: SmallBox) -> None:
    sounding = np.zeros((), CELLS["sounding"].dtype)
    sounding["is_on"][2, 60] = True
    out, found = OscOut(box.wires, ("127.0.0.1", 9)), {}
    try:
        box.board.cells["sounding"].write(sounding)
        box.until(lambda: float(box.read("heard")["time_s"]) > 0.05)
        for n in range(60):
            for data in out.look(0.02 * n):
                (timed,) = OscPacket(data).messages
                found.setdefault(timed.message.address, list(timed.message.params))
            time.sleep(0.002)
    finally:
        out.close()
    assert found["/kelly/note"] == [3, 60, 1]
    assert found["/kelly/heard"] == [-0.25, 0.5, 0.75]
    assert found["/kelly/session"] == [0, "mirror", ""] and found["/kelly/silent"] == [0]
    tags = {row.address: row.tags for row in SENT}
    kinds = {"f": float, "i": int, "s": str}
    for address, values in found.items():
        assert [kinds[tag] for tag in tags[address]] == [type(value) for value in values]
    assert set(tags) - set(found) <= {"/kelly/counter"}


def test_a_packet_reaches_the_box(box: SmallBox) -> None:
    async def run() -> None:
        heard = OscIn(box.wires, lambda where, text: None)
        obeying = asyncio.create_task(heard.obey())
        before = state_of(box)
        for packet in BAD:
            heard.datagram_received(packet, None)
        await asyncio.sleep(0.1)
        assert state_of(box) == before
        for packet in (message("/kelly/knob/volume_db", -12), message("/kelly/panic")):
            heard.datagram_received(packet, None)
        while not (box.read("panic")["is_on"] and float(box.read("knobs")["volume_db"]) == -12.0):
            await asyncio.sleep(0.01)
        assert heard.n_refused == len(BAD)
        obeying.cancel()

    asyncio.run(run())


def test_the_table_says_every_address_once() -> None:
    rows = [*HEARD, *SENT]
    assert len({row.address for row in rows}) == len(rows)
    assert all(re.fullmatch(r"(/[a-z_]+)+", row.address) for row in rows)
