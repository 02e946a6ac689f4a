"""The simulate level from outside: a dataset that validates, replays, resumes, and never mixes two simulations."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.plan import make_plan
from bids_lfenhance.cli.run import main, run
from bids_lfenhance.workflows import high_field, simulate
from tests.methods.learned import untrained_weights
from tests.simulators.sources import phantom_source

from ..refusals import refused
from . import simulated

SMALL = {"presets": ("iqt-hcp",)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated.write_dataset(tmp_path_factory.mktemp("level simulate") / "raw")


@pytest.fixture(autouse=True)
def phantoms(monkeypatch):
    monkeypatch.setattr(simulate, "simulate_one", simulated.one)


@pytest.fixture(scope="module")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that one process makes, high field copied."""
    out = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "simulate_one", simulated.one)
        assert run(simulated.settings(raw, out, high_field="copy")) == 0
    return out


def files(root: Path) -> dict[str, str]:
    """Hash of every file by its path."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def errors_of(root: Path) -> list[dict]:
    if not (validator := shutil.which("bids-validator-deno", path=f"{Path(sys.executable).parent}")):
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, "--format", "json", str(root)], capture_output=True, check=False)
    return [issue for issue in json.loads(done.stdout)["issues"]["issues"] if issue["severity"] == "error"]


def test_a_raw_dataset_that_validates(made):
    assert errors_of(made) == []
    images = {name for name in files(made) if name.endswith(".nii.gz")}
    low = {f"acq-{plane}_{contrast}" for plane in ("axi", "iqthcp") for contrast in ("T1w", "T2w")}
    assert {f"sub-01/ses-SIM/anat/sub-01_ses-SIM_{name}.nii.gz" for name in low} <= images
    assert "sub-01/ses-HF/anat/sub-01_ses-HF_T2w.nii.gz" in images, "sessions are added where there were none"
    assert "sub-02/ses-ASIM/anat/sub-02_ses-ASIM_acq-axi_T1w.nii.gz" in images, "two sessions, two simulations"
    assert "sub-02/ses-B/anat/sub-02_ses-B_T1w.nii.gz" in images
    assert len(images) == 4 + 2 + 2 * (2 + 1)
    assert (made / "participants.tsv").read_text() == "participant_id\tsex\nsub-01\tF\nsub-02\tM\n"
    description = json.loads((made / "dataset_description.json").read_text())
    assert (description["DatasetType"], description["License"]) == ("raw", "CC0")


def test_the_participant_level_pairs_it(made):
    with refused("no-field-strength"):
        make_plan(made, ["01"])
    plan = make_plan(made, assume_field_strength=3.0)
    assert [(session.name, session.reference_session) for session in plan.sessions] == [
        ("sub-01_ses-SIM", "HF"),
        ("sub-02_ses-ASIM", "A"),
        ("sub-02_ses-BSIM", "B"),
    ]
    assert {scan.name for session in plan.sessions for scan in session.stacks} == {"acq-axi_T1w", "acq-axi_T2w"}, (
        "0.36 T is not low"
    )
    assert {scan.plane for session in plan.sessions for scan in session.stacks} == {"axi"}
    assert all(0.06 < scan.field_strength < 0.07 for session in plan.sessions for scan in session.stacks)


def test_a_sidecar_is_enough_to_make_its_image_again(made, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(high_field, "load_high_field", simulated.phantom_high_field)
    for path in sorted((made / "sub-01" / "ses-SIM" / "anat").glob("*.json")):
        about = json.loads(path.read_text())
        contrast = path.stem.rpartition("_")[2]
        assert about["Sources"][0] == f"bids:source:sub-01/anat/sub-01_{contrast}.nii.gz"
        assert about["Simulated"] is True
        assert about["MagneticFieldStrength"] == (0.064 if "acq-axi" in path.name else 0.36)
        stack, image = high_field.replay_scan(path, raw), nib.load(path.with_suffix(".nii.gz"))
        assert stack.data.tobytes() == np.asarray(image.dataobj).tobytes()
        assert np.allclose(image.affine, stack.native_affine, atol=1e-4)
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    for contrast in ("T1w", "T2w"):
        (tmp_path / "sub-01" / "anat" / f"sub-01_{contrast}.nii.gz").write_bytes(b"another")
    with refused("other-file"):
        high_field.replay_scan(path, tmp_path)
    with refused("not-simulated", path=made / "dataset_description.json"):
        high_field.replay_scan(made / "dataset_description.json", raw)


def test_a_second_run_redoes_nothing(made, raw, capsys):
    before, times = files(made), {p: p.stat().st_mtime_ns for p in made.rglob("*.nii.gz")}
    assert run(simulated.settings(raw, made, high_field="copy")) == 0
    assert "3 high-field session(s) simulated before" in capsys.readouterr().out
    assert files(made) == before
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*.nii.gz")} == times


def test_two_processes_and_one_subject_at_a_time_give_the_same_files(made, raw, tmp_path):
    out = tmp_path / "two"
    assert run(simulated.settings(raw, out, high_field="copy", nprocs=2, participant_label=("02",))) == 0
    assert run(simulated.settings(raw, out, high_field="copy", nprocs=2)) == 0
    links = "dataset_description.json"
    assert {k: v for k, v in files(out).items() if k != links} == {k: v for k, v in files(made).items() if k != links}


def test_a_session_that_is_lost_or_cut_short_is_made_again_the_same(raw, tmp_path):
    out, asked = tmp_path / "out", SMALL | {"high_field": "copy"}
    assert run(simulated.settings(raw, out, **asked)) == 0
    before = files(out)
    next(out.glob("sub-02/ses-ASIM/anat/*iqt*.nii.gz")).unlink()
    (out / "sub-02" / ".tmp-abc-new-ses-ASIM").mkdir()
    for path in (*out.glob("sub-01/ses-*SIM/anat/*.nii.gz"), *out.glob("sub-01/ses-HF/anat/*")):
        path.write_bytes(path.read_bytes()[:40])
    assert run(simulated.settings(raw, out, **asked)) == 0
    assert files(out) == before
    assert not list(out.rglob(".tmp-*"))


def test_high_field_that_was_defaced_stays_where_its_neighbour_is_made_again(raw, tmp_path):
    out, asked = tmp_path / "out", SMALL | {"high_field": "copy"}
    assert run(simulated.settings(raw, out, **asked)) == 0
    anat = out / "sub-01" / "ses-HF" / "anat"
    mine, cut = (anat / f"sub-01_ses-HF_{contrast}.nii.gz" for contrast in ("T1w", "T2w"))
    before = cut.read_bytes()
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), mine)
    defaced = mine.read_bytes()
    cut.write_bytes(before[:40])
    assert run(simulated.settings(raw, out, **asked)) == 0
    assert (mine.read_bytes(), cut.read_bytes()) == (defaced, before)


def test_what_is_not_ours_stays_where_a_session_is_made_again(raw, tmp_path):
    out = tmp_path / "out"
    settings = simulated.settings(raw, out, high_field="copy", **SMALL)
    assert run(settings) == 0
    folders = [out / "sub-02" / "ses-ASIM" / "anat", out / "sub-01" / "ses-HF" / "anat"]
    theirs = [folder / "lesion_mask.nii.gz" for folder in folders]
    for file in (*theirs, out / "README.md", out / "CHANGES"):
        file.write_text("mine")
    for folder in folders:
        next(folder.glob("*_T1w.nii.gz")).unlink()
    assert run(settings) == 0
    assert all(file.read_text() == "mine" for file in (*theirs, out / "README.md", out / "CHANGES"))


def test_subjects_of_an_undescribed_dataset_are_left_alone(raw, tmp_path):
    scan = tmp_path / "sub-02" / "ses-SIM" / "anat" / "sub-02_ses-SIM_acq-axi_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_text("mine")
    with refused("out-dir-taken"):
        run(simulated.settings(raw, tmp_path))
    assert scan.read_text() == "mine"


def test_draws_have_sessions_of_their_own(raw, tmp_path):
    assert run(simulated.settings(raw, tmp_path / "out", draws=2, contrasts=("T1w",), **SMALL)) == 0
    first, second = sorted((tmp_path / "out").glob("sub-01/ses-SIM?/anat/*_T1w.nii.gz"))
    assert first.read_bytes() != second.read_bytes()
    assert not list((tmp_path / "out").rglob("*T2w*"))


@pytest.mark.parametrize("change", [{"random_seed": 1}, {"simulator_options": {"bias": 0.2}}, {"draws": 2}])
def test_other_settings_are_refused(made, raw, change):
    before = files(made)
    with refused("other-settings"):
        run(simulated.settings(raw, made, **change))
    assert files(made) == before


def test_weights_that_have_moved_are_still_the_same(raw, tmp_path):
    first, moved = (tmp_path / name for name in ("weights", "moved"))
    untrained_weights("h2lo", first, contrasts=("T1w",), features=8)
    asked = {"simulator": "h2lo", "contrasts": ("T1w",), "participant_label": ("01",), **SMALL}

    def simulated_with(place: Path) -> int:
        return run(simulated.settings(raw, tmp_path / "out", **asked, simulator_options={"weights": str(place)}))

    assert simulated_with(first) == 0
    (scan,) = (tmp_path / "out").rglob("*.nii.gz")
    before = scan.read_bytes()
    first.rename(moved)
    assert simulated_with(moved) == 0
    scan.unlink()
    assert simulated_with(moved) == 0
    assert scan.read_bytes() == before
    untrained_weights("h2lo", first, contrasts=("T1w",), features=9)
    with refused("other-settings", key="made_by.weights"):
        simulated_with(first)


def test_the_settings_name_weights_that_can_be_found_from_any_folder(raw, tmp_path, monkeypatch, capsys):
    untrained_weights("h2lo", tmp_path / "weights", contrasts=("T1w",), features=8)
    monkeypatch.chdir(tmp_path)
    words = ["--simulator", "h2lo", "--contrasts", "T1w", "--weights", "weights", "--dry-run"]
    assert main([str(raw), "out", "simulate", *words]) == 0
    assert f'weights = "{tmp_path / "weights"}"' in capsys.readouterr().out


def test_another_source_is_refused_and_left_alone(made, raw, tmp_path, capsys):
    other = tmp_path / "raw"
    shutil.copytree(raw, other)
    head = phantom_source("T1w", size=32)
    nib.save(nib.Nifti1Image(head.image + 1, head.grid.affine), other / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    before = {name: digest for name, digest in files(made).items() if name.startswith("sub-")}
    assert run(simulated.settings(other, made, participant_label=("01",))) == 1
    assert "FAILED sub-01: Expected sub-01_ses-SIM_acq-axi_T1w.nii.gz made from the same" in capsys.readouterr().out
    assert {name: digest for name, digest in files(made).items() if name.startswith("sub-")} == before


def test_a_dataset_of_another_name_is_refused_before_anything_is_written(made, raw, tmp_path):
    other = simulated.write_dataset(tmp_path / "raw")
    description = other / "dataset_description.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"Name": "Others"}))
    before = files(made)
    with refused("out-dir-taken", path=made):
        run(simulated.settings(other, made))
    assert files(made) == before


def test_links_and_an_assumed_field_strength(raw, tmp_path):
    out = tmp_path / "out"
    asked = simulated.settings(raw, out, high_field="link", assume_field_strength=3.0, presets=("55mT",))
    assert run(asked) == 0
    path = out / "sub-01" / "ses-HF" / "anat" / "sub-01_ses-HF_T1w.nii.gz"
    assert path.resolve() == (raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz").resolve()
    about = json.loads(path.with_name("sub-01_ses-HF_T1w.json").read_text())
    assert (about["MagneticFieldStrength"], about["MagneticFieldStrengthAssumed"]) == (3.0, True)
    assert all(session.paired for session in make_plan(out).sessions), (
        "nothing more need be said at the participant level"
    )


def test_a_killed_worker_is_named_and_the_others_go_on(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulate, "simulate_one", simulated.one_killed)
    out = tmp_path / "out"
    assert run(simulated.settings(raw, out, nprocs=2, **SMALL)) == 1
    printed = capsys.readouterr().out
    assert "FAILED sub-01: expected sub-01 to finish, found its process killed" in printed
    assert "2 high-field session(s) simulated" in printed
    assert not (out / "sub-01").exists()
    assert "sub-01" not in (out / "participants.tsv").read_text()


def test_a_terminated_run_leaves_soon_and_goes_on(raw, tmp_path):
    out = tmp_path / "out"
    words = [str(raw), str(out), "simulate", "--presets", "iqt-hcp", "--nprocs", "2", "--mem-gb", "8"]
    command = [sys.executable, "-m", "tests.workflows.simulated", *words]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == 130
    assert "run the same command again" in errors
    (out / "begun").unlink()
    assert main(words) == 0
    assert len(list(out.rglob("*.nii.gz"))) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--presets", "hyperfine-up"], "hyperfine-axi, hyperfine-cor"),
        (["--presets", "hyperfine-axi", "hyperfine-axi"], "each preset once"),
        (["--contrasts", "FLAIR"], "FLAIR was asked for"),
        (["--participant-label", "03"], "no high-field image"),
        (["--session-label", "LF", "--participant-label", "02"], "requested"),
        (["--mem-gb", "1"], "2 GiB"),
        (["--set", "bias=0.1", "--simulator", "iqt"], "--set bias=0.1"),
        (["--draws", "0"], "--draws"),
        (["--simulator", "h2lo", "--weights", "/no/such/weights"], "weights"),
        (["--simulator", "arnold", "--set", "parameters=/no/such/arnold.json"], "/no/such/arnold.json"),
    ],
)
def test_what_cannot_be_simulated_is_one_sentence_and_2(raw, tmp_path, capsys, words, sentence):
    assert main([str(raw), str(tmp_path / "out"), "simulate", *words]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Warning:")]
    assert len(told) == 1
    assert sentence in told[0]
    assert "xpected" in told[0]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_dry_run_prints_the_plan_and_writes_nothing(raw, tmp_path, capsys):
    assert main([str(raw), str(tmp_path / "out"), "simulate", "--dry-run", "--draws", "2"]) == 0
    printed = capsys.readouterr().out
    assert "2 subjects · 3 high-field sessions · 6 simulated sessions · 24 low-field stacks" in printed
    assert "ses-SIM1, ses-SIM2" in printed
    assert "without any field strength are taken as high field" in printed
    assert not (tmp_path / "out").exists()


def test_a_dry_run_refuses_too_little_memory_as_the_run_does(raw, tmp_path):
    assert main([str(raw), str(tmp_path / "out"), "simulate", "--dry-run", "--mem-gb", "1"]) == 2


def test_the_settings_it_leaves_make_it_again(made, raw, tmp_path):
    (said,) = re.findall(r"--config-file ([^`]+)", (made / "README.md").read_text())
    recipe = made / said
    words = ["--config-file", str(recipe), "--high-field", "copy", "--nprocs", "1", "--participant-label", "01"]
    assert main([str(raw), str(tmp_path / "out"), "simulate", *words]) == 0
    again = {name: digest for name, digest in files(tmp_path / "out").items() if name.startswith("sub-01")}
    assert again == {name: digest for name, digest in files(made).items() if name.startswith("sub-01")}


def test_a_derivative_is_no_place_for_it(made, raw, tmp_path):
    ours = {"Name": "x", "DatasetType": "derivative", "GeneratedBy": [{"Name": "bids_lfenhance"}]}
    (tmp_path / "dataset_description.json").write_text(json.dumps(ours))
    with refused("out-dir-taken"):
        run(simulated.settings(raw, tmp_path))
    with refused("out-dir-taken"):
        run(simulated.settings(made, raw))


@pytest.mark.slow
@pytest.mark.real
def test_a_real_subject_of_ds002748(shared_data, tmp_path, monkeypatch):
    """The whole path once: registration, brain, tissue, one stack, and the same image again from the sidecar."""
    from bids_lfenhance.workflows.high_field import replay_scan

    monkeypatch.undo()
    raw = shared_data / "ds002748"
    words = [str(raw), str(tmp_path / "out"), "simulate", "--participant-label", "52", "--presets", "hyperfine-axi"]
    assert main([*words, "--nprocs", "1"]) == 0
    assert errors_of(tmp_path / "out") == []
    (path,) = (tmp_path / "out").rglob("*.nii.gz")
    stack = replay_scan(path.with_name(path.name.replace(".nii.gz", ".json")), raw)
    assert stack.data.tobytes() == np.asarray(nib.load(path).dataobj).tobytes()


def test_two_sessions_of_high_field_do_not_go_to_one_place(tmp_path: Path, capsys) -> None:
    raw = simulated.write_dataset(tmp_path / "raw")
    simulated.write_scan(raw, "sub-01/ses-HF", "T1w", simulated.HIGH)
    command = [str(raw), str(tmp_path / "out"), "simulate", "--dry-run"]
    assert main([*command, "--high-field", "copy"]) == 2
    assert "sub-01" in capsys.readouterr().err
    assert main(command) == 0
