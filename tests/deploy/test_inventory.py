"""The inventory: every host is reached as it is written, and a file that is wrong is one clear line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import DeployError
from deploy.inventory import HIGHEST_PORT, find_hosts, read_inventory


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def fault(tmp_path: Path, text: str, *words: str) -> str:
    """The one line that is said."""
    with pytest.raises(DeployError) as caught:
        find_hosts(words or ["a"], written(tmp_path, text))
    line = str(caught.value)
    assert line.isprintable()
    return line


@pytest.mark.parametrize("port", [1, 18, 22, 1342, 2222, HIGHEST_PORT])
@pytest.mark.parametrize("form", ["{}", "0{}", "'{}'"])
def test_a_port_is_the_number_written(tmp_path: Path, port: int, form: str) -> None:
    text = f"hosts: {{a: {{address: x, port: {form.format(port)}}}}}"
    (host,) = find_hosts(["a"], written(tmp_path, text))
    assert host.port == port


@pytest.mark.parametrize(
    "port", ["0", "65536", "99999", "22:22", "-1", "0x16", "2_2", "22.0", "no", "''", "~"]
)
def test_what_is_no_port_is_refused(tmp_path: Path, port: str) -> None:
    line = fault(tmp_path, f"hosts:\n  a: {{address: x, port: {port}}}\n")
    assert line.startswith("a: port is ")
    assert "hosts.yaml line 2" in line


@pytest.mark.parametrize("port", ["0", "65536", "99999", "22:22", "", "ssh"])
def test_nor_is_it_on_the_command_line(tmp_path: Path, port: str) -> None:
    assert "1..65535" in fault(tmp_path, "", f"pi@10.0.0.9:{port}")


ODD_NAMES = ["no", "yes", "on", "off", "y", "n", "010", "0o10", "1e3", "22:22", "null", "~", "1.0", ".inf"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_the_text_written(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, f"hosts: {{{name}: {{address: {name}.local}}}}\ngroups: {{{name}: [{name}]}}")
    if name in ("null", "~"):  # Nothing is a key's text as well, but no member of a list.
        path = written(
            tmp_path, f"hosts: {{{name}: {{address: {name}.local}}}}\ngroups: {{{name}: ['{name}']}}"
        )
    for word in (name, f"@{name}"):
        (host,) = find_hosts([word], path)
        assert (host.name, host.address) == (name, f"{name}.local")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_any_printable_name_is_found_or_refused_and_never_another(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    import json

    path = tmp_path_factory.mktemp("hosts") / "hosts.yaml"
    path.write_text(f"hosts: {{? {json.dumps(name)} : {{address: 10.0.0.7}}}}", encoding="utf-8")
    try:
        hosts, _ = read_inventory(path)
    except DeployError as error:
        assert str(error).isprintable()
    else:
        assert list(hosts) == [name]


def test_a_host_written_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    line = fault(tmp_path, "hosts:\n  a: {address: x}\n  a: {address: y}\n")
    assert line.startswith("a is there twice (hosts.yaml line 3), first in hosts.yaml line 2")


@pytest.mark.parametrize(
    "text",
    [
        "hosts: {a: {address: x, address: y}}",
        "hosts: {a: {address: x}}\nhosts: {a: {address: y}}",
        "hosts: {a: {address: x}}\ngroups: {g: [a], g: []}",
    ],
)
def test_so_is_anything_else_written_twice(tmp_path: Path, text: str) -> None:
    assert "is there twice" in fault(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a", "not sections"),
        ("a", "not sections"),
        ("hosts: [a]", "hosts are not given by name"),
        ("hosts: a", "hosts are not given by name"),
        ("hosts: {a: [x]}", "a has no address"),
        ("hosts: {a: x}", "a has no address"),
        ("hosts: {a: }", "a has no address"),
        ("hosts: {a: {address: }}", "address is nothing"),
        ("hosts: {a: {address: [x]}}", "address is a list"),
        ("hosts: {a: {address: {x: y}}}", "address is a section"),
        ("hosts: {a: {address: -oProxyCommand=x}}", "address is -oProxy"),
        ("hosts: {a: {address: x, user: a b}}", "user is a b"),
        ("hosts: {a: {address: x}}\ngroups: [a]", "groups are not given by name"),
        ("hosts: {a: {address: x}}\ngroups: {g: a}", "group g is not a list"),
        ("hosts: {a: {address: x}}\ngroups: {g: [[a]]}", "group g is not a list"),
        ("hosts: {a: {address: x}}\ngroups: {g: {a: x}}", "group g is not a list"),
        ('hosts: {"a\\nb": {address: x}}', "cannot name one of hosts"),
        ("host: {a: {address: x}}", "did you mean hosts"),
        ("hosts: {a: &x {address: x}, b: *x}", "alias"),
        ("hosts: {a: !x y}", "tag"),
        ("hosts: {a: {address: x\n", "not YAML"),
        ("hosts: " + "[" * 5_000, "YAML|deep"),
    ],
)
def test_what_is_no_inventory_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    import re

    assert re.search(why, fault(tmp_path, text))


def test_an_empty_group_is_said_when_it_is_named(tmp_path: Path) -> None:
    for members in ("", "[]"):
        text = f"hosts: {{a: {{address: x}}}}\ngroups: {{g: {members}}}"
        assert "empty group" in fault(tmp_path, text, "@g")
        assert [host.name for host in find_hosts(["a"], tmp_path / "hosts.yaml")] == ["a"]


def test_an_inventory_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    default = Path("hosts.yaml")
    for word in ("ward-1", "@ward"):
        with pytest.raises(DeployError, match=r"hosts\.yaml.* not here"):
            find_hosts([word], default)
    assert find_hosts(["pi@10.0.0.9"], default)[0].address == "10.0.0.9"
    with pytest.raises(DeployError, match=r"cannot read hosts: No such file"):
        find_hosts(["pi@10.0.0.9"], tmp_path / "other.yaml")
    with pytest.raises(DeployError, match="cannot read hosts: Is a directory"):
        find_hosts(["a"], tmp_path)
