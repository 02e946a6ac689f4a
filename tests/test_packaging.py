"""The house rules that a reader relies on, counted; and that what is built is what is installed."""

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bids_lfenhance

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bids_lfenhance"
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FILE, LONGEST_FUNCTION, LONGEST_BUILDER = 400, 50, 100

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_stays_light() -> None:
    heavy = ["torch", "nipype", "SimpleITK", "nilearn", "pandas", "matplotlib", "skimage", "bids"]
    code = f"import sys, bids_lfenhance, bids_lfenhance.cli.run; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_version_is_the_one_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bids_lfenhance", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["bids_lfenhance", bids_lfenhance.__version__]


def test_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.is_file():
        pytest.skip("needs import-linter, which the extra [test] installs")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for function in functions(path):
        builder = re.fullmatch(r"init_\w+_wf", function.name)
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= (LONGEST_BUILDER if builder else LONGEST_FUNCTION), f"{function.name} has {length} lines"


def test_the_table_of_folders_is_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Folders")[2].partition("\n## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    there = {f"{path.name}/" if path.is_dir() else path.name for path in PACKAGE.iterdir() if path.name[0] not in "_."}
    assert told == there


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    relative = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in relative if not (path.parent / target).exists()] == []


def test_the_tables_of_the_pages_are_those_of_the_measurements() -> None:
    from benchmarks.results import PAGES, filled

    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "<!-- table: " in text
        assert filled(text) == text


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=name_of)
def test_options_in_the_documentation_exist(path: Path) -> None:
    from bids_lfenhance.cli import enhance
    from bids_lfenhance.cli.parser import build_parser
    from bids_lfenhance.config import LEVELS

    if not path.is_file():
        pytest.skip(f"{path.name} is not written yet")
    parsers = [*map(build_parser, LEVELS), enhance.build_parser()]
    actions = [action for parser in parsers for action in parser._actions]
    known = {option for action in actions for option in action.option_strings}
    named = set()
    for command in re.findall(
        r"^.*bids_lfenhance .*$|`--[a-z].*?`", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    ):
        named |= set(re.findall(r"(?<![\w-])--[a-z][\w-]*", command))
    assert named - known == set()


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=name_of)
def test_settings_in_the_documentation_exist(path: Path) -> None:
    from bids_lfenhance.cli.parts import parts_of
    from bids_lfenhance.config import LEVELS

    known = {key for level in LEVELS for part in parts_of(level) for key in part.fields}
    words = re.findall(r"--set ((?:[\w.-]+=[^\s`]+ ?)+)", path.read_text(encoding="utf-8"))
    keys = {word.partition("=")[0].removeprefix("simulator.") for found in words for word in found.split()}
    assert keys - {"KEY"} - known == set()


def test_wheel_holds_every_module_and_every_data_file(tmp_path: Path) -> None:
    """Built from a copy, without the network: what git tracks under the package is what a user gets."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not tracked:
        pytest.skip("needs a git checkout")
    source = tmp_path / "source"
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", command, str(tmp_path)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    expected = {name for name in tracked.split("\0") if name.startswith("bids_lfenhance/") and (ROOT / name).is_file()}
    assert expected - packed == set()
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in packed)


def test_every_requirement_is_imported() -> None:
    modules = {"pybids": "bids", "scikit-image": "skimage"}
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"].split("\n")
    source = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    names = [re.split(r"[ <>=]", line)[0] for line in lines if line]
    unused = [n for n in names if not re.search(rf"(import|from) {modules.get(n, n)}\b", source)]
    assert names
    assert unused == []


def test_constraints_pin_every_requirement_and_are_what_is_asked_for() -> None:
    from importlib.metadata import requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    asked = [Requirement(text) for text in requires("bids_lfenhance") or []]
    extras = ({"extra": "test"}, {"extra": "docs"})
    asked = [r for r in asked if r.marker is None or any(map(r.marker.evaluate, extras))]
    for requirement in asked:
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"constraints.txt has {requirement.name} {version}"
