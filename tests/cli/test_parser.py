"""The command line: defaults < settings file < argv, spellings of other BIDS Apps, no option without effect."""

import dataclasses
import typing
from pathlib import Path

import pytest

from bids_lfenhance.cli.parser import build_parser, level_of, parse
from bids_lfenhance.cli.parts import Part, options_of_parts, parts_of
from bids_lfenhance.cli.run import main
from bids_lfenhance.config import SETTINGS, Common, Settings, SimulateSettings, TrainSettings, to_toml
from bids_lfenhance.errors import InputError

from ..refusals import refused


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
    with refused("bad-setting", key="sloppy"):
        parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize("level", SETTINGS)
def test_every_setting_of_every_part_is_an_option(level):
    text = build_parser(level).format_help()
    for part in parts_of(level):
        assert f"--{part.name}-device" not in text, "one --device for the whole run"
        for name, item in part.fields.items():
            assert f"--{part.name}-{name.replace('_', '-')}" in text
            assert item.metadata["help"]


@pytest.mark.parametrize("level", SETTINGS)
def test_every_setting_is_documented_and_an_option(level):
    text = build_parser(level).format_help()
    for item in dataclasses.fields(SETTINGS[level]):
        if "group" in item.metadata:
            assert f"--{item.name.replace('_', '-')}" in text
            assert item.metadata["help"]
    assert typing.get_type_hints(SETTINGS[level])


@pytest.mark.parametrize("level", SETTINGS)
def test_a_level_shows_its_own_options_only(level):
    text = build_parser(level).format_help()
    own = {item.name for item in dataclasses.fields(SETTINGS[level])}
    others = {item.name for kind in SETTINGS.values() for item in dataclasses.fields(kind)} - own
    for name in others - {"method_options", "simulator_options"}:
        assert f"--{name.replace('_', '-')} " not in text, name


def test_the_groups_of_all_levels_are_alike():
    groups = {level: [group.title for group in build_parser(level)._action_groups[2:]] for level in SETTINGS}
    for level, titles in groups.items():
        assert titles[0] == "Which scans", level
        first = titles.index("Resources")
        assert first <= 2, level
        assert titles[first : first + 2] == ["Resources", "Run"], level


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("raw out participant --output-label simulate", "participant"),
        ("participant out participant", "participant"),
        ("--nprocs 2 raw out participant", "participant"),
        ("--help", "participant"),
        ("raw out nonsense", "participant"),
        ("raw out simulate --simulator iqt", "simulate"),
        ("simulate --help", "simulate"),
        ("train out participant", "participant"),
    ],
)
def test_the_level_is_the_third_word(words, level):
    assert level_of(words.split()) == level


def test_the_level_decides_the_class_and_the_options(folders):
    parsed = parse([*folders[:2], "simulate", "--simulator", "iqt", "--iqt-motion-mm", "1", "--contrasts", "T1w"])
    assert isinstance(parsed, SimulateSettings)
    assert (parsed.simulator, parsed.simulator_options, parsed.contrasts) == ("iqt", {"motion_mm": 1.0}, ("T1w",))
    with pytest.raises(SystemExit):
        parse([*folders, "--simulator", "iqt"])
    with refused("no-effect", key="bias"):
        parse([*folders[:2], "simulate", "--simulator", "iqt", "--physics-bias", "1"])


@pytest.mark.parametrize("words", [["--folds", "3", "--fold", "3"], ["--fold", "1"], ["--split", "/no/such.json"]])
def test_a_training_that_cannot_be_is_one_sentence(folders, words):
    with pytest.raises(InputError, match=r"^Expected .*, found .*\.$"):
        parse([*folders[:2], "train", *words])


@dataclasses.dataclass(frozen=True)
class MethodTraining:
    width: int = dataclasses.field(default=8, metadata={"help": "features"})


@dataclasses.dataclass(frozen=True)
class MethodOptions(MethodTraining):
    weights: str = dataclasses.field(default="auto", metadata={"help": "trained weights"})
    device: str = dataclasses.field(default="cpu", metadata={"help": "where"})


@dataclasses.dataclass(frozen=True)
class SimulatorOptions:
    weights: str = dataclasses.field(default="auto", metadata={"help": "trained weights"})


