"""Configurations from anyone: they write where the command says, and damaged ones are one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.schema import ConfigError
from hydra_plugins.harness_yaml import read_mapping
from tests.conftest import TOY_YAML, Outcome, tree
from tests.helpers import refused

Harness = Callable[..., Outcome]
EVIL = ["--config-dir", "conf", "experiment=evil"]
NAMED = f"{TOY_YAML}name: evil\n"
HEADER = "# @package _global_\n"
TEN = ", ".join(["{}"] * 10)


def chain(reference: str, anchor: str = "") -> str:
    """Six lists, each of ten references to the one before."""
    lines = [f"z0: {anchor.format('z0')} [{TEN.replace('{}', 'x')}]"]
    for i in range(1, 7):
        many = TEN.replace("{}", reference.format(f"z{i - 1}"))
        lines.append(f"z{i}: {anchor.format(f'z{i}')} [{many}]")
    return "\n".join(lines)


REFERENCES = chain("'${{{}}}'")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write the file of the experiment `evil` in the folder `conf`."""

    def written(text: str | bytes) -> Path:
        path = tmp_path / "conf" / "experiment" / "evil.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


# --- Where results go -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{NAMED}results: elsewhere", "results=elsewhere: must be given as results=FOLDER in"),
        (f"{NAMED}place: elsewhere\nresults: '${{place}}'", "results=elsewhere: must be given as"),
        (f"{TOY_YAML}name: docs", "name=docs: must be evil, as the experiment's file is called"),
        (f"{TOY_YAML}name: '${{method}}'", "name=plain: must be evil"),
        (TOY_YAML, "name=toy: must be evil, .* or be given as name=NAME in the command"),
    ],
)
def test_a_file_does_not_choose_where_results_go(harness, tmp_path, write, mode, text, says):
    write(text)
    before = tree(tmp_path)
    assert re.match(f"error: {says}", harness(*mode, *EVIL).refusal)
    assert tree(tmp_path) == before


def test_a_file_has_results_of_its_own_name_or_where_the_command_says(harness, tmp_path, write):
    write(NAMED)
    assert harness("-m", *EVIL, "hydra/launcher=basic").code == 0
    assert (tmp_path / "results" / "evil" / "figure.png").exists()
    write(f"{TOY_YAML}name: docs\nresults: elsewhere")
    assert harness("-m", *EVIL, "hydra/launcher=basic", "name=mine", "results=r").code == 0
    assert (tmp_path / "r" / "mine" / "figure.png").exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:HOME}",
        "a${oc.env:HOME}",
        "${${method}.env:HOME}",
        "${oc.${method}:HOME}",
        "${hydra:job.name}",
        "${now:%Y}",
        "$\\{oc.env\\:HOME\\}",  # as Hydra reads it in a grid
        "${method}${method}",  # ten of these in turn would be a text of gigabytes
        "${${${${method}}}}",
    ],
)
@pytest.mark.parametrize("where", ["name: '{}'", "x: ['{}']", "x: {{'{}': 1}}"])
def test_a_file_refers_to_its_own_keys_alone(harness, write, where, value):
    write(f"{TOY_YAML}{where.format(value)}\n")
    line = harness(*EVIL).refusal
    assert "only one reference to a key is allowed in a file's value" in line
    assert re.search(r"evil\.yaml .*line \d+: ", line)


def test_references_to_keys_and_the_variables_of_one_s_own_command_are_fine(
    harness, tmp_path, write, monkeypatch
):
    monkeypatch.setenv("MINE", "mine")
    text = NAMED.replace("scale: 1.0", "scale: ${profiles.${profile}.scale}")
    write(text.replace("  quick:\n", "  quick:\n    scale: 2.0\n"))
    assert harness("-m", *EVIL, "hydra/launcher=basic", "name=${oc.env:MINE}").code == 0
    assert (tmp_path / "results" / "mine").is_dir()


# --- Damaged and hostile files --------------------------------------------------------------

