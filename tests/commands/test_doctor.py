"""The doctor: on a machine that is fit every check passes; each fault is found by its own check."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from firmware_py.__main__ import main
from firmware_py.commands.doctor import CHECKS, _print, examine
from firmware_py.commands.doctor.machine import FAULT, MB, NOTE, OK, WARNING, Machine, denormals_flushed
from firmware_py.devices.systemd.unit_failures import NoJournalError, UnitFailure
from firmware_py.settings import MidiSettings, PanelSettings, RuntimeSettings, SessionSettings, Settings
from kelly_edge.config import AudioSettings, EarsSettings

FILES = {
    "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-v8",
    "proc/version": "Linux version 6.6.31 SMP PREEMPT_RT",
    "sys/kernel/realtime": "1",
    "proc/cmdline": "root=/dev/mmcblk0p2 rootwait",
    "proc/sys/kernel/sched_rt_runtime_us": "-1",
    "proc/sys/kernel/sched_rt_period_us": "1000000",
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": "performance" for n in range(4)},
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0x0",
    "sys/class/hwmon/hwmon0/name": "rpi_volt",
    "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "0",
    "sys/class/thermal/thermal_zone0/temp": "51234",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter",
    "proc/meminfo": "MemTotal: 3884000 kB\nMemAvailable: 3100000 kB\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "proc/self/limits": (
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max locked memory         unlimited            unlimited            bytes\n"
        "Max realtime priority     95                   95\n"
    ),
    "proc/self/status": "Uid: 990 990 990 990\nGid: 990\nGroups: 29 997\nCapEff: 0000000000000000\n",
    "proc/sys/fs/pipe-max-size": "1048576",
    "proc/asound/cards": " 0 [USB            ]: USB-Audio - USB Audio\n                   USB Audio\n",
    "proc/asound/card0/pcm0p/sub0/status": "closed",
    "proc/1/comm": "systemd",
    "proc/mounts": "/dev/root / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B\0",
    "etc/group": "root:x:0:\naudio:x:29:kelly-edge\n",
    "dev/snd/seq": "",
    "dev/gpiochip0": "",
    "sys/class/gpio/gpiochip512/label": "pinctrl-bcm2711",
    "sys/class/udc/fe980000.usb/state": "configured",
    "sys/kernel/config/usb_gadget/kelly-edge/UDC": "fe980000.usb",
    "sys/kernel/config/usb_gadget/kelly-edge/configs/c.1/midi2.usb0": "",
    "sys/module/usbcore/parameters/autosuspend": "-1",
    "usr/lib/aarch64-linux-gnu/libatomic.so.1": "",
    "run/systemd/journal/socket": "",
    "run/kelly-edge/clock": "",
    "var/lib/kelly-edge/sessions/x.jsonl": "",
    "var/cache/kelly-edge/x": "",
    "var/lib/node_exporter/x": "",
}
"""A Raspberry Pi 4 as it should be."""
NINE = datetime(2026, 11, 30, 9)
PACKAGES = {
    "numpy": "1.26.4",
    "numba": "0.62.0",
    "onnxruntime": "1.20.0",
    "PyYAML": "6.0.3",
    "soxr": "0.5.0",
    "ai_edge_litert": "2.1.0",
    "tflite-runtime": "2.14.0",
    "pyalsaaudio": "0.11.0",
    "python-rtmidi": "1.5.8",
    "gpiozero": "2.0.1",
    "lgpio": "0.2.2.0",
    "systemd-python": "235",
}
SETTINGS = Settings(
    audio=AudioSettings(card="plughw:CARD=USB"),
    runtime=RuntimeSettings(run_dir="/run/kelly-edge", state_dir="/var/lib/kelly-edge"),
    session=SessionSettings(prometheus="/var/lib/node_exporter/kelly.prom"),
)


class Tree:
    """A root folder: files by path, packages by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path, text in FILES.items():
            self.put(path, text)
        for name, version in PACKAGES.items():
            self.package(name, version)
        (root / "run/kelly-edge").chmod(0o700)
        self.machine = Machine(
            root=root,
            settings=SETTINGS,
            environment={"HOME": "/root", "NUMBA_CACHE_DIR": "/var/cache/kelly-edge"},
            site_packages=(str(root / "site-packages"),),
            python=(3, 11),
            free_bytes=lambda path: 5_000 * MB,
            is_writable=lambda path: True,
            is_flushing=lambda: False,
            line_users=lambda label: {},
            unit_failures=lambda: [],
        )

    def put(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def package(self, name: str, version: str) -> None:
        for old in (self.root / "site-packages").glob(f"{name}-*"):
            (old / "METADATA").unlink()
            old.rmdir()
        if version:
            self.put(
                f"site-packages/{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n"
            )

    def set(self, **values: object) -> None:
        self.machine = replace(self.machine, **values)  # type: ignore[arg-type]

    def level(self, name: str) -> str:
        (row,) = examine(self.machine, [check for check in CHECKS if check.name == name])
        return row["level"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


@dataclass(frozen=True)
class Case:
    """A fault of the machine, the check that must find it, and what it says."""

    check: str
    level: str
    says: str
    harm: Callable[[Tree], object]


def puts(path: str, text: str) -> Callable[[Tree], object]:
    return lambda tree: tree.put(path, text)


def lacks(path: str) -> Callable[[Tree], object]:
    return lambda tree: tree.remove(path)


def no_journal() -> list[UnitFailure]:
    raise NoJournalError("no journal")


def sets(**values: object) -> Callable[[Tree], object]:
    return lambda tree: tree.set(**values)


def both(*harms: Callable[[Tree], object]) -> Callable[[Tree], object]:
    return lambda tree: [harm(tree) for harm in harms]


THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
LIMITS = "proc/self/limits"
LOW_LIMITS = FILES[LIMITS].replace("unlimited ", "8388608   ").replace(" 95", " 0 ")
NO_MODELS = Settings(runtime=RuntimeSettings(models_dir="/nowhere"))
CLIENTS = """\
Client info
Client   0 : "System" [Kernel Legacy]
  Port   1 : "Announce" (R-e-)
Client  14 : "Midi Through" [Kernel Legacy]
  Port   0 : "Midi Through Port-0" (RWeX) [In/Out]
Client  20 : "Piano [1]" [Kernel Legacy]
  Port   0 : "keys" (RWeX) [In/Out]
Client  24 : "Wheel" [User UMP MIDI2]
  Port   0 : "out" (R-e-) [Out]
"""


def midi(**patterns: tuple[str, ...]) -> Settings:
    return replace(SETTINGS, midi=MidiSettings(**patterns))  # type: ignore[arg-type]


KEYBOARD = replace(SETTINGS, ears=EarsSettings("keyboard"))
CASES = (
    Case("settings", FAULT, "audio.period: 99", sets(config_faults="audio.period: 99 is not\nmore")),
    Case("models", FAULT, "manifest.yaml", sets(settings=NO_MODELS)),
    Case("Python", FAULT, "3.10", sets(python=(3, 10))),
    Case("runtimes", FAULT, "no onnxruntime", lambda t: t.package("onnxruntime", "")),
    Case("runtimes", FAULT, "numpy 2", lambda t: t.package("numpy", "2.1.0")),
    Case("runtimes", FAULT, "older than", lambda t: t.package("numba", "0.50.0")),
    Case("device packages", WARNING, "pyalsaaudio (the sound card)", lambda t: t.package("pyalsaaudio", "")),
    Case("memory fences", FAULT, "no libatomic", lacks("usr/lib/aarch64-linux-gnu/libatomic.so.1")),
    Case("denormals", WARNING, "flushed", sets(is_flushing=lambda: True)),
    Case("compiled code", WARNING, "kept", sets(is_writable=lambda path: path.name != "kelly-edge")),
    Case("run folder", FAULT, "cannot", sets(is_writable=lambda path: "run" not in path.parts)),
    Case("run folder", WARNING, "by others", lambda t: (t.root / "run/kelly-edge").chmod(0o777)),
    Case("run folder's memory", WARNING, "ext4", puts("proc/mounts", "/dev/root / ext4 rw 0 0\n")),
    Case("state folder", FAULT, "cannot", sets(is_writable=lambda path: "lib" not in path.parts)),
    Case("free space", WARNING, "100 MB", sets(free_bytes=lambda path: 100 * MB)),
    Case("free space", FAULT, "1 MB", sets(free_bytes=lambda path: MB)),
    Case("journal", NOTE, "stderr", lacks("run/systemd/journal/socket")),
    Case("failures of units", WARNING, "2 since the machine started, the last: x (watchdog) at 2026-11-30",
         sets(unit_failures=lambda: [UnitFailure("y", "signal", NINE), UnitFailure("x", "watchdog", NINE)])),
    Case("failures of units", NOTE, "not known: no journal", sets(unit_failures=no_journal)),
    Case("metrics file", WARNING, "cannot", sets(is_writable=lambda path: path.name != "node_exporter")),
    Case("sound card", FAULT, "not there", puts("proc/asound/cards", "--- no soundcards ---")),
    Case("card in use", WARNING, "firefox holds card0", both(
        puts("proc/asound/card0/pcm0p/sub0/status", "state: RUNNING\nowner_pid   : 77\n"),
        puts("proc/77/comm", "firefox"),
    )),
    Case("sound server", WARNING, "pipewire", puts("proc/42/comm", "pipewire")),
    Case("sound rights", FAULT, "not", puts("etc/group", "audio:x:30:somebody\n")),
    Case("MIDI sequencer", FAULT, "/dev/snd/seq", lacks("dev/snd/seq")),
    Case("MIDI ports", WARNING, "alsa:Pinao*; there is Piano [1]:keys", both(
        puts("proc/asound/seq/clients", CLIENTS), sets(settings=midi(outputs=("Pinao*",))),
    )),
    Case("keyboard", FAULT, "no MIDI input is there", sets(settings=KEYBOARD)),
    Case("USB controller", WARNING, "no USB device controller", lambda t: (
        t.remove("sys/class/udc/fe980000.usb/state"), (t.root / "sys/class/udc/fe980000.usb").rmdir(),
    )),
    Case("USB gadget", WARNING, "not set up", puts("sys/kernel/config/usb_gadget/kelly-edge/UDC", "")),
    Case("USB gadget", WARNING, "fe980000.usb is held by the gadget g1; remove that one", both(
        puts("sys/kernel/config/usb_gadget/kelly-edge/UDC", ""),
        puts("sys/kernel/config/usb_gadget/g1/UDC", "fe980000.usb"),
    )),
    Case("USB gadget", WARNING, "g_ether, likely of rpi-usb-gadget; `sudo rpi-usb-gadget off`", both(
        puts("sys/kernel/config/usb_gadget/kelly-edge/UDC", ""),
        puts("sys/class/udc/fe980000.usb/function", "g_ether"),
        puts("usr/bin/rpi-usb-gadget", ""),
    )),
    Case("panel pins", WARNING, "no hold button: SPI 0 holds GPIO 7; no red of", both(
        puts("sys/bus/spi/devices/spi0.0/x", ""), puts("sys/bus/spi/devices/spi0.1/x", ""),
    )),
    Case("panel pins", WARNING, "no panic button: onewire@0 holds GPIO 4", sets(
        line_users=lambda label: {2: "i2c", 4: "onewire@0"}
    )),
    Case("USB gadget", NOTE, "without a computer", puts("sys/class/udc/fe980000.usb/state", "not attached")),
    Case("USB power", WARNING, "sleep after 2 s", puts("sys/module/usbcore/parameters/autosuspend", "2")),
    Case("GPIO chip", NOTE, "no GPIO", lacks("dev/gpiochip0")),
    Case("GPIO chip", WARNING, "none is known", puts("sys/class/gpio/gpiochip512/label", "INT3450:00")),
    Case("kernel", FAULT, "4.19", puts("proc/sys/kernel/osrelease", "4.19.0-20-arm64")),
    Case("preemption", WARNING, "does not preempt", both(
        puts("proc/version", "Linux version 6.6 SMP"), puts("sys/kernel/realtime", "0"),
    )),
    Case("interrupt threads", NOTE, "not handled", puts("sys/kernel/realtime", "0")),
    Case("real-time throttling", WARNING, "95 %", puts("proc/sys/kernel/sched_rt_runtime_us", "950000")),
    Case("frequency governor", WARNING, "ondemand", puts(
        "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "ondemand"
    )),
    Case("power supply", WARNING, "under-voltage", puts(THROTTLED, "0x1")),
    Case("power supply", WARNING, "throttled since boot", puts(THROTTLED, "0x40000")),
    Case("power supply", WARNING, "under-voltage", puts("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1")),
    Case("power supply", NOTE, "does not tell", both(lacks(THROTTLED), lacks("sys/class/hwmon/hwmon0/name"))),
    Case("temperature", WARNING, "81 °C", puts("sys/class/thermal/thermal_zone0/temp", "81000")),
    Case("temperature", NOTE, "no temperature", lacks("sys/class/thermal/thermal_zone0/temp")),
    Case("clock source", WARNING, "jiffies", puts(
        "sys/devices/system/clocksource/clocksource0/current_clocksource", "jiffies"
    )),
    Case("memory", WARNING, "400 MB", puts("proc/meminfo", "MemAvailable: 390700 kB\n")),
    Case("memory", FAULT, "102 MB", puts("proc/meminfo", "MemAvailable: 100000 kB\n")),
    Case("swap", WARNING, "/var/swap", puts("proc/swaps", "Filename Type\n/var/swap file 100 0 -2\n")),
    Case("real-time priority", WARNING, "not", puts(LIMITS, LOW_LIMITS)),
    Case("locked memory", WARNING, "not", puts(LIMITS, LOW_LIMITS)),
    Case("pipes", FAULT, "4 KB", puts("proc/sys/fs/pipe-max-size", "4096")),
)  # fmt: skip


def test_at_least_twenty_checks_each_named_once_and_with_a_remedy_of_one_line() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) >= 20
    assert len(set(names)) == len(names)
    assert all(check.remedy and "\n" not in check.remedy for check in CHECKS)


def test_a_machine_as_it_should_be_passes_every_check(tree: Tree) -> None:
    assert [row for row in examine(tree.machine) if row["level"] != OK] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.says}")
