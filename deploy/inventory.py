"""Which boxes there are: ``USER@ADDRESS:PORT`` on the command line, or names and groups in a YAML file.

    hosts:
      ward-1: {address: 192.168.1.20, user: pi}
      ward-2: {address: ward-2.local, user: pi, port: 2222, key: ~/.ssh/ward}
    groups:
      ward: [ward-1, ward-2]

Keys only: there is no place for a password.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.errors import DeployError

DEFAULT_FILE: Final = Path("hosts.yaml")
_ADDRESS: Final = re.compile(
    r"(?:(?P<user>[a-z_][a-z0-9_-]*)@)?(?P<address>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Host:
    """A box and how to reach it; ``key`` and ``known_hosts`` empty: ssh's own."""

    name: str
    address: str
    user: str = "root"
    port: int = 22
    key: str = ""
    known_hosts: str = ""


def read_inventory(path: Path) -> tuple[dict[str, Host], dict[str, list[str]]]:
    """Hosts by name and groups by name; both empty where there is no file.

    Raises
    ------
    DeployError: the file is not an inventory.
    """
    if not path.is_file():
        return {}, {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DeployError(f"cannot read {path} ({type(error).__name__}); correct it") from None
    if not isinstance(content, dict) or set(content) - {"hosts", "groups"}:
        raise DeployError(f"{path} holds more or less than hosts and groups; correct it")
    hosts = {str(name): _host(str(name), entry, path) for name, entry in (content.get("hosts") or {}).items()}
    groups = {str(name): [str(m) for m in members] for name, members in (content.get("groups") or {}).items()}
    for group, members in groups.items():
        if unknown := [m for m in members if m not in hosts]:
            raise DeployError(
                f"{path}: group {group} names {unknown[0]}, which is no host; add it or take it out"
            )
    return hosts, groups


def _host(name: str, entry: Any, path: Path) -> Host:
    kinds = {f.name: f.type for f in fields(Host) if f.name != "name"}
    if not isinstance(entry, dict) or "address" not in entry:
        raise DeployError(f"{path}: {name} has no address; write {name}: {{address: …, user: …}}")
    for key, value in entry.items():
        if key not in kinds:
            raise DeployError(f"{path}: {name}: {key} is unknown; known are {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise DeployError(f"{path}: {name}: {key} is {value!r}; correct it")
    return Host(name, **entry)


def find_hosts(words: Sequence[str], inventory: Path) -> list[Host]:
    """The hosts that ``words`` name, each once, in order: a name, ``@group`` or an address.

    Raises
    ------
    DeployError: a word names nothing.
    """
    hosts, groups = read_inventory(inventory)
    found: dict[str, Host] = {}
    for word in words:
        if word.startswith("@"):
            if word[1:] not in groups:
                raise DeployError(f"{word} is no group of {inventory}{_hint(word[1:], groups)}")
            found |= {name: hosts[name] for name in groups[word[1:]]}
        elif word in hosts:
            found[word] = hosts[word]
        elif (match := _ADDRESS.fullmatch(word)) and ("." in word or "@" in word or ":" in word or not hosts):
            port = int(match["port"] or 22)
            found[word] = Host(word, match["address"], match["user"] or "root", port)
        else:
            raise DeployError(f"{word} is no host of {inventory} and no address{_hint(word, hosts)}")
    return list(found.values())


def _hint(word: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
