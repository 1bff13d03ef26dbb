"""Settings: the file equals the defaults; every fault at once, with line, limits and suggestion."""

from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_py.devices.files.config_file import (
    entries_from,
    load_settings,
    read_override,
    setting_text,
    settings_text,
)
from firmware_py.devices.files.programmes import programme_names
from firmware_py.settings import Settings, describe, rules
from firmware_py.settings_check import settings_from
from kelly_edge.config_rules import Rule, Value
from kelly_edge.config_values import MAX_FAULTS
from kelly_edge.errors import ConfigError

FILE = Path(__file__).parents[1] / "config.yaml"
RULES = {f"{section}.{name}": (rule, default) for section, name, rule, default in rules()}


def parse(text: str, *overrides: str) -> Settings:
    read = [read_override(o) for o in overrides]
    return settings_from(entries_from(text, "config.yaml"), read, programme_names)


def faults_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, *overrides)
    return str(caught.value).splitlines()


def test_config_yaml_is_the_built_in_defaults() -> None:
    assert load_settings(FILE) == Settings()


def test_config_yaml_holds_every_setting_with_its_meaning_unit_and_limits() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == settings_text()
    lines = iter(text.splitlines())
    for path, (rule, _) in RULES.items():
        start = f"  {path.split('.')[1]}: "
        line = next(line for line in lines if line.startswith(start))
        assert line.endswith(f"  # {rule.documentation}")


def test_every_default_is_of_its_annotated_type_and_within_its_rule() -> None:
    for section in fields(Settings):
        kinds = get_type_hints(type(section.default))
        for f in fields(type(section.default)):
            rule, default = RULES[f"{section.name}.{f.name}"]
            assert type(default) is getattr(kinds[f.name], "__origin__", kinds[f.name])
            assert not rule.choices or default in rule.choices
            assert not rule.limits or rule.limits[0] <= float(default) <= rule.limits[1]  # type: ignore[arg-type]
            assert rule.check is None or rule.check(default) == ""


def test_describe_gives_the_values_in_force_with_unit_and_limits() -> None:
    rows = {path: rest for path, *rest in describe(parse("", "audio.period=64"))}
    assert rows["audio.period"] == [
        64,
        "frames",
        "frames the card hands over at a time (64, 128, 256 frames)",
    ]
    assert rows.keys() == RULES.keys()


