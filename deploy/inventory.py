"""Which boxes there are: ``USER@ADDRESS:PORT`` on the command line, or names and groups in a YAML file.

    hosts:
      ward-1: {address: 192.168.1.20, user: pi}
      ward-2: {address: ward-2.local, user: pi, port: 2222, key: ~/.ssh/ward, settings: ward-2.yaml}
    groups:
      ward: [ward-1, ward-2]
    settings:
      ward: ward.yaml

``settings`` are files like ``config.yaml``, beside the inventory: a host's own, else its group's.

Keys only: there is no place for a password. Every name, key and value is the text that is written:
``no``, ``010`` and ``on`` are names like any other.
"""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from deploy.errors import DeployError
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed
from kelly_edge.shared.yaml_file import YamlFault, read_entries

DEFAULT_FILE: Final = Path("hosts.yaml")
SECTIONS: Final = ("hosts", "groups", "settings")
HIGHEST_PORT: Final = 65_535
"""TCP: ports have 16 bits."""
_PORT: Final = re.compile(r"[0-9]{1,20}")
_ADDRESS: Final = re.compile(
    r"(?:(?P<user>[a-z_][a-z0-9_-]*)@)?(?P<address>[A-Za-z0-9][A-Za-z0-9.-]*)(?::(?P<port>.*))?"
)


@dataclass(frozen=True)
class Host:
    """A box and how to reach it; ``key`` and ``known_hosts`` empty: ssh's own.

    ``settings``: the path of its settings file; empty where the inventory gives none.

    ``is_strict``: a box whose key is not in ``known_hosts`` yet is refused; else its first contact is said.
    """

    name: str
    address: str
    user: str = "root"
    port: int = 22
    key: str = ""
    known_hosts: str = ""
    settings: str = ""
    is_strict: bool = False


KEYS: Final = tuple(f.name for f in fields(Host) if f.name not in ("name", "is_strict"))
"""What may be said of a host."""


def read_inventory(path: Path) -> tuple[dict[str, Host], dict[str, list[str]]]:
    """Hosts by name and groups by name; both empty where there is no default file.

    Raises
    ------
    DeployError: the file is not an inventory, or is named and is not there.
    """
    if path == DEFAULT_FILE and not path.exists():
        return {}, {}
    try:
        sections = _once(read_entries(path, "hosts", as_text=True))
    except YamlFault as error:
        raise DeployError(str(error)) from None
    for name, section in sections.items():
        if name not in SECTIONS:
            hint = _hint(name, SECTIONS)
            raise DeployError(
                f"{printed(name)} is neither hosts, groups nor settings ({section.place}){hint}"
            )
    hosts = {name: _host(entry) for name, entry in _named(sections, "hosts", "NAME: {address: …}").items()}
    groups = {
        name: _members(entry, hosts) for name, entry in _named(sections, "groups", "NAME: [HOST, …]").items()
    }
    files = {
        name: _file_of(entry, groups)
        for name, entry in _named(sections, "settings", "GROUP: FILE.yaml").items()
    }
    return {name: _with_settings(host, groups, files, path.parent) for name, host in hosts.items()}, groups


def _file_of(entry: Entry, groups: Collection[str]) -> str:
    """The settings file of a group."""
    if entry.key not in groups:
        hint = _hint(entry.key, groups)
        raise DeployError(f"settings of {printed(entry.key)}, which is no group ({entry.place}){hint}")
    if not isinstance(entry.value, str) or not entry.value.strip() or not entry.value.isprintable():
        raise DeployError(
            f"settings of {printed(entry.key)} are {_shown(entry.value)} ({entry.place}); name a file"
        )
    return entry.value


def _with_settings(
    host: Host, groups: Mapping[str, Collection[str]], files: Mapping[str, str], folder: Path
) -> Host:
    """``host`` with its own settings file, else its group's; relative ones lie in ``folder``."""
    found = {name: file for name, file in files.items() if host.name in groups[name]}
    if not host.settings and len(set(found.values())) > 1:
        raise DeployError(
            f"{printed(host.name)} gets settings from {printed(' and '.join(found))}; give it its own"
        )
    file = host.settings or next(iter(found.values()), "")
    try:
        return replace(host, settings=str(folder / Path(file).expanduser()) if file else "")
    except RuntimeError:
        raise DeployError(f"{printed(file)} has no home folder; write the path of the settings out") from None