@pytest.fixture
def trainable(monkeypatch):
    """A train level with a method and a simulator of one name, as h2lo is."""
    parts = (
        Part("method", "h2lo", (MethodTraining,), MethodOptions, ignored=True),
        Part("method", "pfsr", (MethodTraining,), MethodOptions, ignored=True),
        Part("augment", "h2lo", (SimulatorOptions,), SimulatorOptions),
    )
    monkeypatch.setattr("bids_lfenhance.cli.parts.parts_of", lambda level: parts)
    monkeypatch.setattr("bids_lfenhance.cli.parser.parts_of", lambda level: parts)


def test_a_method_and_a_simulator_may_share_a_name(trainable):
    text = build_parser("train").format_help()
    assert "Method and Simulator h2lo:" in text
    assert "--h2lo-width" in text
    assert "--h2lo-weights" in text
    assert "--pfsr-weights" not in text, "what is trained has weights to begin with: --init-weights"
    run = {"method": "pfsr", "augment": "h2lo"}
    tables = {"pfsr": {"width": 3}}
    options = options_of_parts("train", run, tables, {"h2lo.weights": "w", **run})
    assert options == {"method_options": {"width": 3}, "simulator_options": {"weights": "w"}}
    with pytest.raises(InputError, match="--method h2lo"):
        options_of_parts("train", run, {}, {"h2lo.width": 4})
    assert options_of_parts("train", {"method": "h2lo"}, {}, {"h2lo.width": 4})["method_options"] == {"width": 4}


def test_what_is_done_to_enhanced_images_is_no_option_of_a_training():
    texts = {level: build_parser(level).format_help() for level in ("participant", "train")}
    assert "--pfsr-contrast" in texts["participant"]
    assert "--pfsr-contrast" not in texts["train"]
    assert "--h2lo-contrast" in texts["train"], "which contrast a simulator learns is another thing"


def test_what_trained_weights_decide_is_no_option_of_their_use():
    texts = {level: build_parser(level).format_help() for level in ("participant", "train")}
    for option in ("--pfsr-width", "--pfsr-fusion", "--pfsr-groups", "--pfsr-rate"):
        assert f"{option} " in texts["train"]
        assert f"{option} " not in texts["participant"], "without effect"
    assert build_parser("participant").allow_abbrev is False, "--cssdiff-slices is no short form of an option"
    assert "--bridge-steps " in texts["participant"]
    assert "--interp-fusion " in texts["participant"], "has no weights"


@pytest.mark.parametrize("words", [("--cfm-width", "64"), ("--cfm-rate", "1e-3"), ("--cfm-train-steps=3",)])
def test_an_option_that_weights_decide_is_refused_with_the_reason(folders, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse([*folders, "--method", "cfm", *words])
    assert stopped.value.code == 2
    assert "trained weights decide it" in capsys.readouterr().err


def test_a_settings_file_may_not_set_what_weights_decide(folders, tmp_path):
    path = tmp_path / "config.toml"
    for words, fine in (('steps = 20\nsolver = "euler"', True), ("width = 64", False)):
        path.write_text(f'[run]\nmethod = "cfm"\n[cfm]\n{words}\n')
        if fine:
            assert parse([*folders, "--config-file", str(path)]).method_options == {"steps": 20, "solver": "euler"}
            continue
        with refused("no-effect", key="width"):
            parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize("kind", [SimulateSettings, TrainSettings])
def test_a_settings_file_of_another_level_is_refused(kind: type[Common], tmp_path):
    from bids_lfenhance.config import from_toml

    path = tmp_path / "c.toml"
    path.write_text(to_toml(Settings(tmp_path, tmp_path / "out"), {}))
    with refused("bad-setting", path=path):
        from_toml(path, kind)


def test_sloppy_takes_the_sloppy_budget(folders):
    assert parse([*folders, "--sloppy"]).budget == "sloppy"


def test_group_is_dispatched_and_its_exit_codes_are_those_of_a_bids_app(tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    command = [str(raw), str(out), "group"]
    assert main(command) == 2
    assert "run the participant level first" in capsys.readouterr().err
    out.mkdir()
    assert main([*command, "--dry-run"]) == 0
    assert list(out.iterdir()) == []
    assert main([*command, "--participant-label", "07"]) == 2
    assert "found no such subject" in capsys.readouterr().err
    assert main([*command, "--nprocs", "2"]) == 1
    assert "There is no subject in this derivative" in (out / "group.html").read_text()