def test_an_empty_file_an_empty_section_and_no_file_give_the_defaults() -> None:
    assert parse("") == parse("# nothing\n") == parse("audio:\n") == load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("audio: {period: 99}", "audio.period: 99 is not one of 64, 128, 256"),
        ("audio: {n_periods: 5}", "audio.n_periods: 5 is not within 2..4 periods"),
        ("emotion: {iso_match_s: -3}", "emotion.iso_match_s: -3 is not within 0..600 s"),
        (
            "emotion: {programme: isso}",
            f"emotion.programme: isso is not one of {', '.join(programme_names())}; did you mean iso?",
        ),
        (
            "emotion: {programmes: [iso, calm-in-16]}",
            f"emotion.programmes: calm-in-16 is not one of {', '.join(programme_names())}; "
            "did you mean calm-in-15?",
        ),
        ("emotion: {programmes: []}", "emotion.programmes: must hold 1..100 names"),
        (
            "emotion: {programmes: [iso, hold]}",
            "emotion.programmes: holds hold, which a tap of the hold button chooses",
        ),
        ("emotion: {programmes: [iso, iso]}", "emotion.programmes: holds a name twice"),
        ("emotion: {programme: ../x}", "emotion.programme: ../x is no name of a programme"),
        ("limiter: {ceiling_db: 0}", "limiter.ceiling_db: 0 is not within -60..-1 dBFS"),
        ("audio: {periode: 64}", "audio.periode: unknown setting; did you mean period?"),
        ("emotoin: {programme: iso}", "emotoin: unknown section; did you mean emotion?"),
        ("audio: 3", "audio: 3 is not a section of settings"),
        ("composer: {seed: true}", "composer.seed: true is not a whole number"),
        ("composer: {seed: 1.0}", "composer.seed: 1.0 is not a whole number"),
        ("composer: {key_lock: 1}", "composer.key_lock: 1 is not true or false"),
        # A plain `no` is a text in YAML 1.2: no setting changes its meaning unseen.
        ("composer: {key_lock: no}", "composer.key_lock: no is not true or false"),
        ("composer: {look_ahead_s: '2'}", "composer.look_ahead_s: 2 is not a finite number"),
        ("composer: {look_ahead_s: .nan}", "composer.look_ahead_s: nan is not a finite number"),
        ("composer: {look_ahead_s: -.inf}", "composer.look_ahead_s: -inf is not a finite number"),
        ("composer: {look_ahead_s: 1e999}", "composer.look_ahead_s: inf is not a finite number"),
        ("composer: {look_ahead_s: }", "composer.look_ahead_s: nothing is not a finite number"),
        ("composer: {look_ahead_s: [1]}", "composer.look_ahead_s: a list is not a finite number"),
        ("voice: {names: flute}", "voice.names: flute is not a list of texts"),
        ("voice: {names: [a b]}", "voice.names: holds a b, which is not a name of letters, digits and _"),
        ("voice: {names: [flute, flute]}", "voice.names: holds a name twice"),
        ("voice: {names: []}", "voice.names: must hold 1..127 names"),
        ('audio: {card: "  "}', "audio.card: is empty"),
        ('audio: {card: "a\\nb"}', "audio.card: holds a control character"),
    ],
)
def test_a_fault_names_the_setting_the_limits_and_the_line(text: str, fault: str) -> None:
    assert faults_of(f"\n\n{text}") == [f"{fault} (config.yaml line 3)"]


def test_every_fault_is_reported_at_once_with_its_own_line() -> None:
    assert faults_of(
        "audio:\n  period: 99\n  card: ''\nvoices: {}\nemotion:\n  goal_valence: 2\n",
        "composer.seed=x",
        "y=1",
    ) == [
        "audio.period: 99 is not one of 64, 128, 256 (config.yaml line 2)",
        "audio.card: is empty (config.yaml line 3)",
        "voices: unknown section; did you mean voice? (config.yaml line 4)",
        "emotion.goal_valence: 2 is not within -1..1 (config.yaml line 6)",
        "composer.seed: x is not a whole number (--set composer.seed=x)",
        "y: is not SECTION.NAME=VALUE (--set y=1)",
    ]


def test_endless_faults_are_counted_and_not_listed() -> None:
    faults = faults_of("".join(f"s{i}: 1\n" for i in range(MAX_FAULTS + 7)))
    assert len(faults) == MAX_FAULTS + 1 and faults[-1] == "and 7 more"


