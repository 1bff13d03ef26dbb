"""docs/hardware.md says what the settings say."""

import re
from pathlib import Path

from firmware_py.panel_lines import read_encoder
from firmware_py.processes.panel import panel_pins
from firmware_py.settings import PanelSettings

GUIDE = Path(__file__).parents[2] / "docs/hardware.md"
HEADER = {
    **{2: 3, 3: 5, 4: 7, 17: 11, 27: 13, 22: 15, 10: 19, 9: 21, 11: 23, 5: 29, 6: 31, 13: 33, 19: 35, 26: 37},
    **{14: 8, 15: 10, 18: 12, 23: 16, 24: 18, 25: 22, 8: 24, 7: 26, 12: 32, 16: 36, 20: 38, 21: 40},
}
"""BCM number → pin of the 40-pin header (Raspberry Pi documentation, GPIO and the 40-pin header)."""


def rows() -> dict[str, tuple[list[int], list[int]]]:
    found = re.findall(r"^\| ([^|]+) \| ([\d, ]+) \| ([\d, ]+) \|$", GUIDE.read_text(encoding="utf-8"), re.M)
    return {name: tuple([int(n) for n in text.split(",")] for text in pins) for name, *pins in found}  # type: ignore[misc]


def test_the_wiring_table_is_the_default_panel() -> None:
    panel, table = PanelSettings(), rows()
    for text in panel.encoders:
        line = read_encoder(text)
        name = " / ".join(page.name for page in line.pages)
        assert table[f"{name}: A, B, push"][0] == [line.a, line.b, line.push]
    assert table["panic button"][0] == [panel.panic_pin]
    assert table["hold button"][0] == [panel.hold_pin]
    assert table["lamp: red, green, blue"][0] == [panel.red_pin, panel.green_pin, panel.blue_pin]
    listed = {pin for name, (pins, _) in table.items() if "free" not in name for pin in pins}
    assert listed == {*panel_pins(panel), panel.red_pin, panel.green_pin, panel.blue_pin}


def test_every_pin_of_the_guide_is_at_its_place_on_the_header() -> None:
    table = rows()
    assert len(table) == 9
    for bcm, header in table.values():
        assert [HEADER[pin] for pin in bcm] == header


def test_the_drawing_shows_the_same_pins() -> None:
    drawing = (GUIDE.parent / "wiring.svg").read_text(encoding="utf-8")
    for name, (bcm, _) in rows().items():
        if name.endswith("push"):
            first = name.split()[0].rstrip(":")
            for pin, contact in zip(bcm, ("A", "B", "push"), strict=True):
                assert re.search(rf"{first} {contact}  GPIO {pin}<|GPIO {pin}  {first} {contact}<", drawing)
