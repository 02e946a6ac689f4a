"""Settings: validated, hashed by what changes an output, and the same again after a trip through TOML."""

from dataclasses import replace
from pathlib import Path

import pytest

from bids_lfenhance.cli.run import main
from bids_lfenhance.config import Settings, from_toml, settings_hash, to_toml, validated
from bids_lfenhance.errors import InputError

from .refusals import refused


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "raw").mkdir()
    return Settings(tmp_path / "raw", tmp_path / "out")


@pytest.mark.parametrize("out", [".", "sub-01", "derivatives", "sub-01/derivatives/x"])
def test_the_raw_dataset_is_never_written_to(settings, out):
    with refused("out-dir-in-raw"):
        validated(replace(settings, out_dir=settings.bids_dir / out))


@pytest.mark.parametrize("out", ["derivatives/lf", "../elsewhere", "../raw-too"])
def test_other_folders_are_accepted_and_absolute(settings, out):
    accepted = validated(replace(settings, out_dir=settings.bids_dir / out))
    assert accepted.out_dir == (settings.bids_dir / out).resolve()


def test_a_link_into_the_raw_dataset_is_seen_through(settings, tmp_path):
    (settings.bids_dir / "sub-01").mkdir()
    (tmp_path / "link").symlink_to(settings.bids_dir / "sub-01")
    with pytest.raises(InputError):
        validated(replace(settings, out_dir=tmp_path / "link"))


@pytest.mark.parametrize(
    "changes",
    [
        {"bids_dir": Path("/no/such/folder")},
        {"random_seed": -1},
        {"nprocs": 0},
        {"mem_gb": -2.0},
        {"mem_gb": float("nan")},
        {"mem_gb": float("inf")},
        {"n_samples": 0},
        {"assume_field_strength": 0.0},
        {"output_label": "a_b"},
        {"output_label": "mineStd"},
        {"output_label": "mySample"},
        {"bids_filter_file": Path("/no/such/file.json")},
    ],
)
def test_bad_values_are_one_sentence(settings, changes):
    with pytest.raises(InputError, match=r"^Expected .*, found .*\.$"):
        validated(replace(settings, **changes))


def test_the_work_folder_stays_out_of_the_raw_dataset(settings):
    with refused("bad-option", option="work_dir"):
        validated(replace(settings, work_dir=settings.bids_dir / "work"))


@pytest.mark.parametrize("changes", [{"random_seed": 1}, {"sloppy": True}, {"n_samples": 2}, {"budget": "gpu"}])
def test_the_hash_follows_what_changes_an_output(settings, changes):
    assert settings_hash(settings, {}, "1") != settings_hash(replace(settings, **changes), {}, "1")


@pytest.mark.parametrize(
    "changes", [{"nprocs": 1}, {"participant_label": ("01",)}, {"verbose": 2}, {"mem_gb": 3.0}, {"device": "cuda:1"}]
)
def test_the_hash_ignores_what_does_not(settings, changes):
    assert settings_hash(settings, {}, "1") == settings_hash(replace(settings, **changes), {}, "1")


def test_another_device_is_no_other_run(settings):
    one, other = (settings_hash(settings, {"device": device, "steps": 3}, "1") for device in ("cpu", "cuda:0"))
    assert one == other != settings_hash(settings, {"device": "cpu", "steps": 4}, "1")


def test_toml_round_trip(settings, tmp_path):
    given = replace(settings, participant_label=("01", "02"), mem_gb=3.5, sloppy=True)
    path = tmp_path / "config.toml"
    path.write_text("\ufeff" + to_toml(given, method={"fusion": "sr", "device": "cuda"}), "utf-8")  # as editors do
    tables = from_toml(path)
    assert tables["method"] == {"fusion": "sr"}, "the device is the run's"
    assert tables["run"]["participant_label"] == ["01", "02"]
    assert tables["run"]["mem_gb"] == 3.5
    assert tables["run"]["sloppy"] is True
    assert "n_samples" not in tables["run"], "what is unset stays unset"


@pytest.mark.parametrize("text", ["[run]\ncolour = 1\n", "not toml", "\x00"])
def test_a_bad_settings_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^Expected"):
        from_toml(path)


@pytest.mark.parametrize("option", ["--participant-label", "--session-label"])
@pytest.mark.parametrize("label", ["01/../../victim", "..", "sub-", "<b>"])
@pytest.mark.parametrize("more", [(), ("--reports-only",)])
def test_no_label_leads_out_of_the_output_folder(tmp_path, capsys, option, label, more):
    for folder in ("bids", "out/sub-01", "out/victim", "victim"):
        (tmp_path / folder).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    words = [str(tmp_path / "bids"), str(tmp_path / "out"), "participant", option, label, *more]
    assert main(words) == 2
    assert "letters, digits and +" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