def test_a_setting_or_a_section_given_twice_is_refused() -> None:
    assert faults_of("audio:\n  period: 64\n  period: 128\naudio: {}\n") == [
        "audio.period: is there twice, first in config.yaml line 2 (config.yaml line 3)",
        "audio: is there twice, first in config.yaml line 1 (config.yaml line 4)",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("voice: {selected: fluet}", "voice.selected: fluet is not one of flute, saxophone, cello"),
        ("voice: {names: [cello]}", "voice.selected: flute is not one of cello"),
        ("envelope: {pitch_min: 90}", "envelope.pitch_max: 96 is not an octave above pitch_min 90"),
        ("envelope: {tempo_max_bpm: 30}", "envelope.tempo_max_bpm: 30 is not above tempo_min_bpm 40"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_at_the_one_given(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault) and found.endswith("(config.yaml line 1)")


def test_overrides_win_and_the_last_one_counts() -> None:
    found = parse(
        "audio: {period: 256}",
        "audio.period=128",
        "audio.period=64",
        "emotion.goal_valence=-1",
        "voice.names=[cello, pad]",
        "voice.selected=pad",
        "composer.key_lock=false",
        "runtime.models_dir=a=b",
    )
    assert (found.audio.period, found.emotion.goal_valence, found.composer.key_lock) == (64, -1.0, False)
    assert found.voice.names == ("cello", "pad") and found.runtime.models_dir == "a=b"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ('midi.outputs=["*"]', ("*",)),
        ("midi.outputs=['jack:*', \"USB [1]\"]", ("jack:*", "USB [1]")),
        ("midi.outputs=[]", ()),
        ("midi.outputs=[raw:notes, a b]", ("raw:notes", "a b")),
        ("midi.outputs=*", ("*",)),
        ("midi.outputs=raw:notes", ("raw:notes",)),
        ("midi.outputs=raw:a,jack:*", ("raw:a", "jack:*")),
        ('midi.outputs="a, b"', ("a, b",)),
        ('panel.encoders=["valence 0.04 on 17 27 22"]', ("valence 0.04 on 17 27 22",)),
        ("panel.encoders=valence 0.04 on 17 27 22", ("valence 0.04 on 17 27 22",)),
        ('audio.card="hw:0,0"', "hw:0,0"),
        ("audio.card=hw:0,0", "hw:0,0"),
        ("audio.card=2024", "2024"),
        ("audio.card=on", "on"),
        ("audio.card=a: b #c", "a: b #c"),
        ("audio.card=*", "*"),
        ("composer.key_lock=True", True),
        ("composer.seed=+7", 7),
        ("composer.temperature=1", 1.0),
        ("composer.temperature=5e-1", 0.5),
    ],
)
def test_the_command_line_reads_a_value_as_the_file_does(override: str, expected: Value) -> None:
    path, _, text = override.partition("=")
    section, name = path.split(".")
    assert getattr(getattr(parse("", override), section), name) == expected
    try:
        in_file = getattr(
            getattr(parse(f"{section}: {{{name}: {text}}}" if "#" not in text else ""), section), name
        )
    except ConfigError:
        return  # what no file could say without quotes, the command line may
    assert in_file == expected or "#" in text


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("midi.outputs=[*]", "not YAML"),
        ('midi.outputs=["*"', "not YAML"),
        ("midi.outputs=[1]", "is not a list of texts"),
        ("midi.outputs=[a]]", "not YAML"),
        ("composer.seed=1_000", "not a whole number"),
        ("composer.seed=!!int 3", "tag"),
        ("composer.seed=", "nothing is not a whole number"),
        ("composer.seed", "is not SECTION.NAME=VALUE"),
        ("composer.key_lock=yes", "not true or false"),
    ],
)
def test_a_value_that_no_file_could_hold_is_refused_in_one_line(override: str, fault: str) -> None:
    (found,) = faults_of("", override)
    assert fault in found and f"(--set {override})" in found


def test_pots_are_given_on_the_command_line_as_the_hardware_guide_says() -> None:
    pots = ("density -1..1 on 0", "brightness -1..1 on 7")
    free = [f"panel.{name}_pin=-1" for name in ("hold", "red", "green", "blue")]
    for text in (
        '["density -1..1 on 0", "brightness -1..1 on 7"]',
        "density -1..1 on 0, brightness -1..1 on 7",
    ):
        assert parse("", *free, f"panel.pots={text}").panel.pots == pots


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = [path for path, (rule, _) in RULES.items() if rule.is_path]
    assert set(paths) == {
        "emotion.programmes_dir", "runtime.models_dir", "runtime.run_dir", "runtime.state_dir",
        "session.prometheus",
    }  # fmt: skip
    found = load_settings(None, [f"{path}=~/x y" for path in paths] + ["midi.outputs=[raw:~/notes, ~USB]"])
    for path in paths:
        section, name = path.split(".")
        assert getattr(getattr(found, section), name) == str(tmp_path / "x y")
    assert found.midi.outputs == (f"raw:{tmp_path / 'notes'}", "~USB")
    (tmp_path / "mine.yaml").write_text("runtime: {state_dir: ~/state}\n")
    assert load_settings(tmp_path / "mine.yaml").runtime.state_dir == str(tmp_path / "state")
    with pytest.raises(ConfigError, match=r"runtime\.run_dir: .* has no home folder"):
        load_settings(None, ["runtime.run_dir=~nobody-of-that-name/x"])