def test_each_fault_is_found_by_its_check(tree: Tree, case: Case) -> None:
    case.harm(tree)
    (check,) = (check for check in CHECKS if check.name == case.check)
    (row,) = examine(tree.machine, (check,))
    assert row["level"] == case.level
    assert case.says in row["found"]
    assert row["remedy"] == check.remedy


def test_the_keyboards_that_may_be_heard_are_named_and_need_no_card(tree: Tree) -> None:
    tree.put("proc/asound/seq/clients", CLIENTS)
    tree.remove("proc/asound/cards")
    tree.set(settings=KEYBOARD)
    rows = {row["check"]: row for row in examine(tree.machine)}
    assert rows["keyboard"]["level"] == rows["sound card"]["level"] == OK
    assert "Piano [1]:keys, Wheel:out" in rows["keyboard"]["found"]


def test_every_check_has_a_machine_that_fails_it(tree: Tree) -> None:
    fewer = {"cores"}  # tested below: cores are folders
    assert {case.check for case in CASES} | fewer == {check.name for check in CHECKS}


@pytest.mark.parametrize(
    ("model", "level", "says"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", WARNING, "by USB cable"),
        ("Raspberry Pi 4 Model B Rev 1.4", WARNING, "by USB cable"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", NOTE, "a Pi 3 B+ has no device port"),
        ("Raspberry Pi 3 Model B Rev 1.2", NOTE, "a Pi 3 B has no device port"),
        ("Raspberry Pi Zero 2 W Rev 1.0", NOTE, "one port is a host port"),
        ("Raspberry Pi 500 Rev 1.0", WARNING, "by USB cable"),
        ("", NOTE, "by USB cable"),
    ],
)
def test_a_missing_usb_controller_weighs_what_the_board_can_have(
    tree: Tree, model: str, level: str, says: str
) -> None:
    tree.remove("sys/class/udc/fe980000.usb/state")
    (tree.root / "sys/class/udc/fe980000.usb").rmdir()
    tree.put("proc/device-tree/model", f"{model}\0")
    (row,) = examine(tree.machine, [check for check in CHECKS if check.name == "USB controller"])
    assert row["level"] == level and says in row["found"]


def test_the_gadget_says_which_midi_it_offers(tree: Tree) -> None:
    (check,) = (check for check in CHECKS if check.name == "USB gadget")
    assert "(MIDI 2.0)" in check.look(tree.machine).text
    tree.remove("sys/kernel/config/usb_gadget/kelly-edge/configs/c.1/midi2.usb0")
    assert "MIDI 1.0 alone" in check.look(tree.machine).text


def test_the_pots_own_spi_is_no_fault_and_one_chip_select_leaves_the_hold_button(tree: Tree) -> None:
    lamp = PanelSettings(pots=("brightness -1..1 on 2",), red_pin=-1, green_pin=-1, blue_pin=-1)
    tree.set(settings=replace(SETTINGS, panel=lamp))
    tree.put("sys/bus/spi/devices/spi0.0/x", "")
    assert tree.level("panel pins") == OK
    tree.put("sys/bus/spi/devices/spi0.1/x", "")
    assert tree.level("panel pins") == WARNING


def test_few_cores_are_said(tree: Tree) -> None:
    for n, level in ((3, NOTE), (2, NOTE), (1, FAULT)):
        (tree.root / f"sys/devices/system/cpu/cpu{n}").rename(tree.root / f"off{n}")
        assert tree.level("cores") == level


@pytest.mark.parametrize(
    ("card", "level"),
    [
        ("USB", OK),
        ("hw:0", OK),
        ("hw:CARD=USB,DEV=0", OK),
        ("plughw:CARD=Nobody", FAULT),
        ("default", OK),
        ("kelly", FAULT),
        ("portaudio:USB", NOTE),
    ],
)
def test_the_card_is_known_by_each_of_its_names(tree: Tree, card: str, level: str) -> None:
    tree.set(settings=replace(SETTINGS, audio=AudioSettings(card=card)))
    assert tree.level("sound card") == level


def test_a_device_of_alsas_settings_is_known(tree: Tree) -> None:
    tree.put("root/.asoundrc", "pcm.kelly { type plug slave.pcm kelly_jack }\n")
    tree.set(settings=replace(SETTINGS, audio=AudioSettings(card="kelly")))
    assert tree.level("sound card") == OK


def test_rights_come_by_capability_too(tree: Tree) -> None:
    tree.put(LIMITS, LOW_LIMITS)
    tree.put("proc/self/status", "Uid: 990\nGroups: 29\nCapEff: 0000000000804000\n")
    assert tree.level("real-time priority") == tree.level("locked memory") == OK


def test_an_empty_machine_is_examined_without_an_exception(tmp_path: Path) -> None:
    rows = examine(replace(Machine(), root=tmp_path, site_packages=(), environment={}))
    assert len(rows) == len(CHECKS)
    assert {row["level"] for row in rows} > {FAULT}


def test_this_process_keeps_denormals_as_the_golden_vectors_were_made() -> None:
    assert not denormals_flushed()


def test_the_command_prints_json_names_a_wrong_setting_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("audio:\n  period: 99\n")
    assert main(["doctor", "--config", str(config), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    settings = next(row for row in report["checks"] if row["check"] == "settings")
    assert settings["level"] == FAULT
    assert "audio.period: 99" in settings["found"]
    assert report["faults"] == sum(row["level"] == FAULT for row in report["checks"])


# --- MIDI ----------------------------------------------------------------------------------


def found(tree: Tree, name: str) -> str:
    (row,) = examine(tree.machine, [check for check in CHECKS if check.name == name])
    return row["found"]


@pytest.mark.parametrize(
    ("outputs", "inputs", "level"),
    [
        (("*",), ("*",), OK),
        (("Piano [1]:keys",), (), OK),
        (("Piano [1]:keys 20:0",), ("Wheel*",), OK),
        (("Wheel*",), (), WARNING),  # It only sends.
        (("System*",), (), WARNING),
        (("Midi Through*",), (), WARNING),
        (("jack:synth:in",), ("jack:*",), OK),
        (("jack:Piano*",), (), WARNING),
        (("raw:/dev/snd/seq",), (), OK),
        (("raw:/dev/snd/midiC9D0",), (), WARNING),
    ],
)
def test_each_pattern_means_a_port_or_is_one_line(
    tree: Tree, outputs: tuple[str, ...], inputs: tuple[str, ...], level: str
) -> None:
    tree.put("proc/asound/seq/clients", CLIENTS)
    tree.set(settings=midi(outputs=outputs, inputs=inputs), jack_ports=lambda is_output: ["synth:in"])
    assert tree.level("MIDI ports") == level


def test_without_a_jack_server_its_ports_are_said_to_be_unknown(tree: Tree) -> None:
    tree.set(settings=midi(outputs=("jack:synth:in",)), jack_ports=lambda is_output: None)
    assert "no JACK server" in found(tree, "MIDI ports")


@pytest.mark.parametrize(
    ("outputs", "inputs", "level"),
    [
        (("*",), ("*",), FAULT),
        (("raw:/notes", "Piano"), ("*",), FAULT),
        (("raw:/notes",), ("*",), NOTE),  # The README's set-up without hardware.
        (("jack:x",), (), NOTE),
        (("raw:/notes",), ("Wheel*",), WARNING),
    ],
)
def test_a_missing_sequencer_weighs_what_it_costs(
    tree: Tree, outputs: tuple[str, ...], inputs: tuple[str, ...], level: str
) -> None:
    tree.remove("dev/snd/seq")
    tree.set(settings=midi(outputs=outputs, inputs=inputs), jack_ports=lambda is_output: ["x"])
    assert tree.level("MIDI sequencer") == level


def test_there_are_no_rights_to_have_where_there_is_no_sound(tree: Tree) -> None:
    tree.remove("dev/snd/seq")
    (tree.root / "dev/snd").rmdir()
    assert tree.level("sound rights") == NOTE


def test_names_from_outside_stay_within_their_row(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.put("proc/asound/card0/pcm0p/sub0/status", "state: RUNNING\nowner_pid   : 77\n")
    tree.put("proc/77/comm", "[red]x\x1b[31m\nok")
    text = found(tree, "card in use")
    assert text.isprintable()
    _print(examine(tree.machine))
    shown = capsys.readouterr().out
    assert "[red]x" in shown and "\x1b[31m" not in shown
