"""Power, and nothing typed: the box comes up, listens and plays to the computer at its USB cable."""

from box_instrument import PowerOn, sounding, struck


def test_every_unit_is_active_after_power_on(power_on: PowerOn) -> None:
    print(f"units active {power_on.ready_s:.0f} s of the box's clock after ssh answered")
    assert set(power_on.states.values()) == {"active"}
    assert set(power_on.restarts.values()) == {"0"}


def test_the_release_was_proved_before_anything_started(power_on: PowerOn) -> None:
    assert " is sound" in power_on.release


def test_the_lamp_is_lit(power_on: PowerOn) -> None:
    assert power_on.lamp in ({"green"}, {"blue"}, {"red", "green"})


def test_the_host_sees_the_instrument_by_its_name(power_on: PowerOn) -> None:
    assert "'Kelly Edge' [type=kernel" in power_on.ports
    assert "Kelly Edge MIDI 1" in power_on.ports


def test_a_recording_becomes_notes_at_the_host_and_all_are_released(power_on: PowerOn) -> None:
    notes = struck(power_on.heard)
    assert len(notes) >= 3
    assert all(0 <= note.pitch <= 127 and 1 <= note.velocity <= 100 and note.channel == 0 for note in notes)
    assert sounding(power_on.heard) == set()
    print(f"{len(notes)} notes, pitches {min(n.pitch for n in notes)}..{max(n.pitch for n in notes)}")


def test_nothing_was_compiled_while_it_played(power_on: PowerOn) -> None:
    assert "is compiled for this process alone" not in power_on.said


def test_what_was_heard_and_played_is_in_the_session_log(power_on: PowerOn) -> None:
    emotion, notes = power_on.session["emotion"], power_on.session["note"]
    assert any(entry["confidence"] > 0 for entry in emotion)
    assert notes
    rungs = {note["rung"] for note in notes}
    print(f"{len(emotion)} hop groups heard, {len(notes)} notes, rungs {sorted(rungs)}")


def test_the_counters_of_every_process_are_in_the_session_log(power_on: PowerOn) -> None:
    counters = {entry["process"]: entry for entry in power_on.session["counters"]}
    assert {"audio", "dsp", "midi", "composer"} <= set(counters)
    assert counters["audio"]["n_periods"] > 0
    assert counters["dsp"]["n_hops"] > 0
    assert counters["composer"]["n_bars"] > 0
    print({process: counters[process] for process in ("audio", "composer", "dsp")})