def test_no_counters_are_written_over_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("audio: {period: 64}\n")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigError, match="is the settings file itself"):
        load_settings(path, [f"session.prometheus={tmp_path / 'link'}"])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: [1, 2", "not YAML"),
        (b'audio: {card: "\\Uffffffff"}', "not YAML"),
        (b"a: \x07", "not YAML"),
        (b"- 1", "not sections"),
        (b"x", "not sections"),
        (b"a: 1\n--- \nb: 2", "not YAML"),
        (b"? [a]\n: 1", "a key is not a text"),
        (b"a: &x {b: *x}", "alias"),
        (b"audio: &a {period: 64}\nemotion: *a", "alias"),
        (b"audio: {period: !!python/object:os.system 1}", "tag"),
        (b"a: " + b"[" * 5_000, "nested"),
        (b"#" * 1_000_001, "larger than"),
    ],
)
def test_a_file_that_is_no_settings_file_is_one_line(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=fault) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="directory"):
        load_settings(tmp_path)


def a_fragment() -> st.SearchStrategy[str]:
    """YAML-like pieces: names that exist, values of every kind, and the syntax around them."""
    names = st.sampled_from([word for path in RULES for word in path.split(".")])
    syntax = st.sampled_from(
        ["\n", "\n  ", ": ", "[", "]", "{", "}", ", ", "&a ", "*a", "!t ", "'", '"', "- ", "<<"]
    )
    numbers = st.one_of(st.integers(), st.floats()).map(str)
    return st.lists(st.one_of(names, syntax, numbers, st.text(max_size=5)), max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=200), a_fragment()))
@example("audio: {period: " + "9" * 5_000 + "}")
@example("composer: {look_ahead_s: " + "9" * 400 + "}")
def test_no_text_raises_anything_but_config_error(text: str) -> None:
    try:
        found = parse(text)
    except ConfigError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))
    else:
        assert isinstance(found, Settings)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(list(RULES)))
def test_no_override_raises_anything_but_config_error(text: str, path: str) -> None:
    for override in (text, f"{path}={text}"):
        try:
            parse("", override)
        except ConfigError as error:
            assert all(line.isprintable() for line in str(error).split("\n"))


def a_value(rule: Rule, default: Value) -> st.SearchStrategy[Value]:
    if rule.choices:
        return st.sampled_from(rule.choices)
    if isinstance(default, bool):
        return st.booleans()
    if rule.limits and isinstance(default, int):
        return st.integers(int(rule.limits[0]), int(rule.limits[1]))
    return st.floats(*rule.limits) if rule.limits else st.just(default)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(list(RULES)))
def test_what_is_within_the_limits_is_read_back_exactly(data: st.DataObject, path: str) -> None:
    rule, default = RULES[path]
    value = data.draw(a_value(rule, default))
    section, name = path.split(".")
    try:
        found = parse(f"{section}:\n  {name}: {setting_text(value)}\n")
    except ConfigError as error:
        assert path in {
            "envelope.pitch_min",
            "envelope.pitch_max",
            "envelope.tempo_min_bpm",
            "envelope.tempo_max_bpm",
        } or path.endswith("_pin")
        assert "above" in str(error) or "is both" in str(error)
    else:
        assert getattr(getattr(found, section), name) == value