UNFIT = {
    "itself": ("a: &a [*a]", r"line 2: \*a refers to itself"),
    "itself again": ("b: &a 1\na: &a [*a]", r"line 3: \*a refers to itself"),
    "nothing": ("a: *b", r"line 2: \*b refers to itself or to nothing"),
    "deep list": (f"a: {'[' * 200}{']' * 200}", "line 2: nested too deep; 32 levels are allowed"),
    "deep mapping": (f"a: {'{a: ' * 200}1{'}' * 200}", "line 2: nested too deep"),
    "deep aliases": (
        "a0: &a0 [1]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 300)),
        r"line \d+: nested too deep",
    ),
    "unclosed": ("a: " + "[" * 10**5, "line 2: nested too deep"),
    "many aliases": (chain("*{}", "&{}"), r"line \d: too many values; 100000 are allowed"),
    "binary": ("a: !!binary aGVsbG8=", "line 2: the tag .*binary is not allowed"),
    "set": ("a: !!set {x}", "line 2: the tag .*set is not allowed"),
    "pairs": ("a: !!pairs [x: 1]", "line 2: the tag .*pairs is not allowed"),
    "time": ("a: !!timestamp 2020-01-01", "line 2: the tag .*timestamp is not allowed"),
    "no number": ("a: !!int x", "line 2: the tag .*int is not allowed"),
    "no digits": ("a: 0b_", "invalid literal"),
    "digits": ("a: " + "9" * 5000, "digits"),
    "a list as key": ("? [a]\n: 1", "line 2: found unhashable key"),
    "null as key": ("null: 1", "key type"),
    "two documents": ("a: 1\n---\nb: 1", "line 3"),
    "a list": ("- 1", "must be a mapping"),
    "a number": ("3", "cannot be read"),
    "not text": (b"\xff\xfea", "must be text in UTF-8"),
    "a control character": ("a: \x00", "cannot be read"),
    "too long": (b"#" * (2**20 + 1), "1048577 bytes; at most 1048576 are read"),
    "header": ("# @package a b", "Too many components"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_unfit_file_is_one_line_with_its_name(harness, tmp_path, write, case):
    text, says = UNFIT[case]
    path = write(text if isinstance(text, bytes) else f"{HEADER}{text}")
    line = harness(*EVIL).refusal
    assert re.search(rf"evil\.yaml.*{says}", line), line
    assert len(line) < 1000
    assert not (tmp_path / "results").exists()
    if case != "header":
        with refused(says, ConfigError):  # as a claim's configuration is read
            read_mapping(path, trusted=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("defaults: [evil]", "is among its own defaults"),
        ("defaults: [/experiment/evil@x]", "is among its own defaults"),
        ("defaults: [3]", "cannot be composed: .*defaults"),
        ("defaults: 3", "cannot be composed: .*defaults"),
        ("defaults: [{a: 1, b: 2}]", "Too many keys"),
        ("defaults: [{a: {b: 1}}]", "Unsupported item value in defaults"),
        ("defaults: [../../outside]", "leads out of the folder"),
        (f"{NAMED}{REFERENCES}", "z.: holds more than 100000 values or 32 levels"),
        (f"{NAMED}hydra: {{sweeper: {{params: '${{z6}}'}}}}\n{REFERENCES}", "more than 100000"),
        (f"{NAMED}a: ${{b}}\nb: ${{a}}", "(?i)recursive"),
        (f"{NAMED}a: {{b: '${{a}}'}}", "parent node|or refers to itself"),
        (f"{NAMED}a: {{b: ['${{c}}']}}\nc: {{d: '${{a}}'}}", "or refers to itself"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-m",)], ids=["run", "sweep"])
def test_a_file_that_leads_to_itself_or_out_is_one_line(
    harness, tmp_path, write, options, text, says
):
    (tmp_path / "outside.yaml").write_text("a: 1")
    write(text)
    assert re.search(says, harness(*EVIL, *options).refusal)


def test_hydra_s_list_of_defaults_tells_it_as_well(harness, write):
    write("defaults: [evil]")
    assert "is among its own defaults" in harness(*EVIL, "--info", "defaults").err


def test_a_byte_order_mark_is_no_part_of_the_text(harness, write, tmp_path):
    write(b"\xef\xbb\xbf" + NAMED.encode())
    assert harness(*EVIL).code == 0
    path = tmp_path / "claim.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TOY_YAML.encode())
    assert read_mapping(path, trusted=True)[1].experiment == "toy"
