"""The command line: defaults < settings file < argv, spellings of other BIDS Apps, no option without effect."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from bids_lfenhance.cli.help import describe_method
from bids_lfenhance.cli.parser import build_parser, level_of, parse
from bids_lfenhance.cli.parts import Part, parts_of, settings_of_parts
from bids_lfenhance.cli.run import main, resolve_method
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
    with pytest.raises(SystemExit):  # an unset variable must not mean everybody
        parse([*folders, flag, ""])
    assert parse([*folders, flag, "01,sub-02"]).participant_label == ("01", "sub-02"), "as other tools take lists"


@pytest.mark.parametrize(
    ("word", "gib"), [("16", 16), ("16G", 16), ("8192MB", 8), ("1.5", 1.5), ("500 MiB", 500 / 1024)]
)
def test_memory_with_and_without_a_unit(folders, word, gib):
    assert parse([*folders, "--mem", word]).mem_gb == pytest.approx(gib)


def test_memory_that_was_meant_in_megabytes_is_refused(folders):
    """As fMRIPrep takes ``--mem``: 16000 GiB would start everything at once."""
    with refused("bad-option", option="mem_gb"):
        parse([*folders, "--mem", "16000"])


def test_options_may_come_before_the_paths(folders):
    """A list before them swallowed them (https://github.com/nipreps/fmriprep/issues/1748)."""
    options = ["--session-label", "A", "--participant-label", "01", "group"]
    assert parse([*options, *folders, "--nprocs", "2"]) == parse([*folders, *options, "--nprocs", "2"])
    assert parse([*options, "--", *folders]) == parse([*folders, *options])


def test_words_may_come_one_option_at_a_time(folders):
    assert parse([*folders, "--session-label", "A", "--session-id", "B"]).session_label == ("A", "B")


def test_defaults_are_those_of_the_settings(folders):
    parsed = parse(folders)
    for item in dataclasses.fields(Settings):
        if "group" in item.metadata:
            assert getattr(parsed, item.name) == item.default, item.name


def test_the_command_line_beats_the_file(folders, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[run]\nrandom_seed = 3\nmem_gb = 4\nparticipant_label = ["01"]\n[method]\nfusion = "sr"\n')
    parsed = parse([*folders, "--config-file", str(path), "--random-seed", "5", "--method", "interp"])
    assert (parsed.random_seed, parsed.mem_gb, parsed.participant_label) == (5, 4.0, ("01",))
    assert parsed.method_options == {"fusion": "sr"}


def test_the_file_a_run_leaves_gives_the_same_run(folders, tmp_path):
    first = parse([*folders, "--method", "interp", "--set", "fusion=sr", "--nprocs", "2", "--sloppy"])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(first, method=first.method_options))
    assert parse([*folders, "--config-file", str(path)]) == first
    other = parse([*folders, "--config-file", str(path), "--method", "inr"])
    assert other.method_options == {}, "the file's are those of the method that was replaced"


@pytest.mark.parametrize("words", [["--budget", "gpu"], ["--sloppy"]])
def test_another_budget_replaces_what_the_file_has_from_its_own(folders, tmp_path, words):
    first = parse([*folders, "--method", "inr", "--budget", "cpu", "--set", "tv=0.05"])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(first, method=resolve_method(first, "cpu")))
    again = parse([*folders, "--config-file", str(path), *words])
    asked = parse([*folders, "--method", "inr", *words, "--set", "tv=0.05"])
    assert again.budget == asked.budget != "cpu"
    assert resolve_method(again, "cpu") == resolve_method(asked, "cpu")
    assert parse([*folders, "--config-file", str(path)]).budget == "cpu"