def _named(sections: dict[str, Entry], section: str, shape: str) -> dict[str, Entry]:
    """The entries of a section by name."""
    entry = sections.get(section)
    if entry is None or entry.value is None:
        return {}
    if not isinstance(entry.value, tuple):
        raise DeployError(f"{section} are not given by name ({entry.place}); write {shape}")
    found = _once(entry.value)
    for name, member in found.items():
        if not name.strip() or not name.isprintable() or name.startswith("@"):
            raise DeployError(
                f"{printed(repr(name))} cannot name one of {section} ({member.place}); rename it"
            )
    return found


def _once(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Entries by key, none of them written twice."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.key in found:
            raise DeployError(
                f"{printed(entry.key)} is there twice ({entry.place}), first in {found[entry.key].place}; "
                "take one out"
            )
        found[entry.key] = entry
    return found


def _members(entry: Entry, hosts: dict[str, Host]) -> list[str]:
    members = [] if entry.value is None else entry.value
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise DeployError(
            f"group {entry.key} is not a list of hosts ({entry.place}); write {entry.key}: [HOST, …]"
        )
    if unknown := [member for member in members if member not in hosts]:
        raise DeployError(
            f"group {entry.key} names {printed(unknown[0])}, which is no host ({entry.place}); "
            "add it or take it out"
        )
    return members


def _host(entry: Entry) -> Host:
    name, values = entry.key, entry.value
    given = _once(values) if isinstance(values, tuple) else {}
    for key, value in given.items():
        if key not in KEYS:
            hint = _hint(key, KEYS) or f"; known are {', '.join(KEYS)}"
            raise DeployError(f"{name}: {printed(key)} is unknown ({value.place}){hint}")
        if not isinstance(value.value, str) or not value.value.strip() or not value.value.isprintable():
            raise DeployError(f"{name}: {key} is {_shown(value.value)} ({value.place}); correct it")
    texts = {key: str(value.value) for key, value in given.items()}
    if "address" not in texts:
        raise DeployError(f"{name} has no address ({entry.place}); write {name}: {{address: …, user: …}}")
    port = _port(texts.pop("port", "22"), f"{name}: port", f" ({entry.place})")
    for key in ("address", "user"):
        # A leading hyphen would be an option of ssh.
        if (text := texts.get(key, "x")).startswith("-") or any(character.isspace() for character in text):
            raise DeployError(f"{name}: {key} is {printed(text)} ({given[key].place}); correct it")
    return Host(
        name,
        texts["address"],
        texts.get("user", Host.user),
        port,
        texts.get("key", ""),
        texts.get("known_hosts", ""),
        texts.get("settings", ""),
    )


def _port(text: str, what: str, place: str = "") -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= HIGHEST_PORT:
        raise DeployError(
            f"{what} is {printed(text)}{place}, which is not within 1..{HIGHEST_PORT}; correct it"
        )
    return int(text)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return printed(repr(value))
    return "nothing" if value is None else "a list" if isinstance(value, list) else "a section"


def find_hosts(words: Sequence[str], inventory: Path, is_strict: bool = False) -> list[Host]:
    """The hosts that ``words`` name, each once, in order: a name, ``@group`` or an address.

    Raises
    ------
    DeployError: a word names nothing.
    """
    hosts, groups = read_inventory(inventory)
    file = printed(str(inventory), 300)
    has_file = inventory != DEFAULT_FILE or inventory.exists()
    found: dict[str, Host] = {}
    for word in words:
        if word.startswith("@"):
            if not has_file:
                raise DeployError(
                    f"{printed(word)} needs {file}, which is not here; write it or give --hosts"
                )
            if word[1:] not in groups:
                raise DeployError(f"{printed(word)} is no group of {file}{_hint(word[1:], groups)}")
            if not groups[word[1:]]:
                raise DeployError(f"{printed(word)} of {file} is an empty group; add a host to it")
            found |= {name: hosts[name] for name in groups[word[1:]]}
        elif word in hosts:
            found[word] = hosts[word]
        elif (match := _ADDRESS.fullmatch(word)) and re.search("[.@:]", word):
            port = 22 if match["port"] is None else _port(match["port"], f"the port of {printed(word)}")
            found[word] = Host(word, match["address"], match["user"] or "root", port)
        elif has_file:
            raise DeployError(f"{printed(word)} is no host of {file} and no address{_hint(word, hosts)}")
        else:
            raise DeployError(
                f"{printed(word)} is no address, and {file} is not here; "
                "write it, give --hosts, or USER@ADDRESS"
            )
    return [replace(host, is_strict=is_strict) for host in found.values()]


def _hint(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
