"""A folder of shipped models is not written onto what the exporter reads."""

import sys
from pathlib import Path

import pytest

from kelly_edge.errors import OutputError
from models.shipping import refuse_to_ship_onto

TEXT = b"a checkpoint"


@pytest.mark.parametrize("name", ["ddsp_flute.tflite", "ddsp_flute.yaml", "manifest.yaml"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_of_the_folder_that_is_read_is_refused(name: str, linked: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TEXT)
    source = tmp_path / name
    if linked:
        source = tmp_path / "elsewhere.pt"
        source.hardlink_to(tmp_path / name)
    with pytest.raises(OutputError, match="which this command reads"):
        refuse_to_ship_onto([source], ["ddsp_flute"], tmp_path)


def test_other_models_of_the_folder_may_be_read(tmp_path: Path) -> None:
    source = tmp_path / "ddsp_cello.tflite"
    source.write_bytes(TEXT)
    refuse_to_ship_onto([source], ["ddsp_flute"], tmp_path)
    with pytest.raises(OutputError):
        refuse_to_ship_onto([source], ["ddsp_cello"], tmp_path)


@pytest.mark.parametrize("of", ["emotion", "timbre"])
def test_no_export_overwrites_what_it_reads(
    of: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from models.emotion import export as emotion
    from models.timbre import export as timbre

    if of == "emotion":
        source = tmp_path / "emotion_model.json"
        arguments = ["--run", str(tmp_path / "run"), "--metrics", str(source)]
    else:
        source = tmp_path / "ddsp_flute.pt"
        arguments = ["--voice", "flute", "--checkpoint", str(source)]
    source.write_bytes(TEXT)
    monkeypatch.setattr(sys, "argv", ["export", *arguments, "--out", str(tmp_path)])
    assert (emotion.main() if of == "emotion" else timbre.main()) != 0
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "which this command reads" in said[0]
    assert source.read_bytes() == TEXT