def test_another_preset_replaces_what_the_file_has_from_its_own(folders, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[run]\nlevel = "train"\nmethod = "pfsr"\npreset = "tiny"\n[method]\nwidth = 16\nrate = 0.5\n')
    again = parse([*folders[:2], "train", "--config-file", str(path), "--preset", "paper"])
    assert "width" not in again.method_options
    assert parse([*folders[:2], "train", "--config-file", str(path)]).method_options["width"] == 16


def test_a_file_that_asks_for_two_budgets_is_refused(folders, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[run]\nsloppy = true\nbudget = "gpu"\n')
    with pytest.raises(SystemExit):
        parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "interp", "--set", "width=8"],
        ["--method", "interp", "--weights", "folder"],
        ["--set", "precision"],
        ["--set", "precision=fp16"],
        ["--set", "device=cuda"],
        ["--set", "simulator.snr=3"],
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


@pytest.mark.parametrize(("key", "value"), [("sloppy", '"yes"'), ("mem_gb", "true")])
def test_a_wrong_type_in_the_file_is_one_sentence(folders, tmp_path, key, value):
    path = tmp_path / "c.toml"
    path.write_text(f"[run]\n{key} = {value}\n")
    with refused("bad-setting", key=key):
        parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize("level", SETTINGS)
def test_every_setting_of_every_part_is_told_by_its_name(level):
    for part in parts_of(level):
        text = describe_method(part.name)
        for name, item in part.fields.items():
            assert re.search(rf"^  {name}\b", text, re.MULTILINE), name
            assert item.metadata["help"]
        assert not re.search(r"^  device\b", text, re.MULTILINE), "one --device for the whole run"


@pytest.mark.parametrize(("level", "most"), [("participant", 40), ("train", 40), ("simulate", 40), ("group", 40)])
def test_a_level_has_few_options_and_the_overview_is_a_screen(level, most, capsys):
    assert len([action for action in build_parser(level)._actions if action.option_strings]) <= most
    for words in (["--help"], ["raw", "out", "-h"]):
        with pytest.raises(SystemExit) as stopped:
            parse(words)
        text = capsys.readouterr().out
        assert (stopped.value.code, len(re.findall("^  bids_lfenhance ", text, re.MULTILINE))) == (0, 4)
        assert len(text.splitlines()) <= 60
        assert level in text


@pytest.mark.parametrize("words", [["participant", "-h"], ["raw", "out", "participant", "-h"]])
def test_the_help_of_a_level_has_its_options(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(words)
    assert stopped.value.code == 0
    assert "--output-spaces" in capsys.readouterr().out


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
    for name in others - {"method_options", "simulator_options", "precision"}:  # of the method, or of the training
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
    parsed = parse([*folders[:2], "simulate", "--simulator", "iqt", "--set", "motion-mm=1", "--contrasts", "T1w"])
    assert isinstance(parsed, SimulateSettings)
    assert (parsed.simulator, parsed.simulator_options, parsed.contrasts) == ("iqt", {"motion_mm": 1.0}, ("T1w",))
    with pytest.raises(SystemExit):
        parse([*folders, "--simulator", "iqt"])
    with refused("bad-setting", key="bias", part="iqt"):
        parse([*folders[:2], "simulate", "--simulator", "iqt", "--set", "bias=1"])


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
        Part("method", "h2lo", (MethodTraining,), MethodOptions),
        Part("method", "pfsr", (MethodTraining,), MethodOptions),
        Part("augment", "h2lo", (SimulatorOptions,), SimulatorOptions),
    )
    monkeypatch.setattr("bids_lfenhance.cli.parts.parts_of", lambda level: parts)


def test_a_method_and_a_simulator_may_share_a_name(trainable):
    run = {"method": "pfsr", "augment": "h2lo"}
    file = {"run": {}, "method": {"width": 3}}
    found = settings_of_parts("train", run, file, {"set": ("simulator.weights=w",)})
    assert found == {"method_options": {"width": 3}, "simulator_options": {"weights": "w"}}
    assert settings_of_parts("train", run, file, {"set": ("width=4",)})["method_options"] == {"width": 4}
    with refused("bad-setting", key="weights", part="pfsr"):  # what is trained has --init-weights
        settings_of_parts("train", run, file, {"set": ("weights=w",)})
    with refused("no-effect", key="weights"):
        settings_of_parts("train", {"method": "pfsr", "augment": "none"}, file, {"set": ("simulator.weights=w",)})


def settings_at(level):
    return {f"{part.table}:{part.name}:{key}" for part in parts_of(level) for key in part.fields}


def test_what_is_done_to_enhanced_images_is_no_setting_of_a_training():
    assert "method:pfsr:contrast" in settings_at("participant")
    assert "method:pfsr:contrast" not in settings_at("train")
    assert "method:h2lo:contrast" in settings_at("train"), "which contrast a simulator learns is another thing"


def test_what_trained_weights_decide_is_no_setting_of_their_use():
    for setting in ("pfsr:width", "pfsr:fusion", "pfsr:groups", "pfsr:rate"):
        assert f"method:{setting}" in settings_at("train")
        assert f"method:{setting}" not in settings_at("participant"), "without effect"
    assert build_parser("participant").allow_abbrev is False, "--segmentation-w would be --segmentation-weights"
    assert "method:bridge:steps" in settings_at("participant")
    assert "method:interp:fusion" in settings_at("participant"), "has no weights"


@pytest.mark.parametrize("word", ["width=64", "train_steps=3", "train-steps=3"])
def test_a_setting_that_weights_decide_is_refused_with_the_reason(folders, word):
    with refused("bad-setting", part="cfm") as caught:
        parse([*folders, "--method", "cfm", "--set", word])
    assert "trained weights decide it" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [('steps = 20\nsolver = "euler"', {"steps": 20, "solver": "euler"}), ("width = 64", None), ("steps = true", None)],
)
def test_the_method_table_of_a_settings_file_is_checked(folders, tmp_path, text, value):
    path = tmp_path / "config.toml"
    path.write_text(f'[run]\nmethod = "cfm"\n[method]\n{text}\n')
    if value:
        assert parse([*folders, "--config-file", str(path)]).method_options == value
    else:
        with refused("bad-setting", part="cfm"):
            parse([*folders, "--config-file", str(path)])


