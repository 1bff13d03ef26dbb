"""Boot settings: a row of the table of boards each, files as they are found, and nothing twice."""

import base64
import subprocess
from pathlib import Path

import pytest

from deploy.boot import (
    BEGIN,
    CONFIG,
    CUSTOM,
    DEVICE_PORT,
    EITHER_PORT,
    LOOK,
    SETTINGS,
    SPI,
    Seen,
    active,
    plan_boot,
    read_look,
    write_command,
)
from deploy.errors import DeployError
from firmware_py.devices.gpio.pins import HEADERS
from kelly_edge.shared.boards import TABLE, Board, find_board, read_boards

PI_OS = """# For more options and information see
# http://rptl.io/configtxt
# Uncomment some or all of these to enable the optional hardware interfaces
#dtparam=i2c_arm=on
#dtparam=i2s=on
#dtparam=spi=on

# Enable audio (loads snd_bcm2835)
dtparam=audio=on
disable_fw_kms_setup=1
arm_64bit=1
arm_boost=1

[cm4]
# Enable host mode on the 2711 built-in XHCI USB controller.
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""
"""As Raspberry Pi OS Lite (trixie) ships it."""
EARLIER = "dtoverlay=dwc2,dr_mode=peripheral\ndtparam=spi=on\ndisable_splash=1\n"
NO_SETTINGS = "audio: {}\n"
POTS = 'panel:\n  pots: ["brightness -1..1 on 2"]\n'
ONLY_PORT = "gadget: {only_port: true}\n"
ETHERNET = "/sys/devices/platform/scb/fd580000.ethernet/net/eth0"
WIFI = "/sys/devices/platform/soc/3f300000.mmcnr/mmc_host/mmc1/mmc1:0001/mmc1:0001:1/net/wlan0"
USB_ADAPTER = "/sys/devices/platform/soc/3f980000.usb/usb1/1-1/1-1:1.0/net/eth0"
GADGET_NET = "/sys/devices/platform/soc/3f980000.usb/gadget.0/net/usb0"
MODELS = {
    "Pi 5": "Raspberry Pi 5 Model B Rev 1.0",
    "Pi 4": "Raspberry Pi 4 Model B Rev 1.5",
    "Pi 3 B+": "Raspberry Pi 3 Model B Plus Rev 1.3",
    "Pi 3 B": "Raspberry Pi 3 Model B Rev 1.2",
    "Zero 2 W": "Raspberry Pi Zero 2 W Rev 1.0",
}
EXPECTED = {
    "Pi 5": [DEVICE_PORT],
    "Pi 4": [DEVICE_PORT],
    "Pi 3 B+": [],
    "Pi 3 B": [],
    "Zero 2 W": [],
}
"""What each board's file gains, where the settings ask for no pots."""


def seen(
    board: str, config: str = PI_OS, *, networks: tuple[str, ...] = (WIFI,), custom: str | None = None
) -> Seen:
    files = [(CONFIG, config)]
    if custom is not None:
        files.append((CUSTOM, custom))
    return Seen(MODELS.get(board, board), tuple(files), custom is not None, networks)


def after(before: Seen, settings: str, path: str = CONFIG) -> str:
    return dict(plan_boot(before, settings).files).get(path, before.file(path) or "")


def gained(board: str, settings: str, config: str = PI_OS, **how: tuple[str, ...]) -> list[str]:
    found = find_board(MODELS[board])
    old = active(config, found)
    return [line for line in active(after(seen(board, config, **how), settings), found) if line not in old]


