"""The command line: defaults < settings file < argv, spellings of other BIDS Apps, no option without effect."""

import dataclasses
import typing
from pathlib import Path

import pytest

from bids_lfenhance.cli.parser import build_parser, parse
from bids_lfenhance.config import Settings, to_toml
from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import METHODS, get_method


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    (tmp_path / "raw").mkdir()
    return [str(tmp_path / "raw"), str(tmp_path / "out"), "participant"]


@pytest.mark.parametrize("flag", ["--participant-label", "--participant_label"])
def test_participants_in_either_spelling(folders, flag):
    assert parse([*folders, flag, "01", "sub-02"]).participant_label == ("01", "sub-02")


def test_words_may_come_one_option_at_a_time(folders):
    assert parse([*folders, "--session-label", "A", "--session-id", "B"]).session_label == ("A", "B")


def test_defaults_are_those_of_the_settings(folders):
    parsed = parse(folders)
    for item in dataclasses.fields(Settings):
        if "group" in item.metadata:
            assert getattr(parsed, item.name) == item.default, item.name


def test_the_command_line_beats_the_file(folders, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[run]\nrandom_seed = 3\nmem_gb = 4\nparticipant_label = ["01"]\n[interp]\nfusion = "sr"\n')
    parsed = parse([*folders, "--config-file", str(path), "--random-seed", "5", "--method", "interp"])
    assert (parsed.random_seed, parsed.mem_gb, parsed.participant_label) == (5, 4.0, ("01",))
    assert parsed.method_options == {"fusion": "sr"}


def test_the_file_a_run_leaves_gives_the_same_run(folders, tmp_path):
    first = parse([*folders, "--method", "interp", "--interp-fusion", "sr", "--nprocs", "2", "--sloppy"])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(first, first.method_options))
    assert parse([*folders, "--config-file", str(path)]) == first


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "interp", "--inr-width", "8"],
        ["--config-file", "/no/such.toml"],
        ["--nprocs", "0"],
    ],
)
def test_what_has_no_effect_is_refused(folders, words):
    with pytest.raises(InputError, match=r"^Expected"):
        parse([*folders, *words])


@pytest.mark.parametrize("words", [["--method", "magic"], ["--random-seed", "x"], ["--colour"]])
def test_usage_errors_exit_with_2(folders, words):
    with pytest.raises(SystemExit) as error:
        parse([*folders, *words])
    assert error.value.code == 2


def test_a_wrong_type_in_the_file_is_one_sentence(folders, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[run]\nsloppy = "yes"\n')
    with pytest.raises(InputError, match="sloppy"):
        parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_every_method_is_an_option(name):
    text = build_parser().format_help()
    for item in dataclasses.fields(get_method(name).settings):
        if item.name == "device":
            assert f"--{name}-device" not in text, "one --device for the whole run"
            continue
        assert f"--{name}-{item.name.replace('_', '-')}" in text
        assert item.metadata["help"]


def test_every_setting_is_documented_and_an_option():
    text = build_parser().format_help()
    for item in dataclasses.fields(Settings):
        if "group" in item.metadata:
            assert f"--{item.name.replace('_', '-')}" in text
            assert item.metadata["help"]
    assert typing.get_type_hints(Settings)


def test_sloppy_takes_the_sloppy_budget(folders):
    assert parse([*folders, "--sloppy"]).budget == "sloppy"