@pytest.mark.parametrize("text", ['[interp]\nfusion = "sr"\n', "budget = 3\n", '[run]\nbudget = "most"\n'])
def test_what_a_settings_file_may_not_say(folders, tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with refused("bad-setting"):
        parse([*folders, "--config-file", str(path)])


def test_a_table_that_nothing_reads_is_refused(folders, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[simulator]\nsnr = 5.0\n")
    for level in ("participant", "train"):
        with refused("no-effect", key="simulator"):
            parse([*folders[:2], level, "--config-file", str(path)])
    path.write_text('[run]\naugment = "physics"\n[simulator]\nsnr = 5.0\n')
    words = [*folders[:2], "train", "--method", "pfsr", "--config-file", str(path)]
    assert parse(words).simulator_options == {"snr": 5.0}
    assert parse([*words, "--augment", "none"]).simulator_options == {}, "the command line wins"


def test_the_nearest_name_is_offered(folders, tmp_path, capsys):
    path = tmp_path / "config.toml"
    path.write_text("[run]\noutput_lable = 'a'\n")
    for words, meant in ((["--set", "precison=fp32"], "precision"), (["--config-file", str(path)], "output_label")):
        with refused("bad-setting") as caught:
            parse([*folders, *words])
        assert meant in str(caught.value).partition("found")[2].partition("see")[0]
    for words, meant in ((["--precison", "fp32"], "--precision"), (["--preset", "tiny"], "level train")):
        with pytest.raises(SystemExit):
            parse([*folders, *words])
        assert meant in capsys.readouterr().err.rpartition("unrecognized")[2]


def test_shared_settings_are_those_of_the_method(folders):
    words = ["--weights", "folder", "--precision", "fp32", "--set", "strength=.5", "contrast=none"]
    expected = {"weights": "folder", "precision": "fp32", "strength": 0.5, "contrast": "none"}
    assert parse([*folders, "--method", "pfsr", *words]).method_options == expected
    with refused("no-effect", key="target_contrast"):
        parse([*folders, "--method", "pfsr", "--target-contrast", "own"])
    assert parse([*folders[:2], "simulate", "--simulator", "h2lo", "--weights", "w"]).simulator_options == {
        "weights": "w"
    }


@pytest.mark.parametrize("kind", [SimulateSettings, TrainSettings])
def test_a_settings_file_of_another_level_is_refused(kind: type[Common], tmp_path):
    from bids_lfenhance.config import from_toml

    path = tmp_path / "c.toml"
    path.write_text(to_toml(Settings(tmp_path, tmp_path / "out")))
    with refused("bad-setting", path=path):
        from_toml(path, kind)


def test_sloppy_takes_the_sloppy_budget(folders):
    assert parse([*folders, "--sloppy"]).budget == "sloppy"
    assert parse([*folders, "--sloppy", "--budget", "sloppy"]).budget == "sloppy"


def test_sloppy_and_another_budget_contradict(folders, capsys):
    with pytest.raises(SystemExit):
        parse([*folders, "--sloppy", "--budget", "gpu"])
    assert "--budget gpu" in capsys.readouterr().err


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


@pytest.mark.parametrize("level", SETTINGS)
def test_a_file_in_the_place_of_the_output_folder_is_refused_before_anything_is_read(folders, tmp_path, level):
    (tmp_path / "file").touch()
    with refused("not-writable", path=tmp_path / "file"):
        parse([folders[0], str(tmp_path / "file"), level])