@pytest.mark.parametrize("board", read_boards(), ids=lambda board: board.name)
class TestEachBoard:
    def test_it_is_known_by_its_model_and_its_row_says_its_source(self, board: Board) -> None:
        assert find_board(MODELS[board.name] + "\0") == board
        assert board.header in HEADERS and board.source
        assert board.device_port in ("own", "only", "none")
        assert bool(board.takes) == (board.device_port != "own")

    def test_it_is_given_what_it_has_and_the_settings_ask_for(self, board: Board) -> None:
        assert gained(board.name, NO_SETTINGS) == EXPECTED[board.name]
        assert gained(board.name, POTS) == [*EXPECTED[board.name], SPI]

    def test_a_second_run_changes_nothing_and_the_text_says_so(self, board: Board) -> None:
        for settings in (NO_SETTINGS, POTS, ONLY_PORT):
            once = after(seen(board.name), settings)
            again = plan_boot(seen(board.name, once), settings)
            assert again.files == again.added == again.removed == ()
            assert f"a {board.name}: nothing to change" in again.text()

    def test_what_an_earlier_provision_wrote_is_undone(self, board: Board) -> None:
        for written in (EARLIER, EARLIER.replace("dtparam=spi=on\n", "")):
            assert after(seen(board.name, PI_OS + written), NO_SETTINGS) == after(
                seen(board.name), NO_SETTINGS
            )

    def test_what_the_settings_no_longer_ask_for_goes_again(self, board: Board) -> None:
        with_pots = after(seen(board.name), POTS)
        plan = plan_boot(seen(board.name, with_pots), NO_SETTINGS)
        assert plan.removed == (SPI,) and plan.added == ()
        assert after(seen(board.name, with_pots), NO_SETTINGS) == after(seen(board.name), NO_SETTINGS)

    def test_no_network_and_no_usb_is_ever_taken_away(self, board: Board) -> None:
        for settings in (NO_SETTINGS, POTS, ONLY_PORT):
            for networks in ((), (WIFI,), (ETHERNET,), (USB_ADAPTER,), (USB_ADAPTER, WIFI)):
                lines = gained(board.name, settings, networks=networks)
                assert DEVICE_PORT not in lines or board.device_port == "own"
                assert EITHER_PORT not in lines or WIFI in networks or ETHERNET in networks or not networks


def test_every_row_of_the_table_has_its_test() -> None:
    assert {board.name for board in read_boards()} == set(MODELS) == set(EXPECTED)
    assert TABLE.is_file()


def test_every_label_the_box_looks_for_is_of_a_board() -> None:
    assert {board.header for board in read_boards()} == set(HEADERS)


@pytest.mark.parametrize(
    "model",
    [
        "Raspberry Pi 500 Rev 1.0",
        "Raspberry Pi Compute Module 4 Rev 1.1",
        "Raspberry Pi Zero W Rev 1.1",
        "QEMU",
        "",
    ],
)
def test_a_board_that_the_table_lacks_is_left_as_it_is_but_for_what_we_wrote(model: str) -> None:
    assert find_board(model) is None
    assert plan_boot(seen(model), POTS).files == ()
    undone = plan_boot(seen(model, PI_OS + EARLIER), POTS)
    assert dict(undone.files) == {CONFIG: PI_OS}
    assert "no board of ours" in undone.text()


def test_a_commented_line_is_no_setting() -> None:
    """pyinfra's files.line took ``#dtparam=spi=on`` for what it was asked to write."""
    assert SPI in active(after(seen("Pi 4"), POTS), find_board(MODELS["Pi 4"]))
    assert DEVICE_PORT in gained("Pi 4", NO_SETTINGS, PI_OS + f"#{DEVICE_PORT}\n")


def test_a_setting_under_another_boards_filter_does_not_count() -> None:
    config = "[cm5]\ndtoverlay=dwc2,dr_mode=host\n[pi5]\narm_boost=1\n[pi4]\nmax_framebuffers=2\n"
    assert gained("Pi 4", NO_SETTINGS, config) == [DEVICE_PORT]
    assert "max_framebuffers=2" in active(config, find_board(MODELS["Pi 4"]))
    assert "arm_boost=1" not in active(config, find_board(MODELS["Pi 4"]))


def test_what_somebody_else_set_stays_and_is_said() -> None:
    host = plan_boot(seen("Pi 4", PI_OS + "dtoverlay=dwc2,dr_mode=host\n"), NO_SETTINGS)
    assert host.files == () and "its own dtoverlay=dwc2,dr_mode=host stays" in host.text()
    zero = plan_boot(seen("Zero 2 W", PI_OS + f"{DEVICE_PORT}\n"), NO_SETTINGS)
    assert zero.files == () and "it takes away the USB sound card" in zero.text()
    spi = plan_boot(seen("Pi 4", PI_OS.replace("#dtparam=spi", "dtparam=spi")), NO_SETTINGS)
    assert "dtparam=spi=on holds GPIO 7 to 11" in spi.text()


def test_device_mode_goes_from_a_pi_3_whoever_wrote_it() -> None:
    plan = plan_boot(seen("Pi 3 B", PI_OS + f"{DEVICE_PORT}\n"), NO_SETTINGS)
    assert dict(plan.files) == {CONFIG: PI_OS} and plan.removed == (DEVICE_PORT,)


