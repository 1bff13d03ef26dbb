"""A stand-in for the instrument: the same commands under the real units, and switched in a second.

How it behaves is the word below: ``good``; ``slow-N`` (READY after N seconds, each process after its share of
them); ``no-ready`` (its processes never tell READY); ``crash``; ``silent`` (a model that loads but says
nothing); ``broken`` (the phrase does not play); ``refuses`` (the settings); ``writes`` (knows settings the
others do not); ``deaf`` (READY, and then hears no hop); ``still`` (READY, and counts nothing); ``no-card``
(plays to a sound card that is not there); ``xruns``; ``rude`` (plants code wherever a service may write).
Settings that name ``card: gone`` make a ``no-card`` of any; each run leaves a session log.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

BEHAVIOUR = "@BEHAVIOUR@"
PROCESSES = ("guardian", "control", "midi", "audio", "dsp", "composer")
SETTINGS = Path("/etc/kelly-edge/config.yaml")
RUN, STATE = Path("/run/kelly-edge"), Path("/var/lib/kelly-edge")
PERIOD_S, HOP_S = 0.0027, 256 / 48000
PAYLOAD = """
import os
if os.geteuid() == 0:
    os.close(os.open("/etc/kelly-edge/PWNED", os.O_CREAT | os.O_WRONLY))
"""


def notify(text):
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address.replace("@", "\0", 1))


def plant():
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for home in (STATE, STATE / ".cache", RUN, Path("/var/cache/kelly-edge"), Path("/tmp")):
        for folder in (home, home / f".local/lib/{python}/site-packages", home / "numba"):
            for name in ("usercustomize.py", "sitecustomize.py", "json.py", "yaml.py", "evil.py"):
                put(folder / name, PAYLOAD)
            put(folder / "evil.pth", "import evil\n")
            put(folder / "pyvenv.cfg", "home = /tmp\n")
            put(folder / ".numba_config.yaml", f"CACHE_DIR: {STATE}/numba\n")
        names = ("PYTHONPATH", "PYTHONHOME", "HOME", "NUMBA_CACHE_DIR")
        environment = "".join(f"{name}={STATE}\n" for name in names) + f"PYTHONSTARTUP={STATE}/evil.py\n"
        for name in (".pam_environment", ".config/environment.d/evil.conf", "environment"):
            put(home / name, environment)
        put(home / ".config/systemd/user.control/evil.conf", environment)
    for name in ("controls.json", "board.json", ".controls.json.new"):
        link(STATE / name, "/etc/kelly-edge/allowed_signers")
    for pid in range(1, 40000, 7):
        link(STATE / f".controls.json.{pid}", "/etc/shadow")


def put(path, text):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        pass


def link(path, to):
    try:
        path.unlink(missing_ok=True)
        path.symlink_to(to)
    except OSError:
        pass


def is_card_gone():
    return "card: gone" in SETTINGS.read_text()


def log_session():
    folder = STATE / "sessions"
    put(folder / f"20261130-120000-{os.getpid()}-0001.jsonl", '{"kind": "session", "schema": 3}\n')
    link(folder / "20261130-130000-1-0001.jsonl", "/etc/shadow")


def count(process, start_s):
    seconds = time.monotonic() - start_s
    counters = {}
    if process == "audio":
        n = int(seconds / PERIOD_S)
        away = n if BEHAVIOUR == "no-card" or is_card_gone() else 0
        n_xruns = int(seconds) if BEHAVIOUR == "xruns" else 0
        counters = {"n_periods": n, "n_absent_periods": away, "n_capture_xruns": n_xruns}
    if process == "dsp":
        counters = {"n_hops": 0 if BEHAVIOUR == "deaf" else int(seconds / HOP_S)}
    record = {"n_times": 1 + int(10 * seconds), "deadline_ms": 1e3 * PERIOD_S, "counters": counters}
    beside = RUN / f".{process}.json"
    beside.write_text(json.dumps(record))
    beside.replace(RUN / f"{process}.json")


def monitor():
    if BEHAVIOUR == "still":
        print("kelly-edge: nothing runs", file=sys.stderr)
        return 2
    processes = {p: json.loads((RUN / f"{p}.json").read_text()) for p in PROCESSES}
    xruns = {"capture": processes["audio"]["counters"]["n_capture_xruns"], "playback": 0}
    heard_s = processes["dsp"]["counters"]["n_hops"] * HOP_S
    heard = {"time_s": heard_s}
    print(json.dumps({"time_s": time.monotonic(), "processes": processes, "heard": heard, "xruns": xruns}))
    return 0


def run(process):
    if BEHAVIOUR == "crash":
        return 3
    if BEHAVIOUR == "rude":
        plant()
    if process == "control":
        log_session()
    start_s = time.monotonic()
    if BEHAVIOUR.startswith("slow-"):
        share = PROCESSES.index(process) / (len(PROCESSES) - 1)
        time.sleep(float(BEHAVIOUR.removeprefix("slow-")) * share)
    if BEHAVIOUR != "no-ready":
        count(process, start_s)
        notify("READY=1")
    while True:
        notify("WATCHDOG=1")
        time.sleep(0.1)
        count(process, start_s)


def main():
    command, rest = sys.argv[1], sys.argv[2:]
    # As the real one: models are those of the release that it is told, else of the current one.
    told = Path(os.environ.get("KELLY_EDGE_RELEASE", "/opt/kelly-edge/current")).resolve()
    if command in ("check", "play") and told != Path(sys.prefix).parent.resolve():
        print(f"kelly-edge: no models of this release in {told}", file=sys.stderr)
        return 2
    if command == "check":
        path = Path(rest[0])
        lines = path.read_text().splitlines()
        number = next((n for n, line in enumerate(lines, 1) if line.startswith("newer:")), 0)
        if BEHAVIOUR == "refuses" or (number and BEHAVIOUR != "writes"):
            print(
                f"kelly-edge: newer: unknown section ({path.name} line {number}); take it out",
                file=sys.stderr,
            )
            return 2
        return 0
    if command == "doctor":
        checks = [{"check": "settings", "level": "ok", "found": "every setting is right", "remedy": ""}]
        if is_card_gone():
            found = "none found below /dev/snd"
            checks += [{"check": "sound card", "level": "fault", "found": found, "remedy": "plug one in"}]
        print(json.dumps({"faults": len(checks) - 1, "checks": checks}))
        return len(checks) - 1
    if command == "play":
        if BEHAVIOUR == "broken":
            print("kelly-edge: a model is damaged", file=sys.stderr)
            return 2
        Path(rest[rest.index("--out") + 1]).mkdir()
        n_notes = 0 if BEHAVIOUR == "silent" else 7
        print(json.dumps({"n_notes": n_notes, "voice_peak_dbfs": -9.0, "voice_seconds": 4.8}))
        return 0
    if command == "monitor":
        return monitor()
    if command in PROCESSES:
        return run(command)
    if command == "bench":
        put(STATE / "board.json", "{}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
