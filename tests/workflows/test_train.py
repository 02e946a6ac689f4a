"""The train level from outside, on phantoms: what it leaves on disk, and what it refuses."""

import csv
import dataclasses
import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.cli.parser import parse
from bids_lfenhance.cli.run import main
from bids_lfenhance.config import Settings, TrainSettings, to_toml
from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import get_method, get_trainable, trained_methods
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.training import jobs
from bids_lfenhance.training.guards import only_training_in
from bids_lfenhance.training.run import settings_to_give
from bids_lfenhance.training.sessions import simulated_session
from bids_lfenhance.workflows import train
from bids_lfenhance.workflows.run import make_run_spec
from tests.methods.generative import small_weights
from tests.refusals import refused
from tests.simulators.sources import phantom_source
from tests.workflows.simulated import write_scan

PEOPLE = ("01", "02", "03")
TINY = [
    *("--set", "width=8", "groups=1", "blocks=1", "patch=16", "batch=1", "pretrain_steps=4", "finetune_steps=0"),
    *("--omp-nthreads", "1", "--precision", "fp32"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms for heads, whose brain need not be looked for, and no other processes."""
    monkeypatch.setattr(jobs, "_sources", lambda job: [phantom_source("T1w", size=32)])

    def in_turn(work, tasks, nprocs, ended):
        for name, task in tasks.items():
            ended(name, work(task), "")

    monkeypatch.setattr(train, "run_in_workers", in_turn)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train") / "high"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Phantoms", "BIDSVersion": "1.10.0"}')
    for person in PEOPLE:
        write_scan(root, f"sub-{person}", "T1w")
    return root


def split(folder: Path, **parts: list[str]) -> Path:
    path = folder / "split-given.json"
    path.write_text(json.dumps({"train": ["01"], "validation": ["02"], "test": ["03"]} | parts))
    return path


def run(dataset: Path, out: Path, *more: str) -> int:
    common = ["--augment", "physics", "--draws", "1", "--nprocs", "1", *TINY]
    return main([str(dataset), str(out), "train", *common, *more])


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        quick.__wrapped__(patch)  # type: ignore[attr-defined]
        out = tmp_path_factory.mktemp("trained") / "out"
        assert run(dataset, out, "--split", str(split(out.parent))) == 0
    return out


def test_everything_promised_is_on_disk(trained: Path) -> None:
    names = {"weights.safetensors", "recipe.toml", "card.md", "split.json", "curves.csv", "test.tsv", "config.toml"}
    assert names <= {path.name for path in trained.iterdir()}
    with (trained / "test.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["person"] for row in rows} == {"Phantoms/03"}
    assert {row["method"] for row in rows} == {"input", "monotone map", "pfsr"}
    card = (trained / "card.md").read_text()
    assert card.count("## Test") == 1
    assert "SIMULATED" in card
    assert json.loads((trained / "split.json").read_text())["train"] == ["Phantoms/01"]


def test_the_settings_it_leaves_are_those_of_the_same_training(dataset: Path, trained: Path, tmp_path: Path) -> None:
    file = trained / "config.toml"
    again = parse([str(dataset), str(tmp_path / "out"), "train", "--config-file", str(file)])
    given = tomllib.loads(file.read_text())
    assert (again.method_options, again.simulator_options) == (given["method"], given["simulator"])
    assert (again.augment, again.draws, again.precision) == ("physics", 1, "fp32")
    assert again.method_options["pretrain_steps"] == 4


@pytest.mark.parametrize("name", trained_methods())
def test_the_settings_of_every_method_can_be_given_again(dataset: Path, tmp_path: Path, name: str) -> None:
    file, about = tmp_path / "config.toml", get_trainable(name).about
    asked = TrainSettings(dataset, tmp_path / "out", method=name)
    file.write_text(to_toml(asked, method=settings_to_give(about, about.settings())))
    again = parse([str(dataset), str(tmp_path / "out"), "train", "--config-file", str(file)])
    assert again.method_options == tomllib.loads(file.read_text())["method"]


def test_the_weights_enhance(trained: Path) -> None:
    loaded = load_weights(trained, "pfsr", ("T1w",))
    assert loaded.trained_on == ("Phantoms/01", "Phantoms/02")
    method = get_method("pfsr")
    simulator, heads = get_simulator("physics"), [phantom_source("T1w", size=32)]
    made = simulated_session(simulator, heads, simulator.settings(), np.random.default_rng(0))
    settings = method.about.sampling(weights=str(trained))
    found = enhance(made.low.with_anatomy(made.mask, np.zeros((3, *made.mask.shape))), method, settings,
                    np.random.default_rng(0), n_samples=1)  # fmt: skip
    assert found.image[0][made.mask].std() > 0
    assert found.provenance["records"][0]["weights_sha256"] == loaded.sha256


def test_the_same_command_again_changes_nothing(dataset: Path, trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.glob("*") if path.suffix in (".safetensors", ".tsv")}
    assert run(dataset, trained, "--split", str(split(trained.parent))) == 0
    assert before == {name: (trained / name).read_bytes() for name in before}


def test_other_settings_in_the_same_folder_are_refused(dataset: Path, trained: Path, capsys) -> None:
    before = (trained / "config.toml").read_text()
    assert run(dataset, trained, "--split", str(split(trained.parent)), "--random-seed", "5") == 2
    assert "another output folder" in capsys.readouterr().err
    assert (trained / "config.toml").read_text() == before, "it is that of the weights beside it"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (("--random-seed", "5"), "random_seed"),
        (("--set", "batch=2"), "method.batch"),
        (("--set", "simulator.bias=0.2"), "simulator.bias"),
    ],
)
def test_another_training_is_refused_before_its_examples_are_made(
    dataset: Path, trained: Path, tmp_path: Path, monkeypatch, capsys, more, key: str
) -> None:
    monkeypatch.setattr(train, "make_examples", lambda *_: pytest.fail("made for nothing"))
    given = ("--split", str(split(trained.parent)))
    for dry in ((), ("--dry-run",)):
        assert run(dataset, trained, *given, *more, *dry) == 2
        assert f"found {key} = " in capsys.readouterr().err
    assert run(dataset, trained, *given, "--dry-run", "--max-minutes", "3") == 0
    assert run(dataset, trained, "--split", str(split(tmp_path, test=[])), "--dry-run") == 2


def test_a_second_training_in_the_same_folder_is_refused_while_the_first_runs(dataset: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    with only_training_in(out):
        assert run(dataset, out, "--split", str(split(tmp_path))) == 2
    assert f"other training in {out}" in capsys.readouterr().err
    assert not (out / "examples").exists()


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"test": ["01"]}, "in both train and test"),
        ({"test": ["99"]}, "Phantoms/99"),
        ({"train": []}, "at least one subject to train on"),
    ],
)
def test_splits_that_leak_or_name_nobody(dataset: Path, tmp_path: Path, capsys, parts, sentence: str) -> None:
    assert run(dataset, tmp_path / "out", "--split", str(split(tmp_path, **parts))) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "weights.safetensors").exists()


def test_the_settings_name_files_that_can_be_found_from_any_folder(
    dataset: Path, trained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    small_weights(tmp_path)
    words = ["--augment", "none", "--method", "cfm", "--set", "estimate_weights=estimate", "--split"]
    assert main([str(dataset), "out", "train", *words, str(split(tmp_path)), "--dry-run"]) == 0
    assert f'estimate_weights = "{tmp_path / "estimate"}"' in capsys.readouterr().out
    Path("first").symlink_to(trained)
    words = ["--split", str(split(tmp_path)), "--init-weights", "first", "--dry-run"]
    assert run(dataset, tmp_path / "out", *words) == 0
    assert f'init_weights = "{trained.resolve()}"' in capsys.readouterr().out


def test_first_weights_must_not_have_seen_the_test(dataset: Path, trained: Path, tmp_path: Path, capsys) -> None:
    swapped = split(tmp_path, train=["03"], test=["01"])
    assert run(dataset, tmp_path / "out", "--split", str(swapped), "--init-weights", str(trained)) == 2
    assert "was trained on Phantoms/01" in capsys.readouterr().err


def test_first_weights_must_not_have_seen_who_validates(dataset: Path, trained: Path, tmp_path: Path, capsys) -> None:
    swapped = split(tmp_path, train=["03"], validation=["01"], test=[])
    assert run(dataset, tmp_path / "out", "--split", str(swapped), "--init-weights", str(trained)) == 2
    assert "validation subjects" in capsys.readouterr().err
    assert (
        run(dataset, tmp_path / "out", "--split", str(split(tmp_path)), "--init-weights", str(trained), "--dry-run")
        == 0
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--augment", "none", "--assume-field-strength", "3"), "add --augment physics"),
        (("--augment", "flip", "--label-maps", "."), "have no effect"),
        (("--split", "nowhere.json"), "found nothing at"),
        (("--method", "h2lo", "--set", "width=3"), "a setting of method h2lo"),
        (("--method", "h2lo", "--augment", "h2lo"), "another simulator"),
        (("--augment", "physics", "--split", "SPLIT", "--folds", "2"), "found both"),
        (("--augment", "h2lo", "--set", "simulator.weights=nowhere"), "train --method h2lo"),
        (("--augment", "h2lo", "--set", "fusion=sr"), "Expected --set fusion=mean with --augment h2lo"),
    ],
)
def test_words_that_make_no_sense(dataset: Path, tmp_path: Path, capsys, words, sentence: str) -> None:
    words = [str(split(tmp_path)) if word == "SPLIT" else word for word in words]
    assert main([str(dataset), str(tmp_path / "out"), "train", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("pfsr", "width=0 groups=0 blocks=0 reduction=0 shuffle=0 patch=5 batch=0 rate=-1 finetune_rate=-1"),
        ("pfsr", "pretrain_steps=-1 finetune_steps=-1 ssim_weight=-1"),
        ("h2lo", "features=0 lambda_grad=-1 gauss_sigma=0 voxels=0 block=0 steps=0 rate=0 batch=0 patch=5"),
        ("regions", "width=0 levels=0 patch=0 steps=0 rate=0 batch=0"),
    ],
)
def test_numbers_that_nothing_can_be_trained_with_are_refused(method: str, words: str) -> None:
    for word in words.split():
        name, value = word.split("=")
        with refused("bad-setting", key=name):
            get_trainable(method).about.settings(**{name: float(value)})


def test_a_training_without_a_step_is_refused_by_the_dry_run(dataset: Path, tmp_path: Path, capsys) -> None:
    given = split(tmp_path)
    assert run(dataset, tmp_path / "out", "--split", str(given), "--dry-run", "--set", "pretrain_steps=0") == 2
    assert "one step to train pfsr" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_no_fault_of_the_settings(
    dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(dataset, tmp_path / "out", "--split", str(split(tmp_path)), "--device", "cuda", "--dry-run") == 2
    said = capsys.readouterr().err
    assert "Expected a GPU for --device cuda" in said
    assert "--help-method" not in said


def test_dry_run_tells_and_writes_nothing(dataset: Path, tmp_path: Path, capsys) -> None:
    assert run(dataset, tmp_path / "out", "--split", str(split(tmp_path)), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "train: 1 subjects: 01" in said
    assert "pretrain_steps = 4" in said
    assert not (tmp_path / "out").exists()


def test_a_run_with_other_weights_in_the_same_place_is_another_run(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "weights", ignore=shutil.ignore_patterns("examples", "checkpoint"))
    settings = Settings(tmp_path, tmp_path / "out", method="pfsr")
    options = {"weights": os.path.relpath(tmp_path / "weights")}
    first = make_run_spec(settings, options, "cpu")
    assert Path(first.method_settings["weights"]) == tmp_path / "weights" / "weights.safetensors"
    path = tmp_path / "weights" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + bytes(4))
    with pytest.raises(InputError, match="changed or cut short"):
        make_run_spec(settings, options, "cpu")
    (tmp_path / "weights" / "recipe.toml").unlink()  # nothing vouches for them now
    assert make_run_spec(settings, options, "cpu").settings_hash != first.settings_hash


def test_a_method_without_weights_says_how_to_train_it_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train --method pfsr"):
        make_run_spec(Settings(tmp_path, tmp_path / "out", method="pfsr"), {"weights": "nowhere"}, "cpu")


def test_what_does_not_go_with_the_weights_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    weights = small_weights(tmp_path / "weights")
    with pytest.raises(InputError, match="k = 990"):
        make_run_spec(Settings(tmp_path, tmp_path / "out", method="bridge"), {**weights, "k": 400}, "cpu")


@pytest.mark.parametrize("name", ["cfm", "bridge"])
def test_draws_say_before_anything_is_computed_which_files_will_come(name: str, tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "out", method=name)
    plain = make_run_spec(settings, {"weights": "auto"}, "cpu")
    assert (set(plain.maps), plain.gives_error_std, plain.n_samples) == ({"Sample"}, True, 1)
    several = make_run_spec(dataclasses.replace(settings, n_samples=3), {"weights": "auto"}, "cpu")
    assert set(several.maps) == {"Sample", "DrawsStd"}
    assert not make_run_spec(settings, {"weights": "auto", "sample": False}, "cpu").maps
    others = small_weights(tmp_path)
    fine = make_run_spec(settings, others, "cpu")
    assert Path(fine.method_settings["estimate"]).is_absolute()
    assert fine.settings_hash != plain.settings_hash
    with pytest.raises(InputError, match=f"Expected the estimate of {name} with the hash"):
        make_run_spec(settings, {"weights": "auto", "estimate": others["estimate"]}, "cpu")


def test_whom_the_split_does_not_name_takes_no_part(dataset: Path, tmp_path: Path, capsys) -> None:
    chosen = split(tmp_path, train=["01"], validation=["sub-02"], test=[])
    assert run(dataset, tmp_path / "out", "--split", str(chosen), "--dry-run") == 0
    told = capsys.readouterr()
    assert "train: 1 subjects: 01\nvalidation: 1 subjects: 02\ntest: 0 subjects" in told.out
    assert "left out, as the split does not name them: 03" in told.err


def test_the_same_dataset_for_augmentation_keeps_to_the_people_asked_for(dataset: Path, tmp_path: Path, capsys) -> None:
    words = ["--augment-dataset", str(dataset), "--participant-label", "01", "02", "03", "--dry-run"]
    few = [
        "--augment-dataset",
        str(dataset),
        "--participant-label",
        "01",
        "02",
        "--split",
        str(split(tmp_path, test=[])),
    ]
    assert run(dataset, tmp_path / "out", *words) == 0
    capsys.readouterr()
    assert run(dataset, tmp_path / "out", *few, "--dry-run") == 0
    assert "03" not in capsys.readouterr().out.partition("split:")[0]


def test_a_worker_that_fails_is_a_sentence_not_a_traceback(dataset: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(
        train, "run_in_workers", lambda work, tasks, nprocs, ended: [ended(n, None, "broken") for n in tasks]
    )
    assert run(dataset, tmp_path / "out", "--split", str(split(tmp_path))) == 1
    said = capsys.readouterr().err
    assert all(f"sub-{person}: broken" in said for person in PEOPLE)
    assert "Traceback" not in said


def test_one_contrast_of_h2lo_is_all_that_is_planned(dataset: Path, tmp_path: Path, capsys) -> None:
    words = ["--method", "h2lo", "--set", "contrast=T1w", "--augment", "physics", "--dry-run"]
    assert main([str(dataset), str(tmp_path / "out"), "train", *words, "--split", str(split(tmp_path))]) == 0
    assert 'contrasts = ["T1w"]' in capsys.readouterr().out
