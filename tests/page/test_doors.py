"""Where page, OSC and RTP-MIDI may listen and send, told in one line where not."""

import asyncio
from pathlib import Path

import pytest

from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.machine import cable
from firmware_py.doors import Door, bind_fault, read_door, send_fault, wireless_fault
from kelly_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "door"),
    [
        ("127.0.0.1:8080", Door("127.0.0.1", 8080)),
        ("127.9.9.9:1024", Door("127.9.9.9", 1024)),
        ("localhost:65535", Door("127.0.0.1", 65535)),
        ("[::1]:9000", Door("::1", 9000)),
        ("cable:8080", Door("cable", 8080)),
    ],
)
def test_this_machine_and_the_cable_are_taken(text: str, door: Door) -> None:
    assert bind_fault(text) == "" and read_door(text) == door
    assert load_settings(None, [f"page.bind={text}", f"osc.bind={text}"]).page.bind == text


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:8080", "192.168.1.20:8080", "10.0.0.1:8080", "[::]:8080", "[fe80::1]:8080", "8.8.8.8:80",
        "box:8080",
        "kelly.local:8080", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:80", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:8080 ", "127.0.0.1:٣٣٣٣", "::1:8080", "127.1:8080", "cable", "CABLE:8080",
        "[cable:8080", "127.0.0.1:99999999999", "http://127.0.0.1:8080", "[::ffff:10.0.0.1]:8080", " ",
        "1.2.3.4.5:8080",
    ],
)  # fmt: skip
def test_any_other_address_is_refused_in_a_line(text: str) -> None:
    assert bind_fault(text) != ""
    for name in ("page", "osc"):
        with pytest.raises(ConfigError, match=rf"^{name}\.bind: ") as error:
            load_settings(None, [f"{name}.bind={text!r}"])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ""), ("127.0.0.1:5004", ""), ("10.42.0.1:5004", ""), ("192.168.7.2:9000", ""),
        ("169.254.3.4:65534", ""), ("10.42.0.1:5005", "odd port"), ("0.0.0.0:5004", "private"),
        ("8.8.8.8:5004", "private"), ("[::1]:5004", "private"), ("cable:5004", "private"),
        ("255.255.255.255:5004", "private"), ("224.0.0.1:5004", "private"), ("240.0.0.1:5004", "private"),
        ("wlan0:5004", "numeric"), ("10.42.0.1", "ADDRESS:PORT"), ("10.42.0.1:80", "port"),
    ],
)  # fmt: skip
def test_rtp_midi_is_heard_on_a_private_network_that_is_named(text: str, fault: str) -> None:
    assert (fault in wireless_fault(text)) if fault else wireless_fault(text) == ""
    for name, given in (("bind", repr(text)), ("peers", f"[{text!r}]")):
        if fault:
            with pytest.raises(ConfigError, match=rf"^wireless\.{name}: ") as error:
                load_settings(None, [f"wireless.{name}={given}"])
            assert "\n" not in str(error.value)
        else:
            load_settings(None, [f"wireless.{name}={given}"])


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("", True), ("127.0.0.1:9001", True), ("10.55.0.2:9001", True), ("169.254.3.4:9001", True),
        ("192.168.7.2:9001", True), ("[::1]:9001", True), ("8.8.8.8:9001", False), ("cable:9001", False),
        ("255.255.255.255:9001", False), ("224.0.0.1:9001", False), ("0.0.0.0:9001", False),
        ("[fe80::1]:9001", False),
    ],
)  # fmt: skip
def test_osc_is_sent_to_this_machine_or_a_private_network(text: str, is_taken: bool) -> None:
    assert (send_fault(text) == "") == is_taken


def interface(folder: Path, name: str, uevent: str) -> None:
    (folder / name).mkdir()
    (folder / name / "uevent").write_text(uevent)


def test_a_cable_is_an_interface_of_a_gadget_that_has_an_address(tmp_path: Path) -> None:
    interface(tmp_path, "eth0", "INTERFACE=eth0\nIFINDEX=2\n")
    interface(tmp_path, "usb0", "DEVTYPE=gadget\nINTERFACE=usb0\n")
    interface(tmp_path, "usb1", "DEVTYPE=gadget\nINTERFACE=usb1\n")
    interface(tmp_path, "wlan0", "DEVTYPE=wlan\nINTERFACE=wlan0\n")

    def asked(name: str, request: int) -> str:
        if name != "usb1":
            raise OSError
        return {cable.SIOCGIFADDR: "10.55.0.1", cable.SIOCGIFNETMASK: "255.255.255.0"}[request]

    (found,) = cable.cables(tmp_path, asked)
    assert found.name == "usb1" and str(found.interface) == "10.55.0.1/24"
    assert cable.cables(tmp_path / "nowhere") == []


def test_the_kernel_is_asked_for_an_address() -> None:
    assert cable._asked("lo", cable.SIOCGIFADDR) == "127.0.0.1"
    assert cable._asked("lo", cable.SIOCGIFNETMASK) == "255.0.0.0"
    with pytest.raises(OSError, match=r"."):
        cable._asked("no such thing", cable.SIOCGIFADDR)


def test_the_cable_is_waited_for_and_another_network_is_not_sent_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("starlette", reason="starlette is not installed")
    import ipaddress

    from firmware_py.commands.page import server

    there = [cable.Cable("usb0", ipaddress.IPv4Interface("10.55.0.1/24"))]
    looks = [[], [], there]
    monkeypatch.setattr(server, "cables", lambda: looks.pop(0))
    monkeypatch.setattr(server, "HOUSEKEEPING_S", 0.01)
    place = asyncio.run(server.place_of(Door("cable", 8080)))
    assert (place.host, place.port, place.interface) == ("10.55.0.1", 8080, "usb0")
    assert capsys.readouterr().err.count("waiting for one") == 1
    assert server.names_of(place) == ["10.55.0.1:8080"]
    assert server.allowed_to_send(Door("10.55.0.2", 9001), there)
    assert not server.allowed_to_send(Door("192.168.1.2", 9001), there)
    assert server.allowed_to_send(Door("127.0.0.1", 9001), [])