def test_a_zero_2_w_is_a_device_only_where_asked_and_its_network_is_elsewhere() -> None:
    assert gained("Zero 2 W", ONLY_PORT) == [EITHER_PORT]
    assert gained("Zero 2 W", ONLY_PORT, networks=(USB_ADAPTER,)) == []


def test_a_box_reached_through_its_device_port_keeps_it() -> None:
    before = seen("Zero 2 W", PI_OS + EARLIER, networks=(GADGET_NET,))
    plan = plan_boot(before, NO_SETTINGS)
    assert DEVICE_PORT in active(after(before, NO_SETTINGS), find_board(MODELS["Zero 2 W"]))
    assert DEVICE_PORT not in plan.removed and "so dtoverlay=dwc2,dr_mode=peripheral stays" in plan.text()


def test_on_debian_the_lines_also_stand_where_kernel_updates_take_them_from() -> None:
    before = seen("Pi 4", "kernel=vmlinuz\n\ndtparam=spi=on\n", custom="dtparam=spi=on\n")
    for path in (CONFIG, CUSTOM):
        text = after(before, NO_SETTINGS, path)
        assert BEGIN in text and DEVICE_PORT in text and "dtparam=spi=on" not in text


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_block_cut_off_by_a_power_cut_is_written_anew(cut: int) -> None:
    whole = after(seen("Pi 4"), POTS)
    block = whole[whole.index(BEGIN) :].splitlines(keepends=True)
    broken = PI_OS + "".join(block[:cut]) + "gpu_mem=16\n"
    text = after(seen("Pi 4", broken), POTS)
    assert text.count(BEGIN) == 1 and "gpu_mem=16" in text
    assert sorted(active(text, find_board(MODELS["Pi 4"]))) == sorted(
        [*active(whole, find_board(MODELS["Pi 4"])), "gpu_mem=16"]
    )


def test_the_boxs_own_settings_count_before_those_it_would_be_given() -> None:
    own = Seen(MODELS["Pi 4"], ((CONFIG, PI_OS), (SETTINGS, POTS)), False, (WIFI,))
    assert SPI in plan_boot(own, NO_SETTINGS).added
    wrong = Seen(MODELS["Pi 4"], ((CONFIG, PI_OS), (SETTINGS, "panel: [")), False, (WIFI,))
    with pytest.raises(DeployError, match=r"config.yaml is not YAML; `kelly-edge check`"):
        plan_boot(wrong, NO_SETTINGS)


def test_the_answer_of_a_box_is_read_whatever_its_bytes() -> None:
    content = PI_OS.encode() + b"# \xff\xfe\n"
    file = f"file:{CONFIG}={base64.b64encode(content).decode()}"
    output = f"model={MODELS['Pi 4']}\n{file}\nnet:lo=/x\nnet:eth0={ETHERNET}\n"
    look = read_look(output)
    assert (look.model, look.networks, look.is_debian) == (MODELS["Pi 4"], (ETHERNET,), False)
    assert (look.file(CONFIG) or "").encode("latin-1") == content
    with pytest.raises(DeployError, match="came back damaged"):
        read_look(f"file:{CONFIG}=%%%")


def test_a_machine_without_a_boot_file_has_nothing_to_set() -> None:
    assert (
        plan_boot(Seen(), NO_SETTINGS).text()
        == "boot settings of a board without config.txt: nothing to change"
    )


def test_the_question_is_shell_that_runs_anywhere_and_changes_nothing() -> None:
    done = subprocess.run(["sh", "-euc", LOOK], capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.startswith("model=")
    assert plan_boot(read_look(done.stdout), NO_SETTINGS).text().startswith("boot settings of a ")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_is_written_beside_its_place_and_renamed(tmp_path: Path, is_there: bool) -> None:
    place, text = tmp_path / "config.txt", PI_OS + "# Läufer 'x' $HOME `y`\n"
    if is_there:
        place.write_text("old\n")
    subprocess.run(["sh", "-euc", write_command(str(place), text)], check=True, capture_output=True)
    assert place.read_bytes() == text.encode("latin-1")
    assert [path.name for path in tmp_path.iterdir()] == ["config.txt"]
    blocked = tmp_path / "absent/config.txt"
    done = subprocess.run(["sh", "-c", write_command(str(blocked), text)], check=False, capture_output=True)
    assert done.returncode, "a file that was not written is no success"
