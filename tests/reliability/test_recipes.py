"""The recipes of workflows/ and containers/: checked by shellcheck and hadolint, and run, SLURM's on a real SLURM."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataset import write_dataset
from tests.reliability.slurm import cluster, wait_for_jobs, why_not

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "workflows"
SCRIPTS = sorted([*RECIPES.glob("*/*.sh"), *RECIPES.glob("*/*.sbatch"), *ROOT.glob("containers/*.sh")])
BESIDE_PYTHON = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

STUB = """#!/bin/bash
# stands in for the app: says what it was called with
echo "$(date +%s.%N) ${0##*/} $*" >> LOG
trap 'echo terminated >> LOG; exit 1' TERM
for ((i = 0; i < ${STUB_SECONDS:-0} * 10; i++)); do sleep 0.1; done
exit "${STUB_CODE:-0}"
"""


@pytest.fixture
def stub(tmp_path: Path):
    """Makes a program of a name that writes its arguments to a file; the folder it is in, and the file."""
    log, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()

    def make(name: str) -> Path:
        (folder / name).write_text(STUB.replace("LOG", str(log)))
        (folder / name).chmod(0o755)
        return folder / name

    make.log, make.folder = log, folder
    return make


def calls(stub) -> list[str]:
    """What the stubs were called with, without the time."""
    return [line.partition(" ")[2] for line in sorted(stub.log.read_text().splitlines())]


def folders(place: Path, *subjects: str) -> Path:
    for subject in subjects:
        (place / "bids" / f"sub-{subject}").mkdir(parents=True)
    return place / "bids"


def run(*command: object, **environment: object) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    env = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(path: Path) -> None:
    if not (program := shutil.which("shellcheck", path=BESIDE_PYTHON)):
        pytest.skip("needs shellcheck, which the extra [test] installs")
    done = run(program, path)
    assert done.returncode == 0, done.stdout
    assert os.access(path, os.X_OK)


def test_what_recipes_import_is_there() -> None:
    files = [path for folder in (ROOT / "containers", RECIPES) for path in folder.rglob("*.*") if path.is_file()]
    lines = {
        line
        for path in files
        for line in re.findall(r"from bids_lfenhance[\w.]* import \w+", path.read_text(encoding="utf-8"))
    }
    assert lines
    for line in lines:
        exec(line)


def test_hadolint_finds_nothing() -> None:
    if not (program := shutil.which("hadolint", path=BESIDE_PYTHON)):
        pytest.skip("needs hadolint, which the extra [test] installs")
    done = run(program, ROOT / "containers" / "Dockerfile")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := why_not():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm"), cpus=4) as environment:
        yield environment


def test_slurm_runs_each_subject_once_and_then_the_group(slurm, stub, tmp_path: Path) -> None:
    bids, out = folders(tmp_path, "01", "02", "03"), tmp_path / "out"
    words = [RECIPES / "slurm/submit.sh", bids, out, "--method", "interp"]
    done = run(*words, **slurm, LFENHANCE=stub("app"), WORK=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    wait_for_jobs(slurm, 60)
    *subjects, group = calls(stub)
    assert sorted(subjects) == [
        f"app {bids} {out} participant --participant-label sub-0{n} -w {tmp_path}/work/sub-0{n} --method interp"
        for n in (1, 2, 3)
    ]
    assert group == f"app {bids} {out} group", "after all subjects"
    assert len(list((out / "logs/slurm").glob("lfenhance-*_*.log"))) == 3


def test_slurm_runs_the_group_though_subjects_failed(slurm, stub, tmp_path: Path) -> None:
    bids, out = folders(tmp_path, "01"), tmp_path / "out"
    done = run(RECIPES / "slurm/submit.sh", bids, out, **slurm, LFENHANCE=stub("app"), STUB_CODE=1)
    assert done.returncode == 0, done.stderr
    wait_for_jobs(slurm, 60)
    assert [words.split()[3] for words in calls(stub)] == ["participant", "group"]


def test_what_slurm_sends_before_the_end_reaches_the_app(slurm, stub, tmp_path: Path) -> None:
    bids, out = folders(tmp_path, "01"), tmp_path / "out"
    limits = {"SBATCH_ALL": "--time=1", "STUB_SECONDS": 200}
    done = run(RECIPES / "slurm/submit.sh", bids, out, **slurm, LFENHANCE=stub("app"), **limits)
    assert done.returncode == 0, done.stderr
    ends = time.monotonic() + 90
    while "terminated" not in (stub.log.read_text() if stub.log.exists() else "") and time.monotonic() < ends:
        time.sleep(0.2)
    run("scancel", "--user", "root", **slurm)
    wait_for_jobs(slurm, 60)
    assert "terminated" in stub.log.read_text()


def test_slurm_recipes_refuse_what_is_no_dataset(tmp_path: Path) -> None:
    assert run(RECIPES / "slurm/submit.sh").returncode == 2
    (tmp_path / "empty").mkdir()
    done = run(RECIPES / "slurm/submit.sh", tmp_path / "empty", tmp_path / "out")
    assert done.returncode == 2
    assert "found none" in done.stderr
    bids = folders(tmp_path, "01", "02")
    done = run(RECIPES / "slurm/submit.sh", bids, tmp_path / "out", "--participant-label", "01")
    assert done.returncode == 2, "every task would take sub-01 besides its own"
    assert "SUBJECTS" in done.stderr
    done = run(RECIPES / "slurm/submit.sh", bids, tmp_path / "out", SUBJECTS="07")
    assert "of 07, found none" in done.stderr


def test_slurm_takes_the_subjects_asked_for(stub, tmp_path: Path) -> None:
    bids = folders(tmp_path, "01", "02", "03")
    stub("sbatch")
    path = f"{stub.folder}:{os.environ['PATH']}"
    run(RECIPES / "slurm/submit.sh", bids, tmp_path / "out", PATH=path, SUBJECTS="03 sub-01")
    (listed,) = (tmp_path / "out/logs/slurm").glob("subjects-*.txt")
    assert listed.read_text().split() == ["sub-01", "sub-03"]
    assert "--array=1-2%50" in calls(stub)[0]


@pytest.mark.slow
def test_slurm_with_the_app_itself(slurm, tmp_path: Path) -> None:
    """Seven tasks: two subjects enhanced, one without low field, four broken; each told by its own task."""
    bids, out = write_dataset(tmp_path / "bids"), tmp_path / "out"
    words = [RECIPES / "slurm/submit.sh", bids, out, "--sloppy", "--method", "interp"]
    app = f"{sys.executable} -m bids_lfenhance"
    done = run(*words, **slurm, LFENHANCE=app, WORK=tmp_path / "work", MAX_TASKS=2, SBATCH_ALL=f"--chdir={ROOT}")
    assert done.returncode == 0, done.stderr
    wait_for_jobs(slurm, 600)
    logs = {path.stem.rpartition("_")[2]: path.read_text() for path in (out / "logs/slurm").glob("lfenhance-*_*.log")}
    assert len(logs) == 7
    assert "Traceback" not in "".join(logs.values())
    for task in ("1", "2"):
        assert "Everything asked for is on disk" in logs[task], logs[task]
    for task, words in {"4": "cut short", "5": "JSON", "6": "finite", "7": "annex"}.items():
        assert words in logs[task]
    assert (out / "group.html").is_file()


def test_apptainer_is_given_the_folders_and_no_more(stub, tmp_path: Path) -> None:
    """With a stand-in for apptainer, which is not packaged in Debian 12: what it would be called with."""
    bids, image = folders(tmp_path, "01"), tmp_path / "image.sif"
    image.touch()
    stub("apptainer")
    words = [RECIPES / "apptainer/run.sh", image, bids, tmp_path / "out", "participant"]
    words += ["--participant-label", "01", "-w", tmp_path / "work"]
    done = run(*words, PATH=f"{stub.folder}:{os.environ['PATH']}", SLURM_CPUS_PER_TASK=3)
    assert done.returncode == 0, done.stderr
    (said,) = calls(stub)
    for bind in (f"--bind {bids}:/data:ro", f"--bind {tmp_path}/out:/out", f"--bind {tmp_path}/work:/work"):
        assert bind in said
    assert "--cleanenv --containall" in said
    assert "--env SLURM_CPUS_PER_TASK=3" in said
    assert said.endswith(f"{image} /data /out participant -w /work --participant-label 01")
    assert run(RECIPES / "apptainer/run.sh", tmp_path / "no.sif", bids, "out", "participant").returncode == 2


def test_apptainer_sees_the_files_that_options_name(stub, tmp_path: Path) -> None:
    bids, image, split = folders(tmp_path, "01"), tmp_path / "image.sif", tmp_path / "s 3.json"
    image.touch()
    split.touch()
    (tmp_path / "own").mkdir()
    stub("apptainer")
    path = f"{stub.folder}:{os.environ['PATH']}"
    words = [RECIPES / "apptainer/run.sh", image, bids, tmp_path / "out", "train", f"--work-dir={tmp_path}/work"]
    words += ["--split", split, f"--init-weights={tmp_path}/own/../own"]
    done = run(*words, "--set", "patch=16", f"estimate_weights={tmp_path}/own/", PATH=path, SLURM_MEM_PER_CPU=2000)
    assert done.returncode == 0, done.stderr
    (said,) = calls(stub)
    assert f"--bind {split}:{split}:ro" in said
    assert f"--bind {tmp_path}/own:{tmp_path}/own:ro" in said
    assert f"--bind {tmp_path}/work:/work" in said
    assert "--env SLURM_MEM_PER_CPU=2000" in said
    options = f"--split {split} --init-weights={tmp_path}/own --set patch=16 estimate_weights={tmp_path}/own"
    assert said.endswith(f"train -w /work {options}")
    done = run(*words, "-w", PATH=path)
    assert done.returncode == 2
    assert "Expected a folder after -w" in done.stderr


def test_apptainer_may_write_the_index(stub, tmp_path: Path) -> None:
    bids, image, index = folders(tmp_path, "01"), tmp_path / "image.sif", tmp_path / "index"
    image.touch()
    stub("apptainer")
    words = [RECIPES / "apptainer/run.sh", image, bids, tmp_path / "out", "participant"]
    for option in (["--bids-database-dir", index], [f"--bids-database-dir={index}"]):
        done = run(*words, *option, PATH=f"{stub.folder}:{os.environ['PATH']}", WORK=tmp_path / "work")
        assert done.returncode == 0, done.stderr
    assert index.is_dir()
    assert len(calls(stub)) == 2
    for said in calls(stub):
        assert f"--bind {index}:/index " in said
        assert said.endswith("--bids-database-dir /index")
    assert run(*words, "--bids-database-dir", PATH=f"{stub.folder}:{os.environ['PATH']}").returncode != 0


def test_openneuro_does_not_take_a_subject_without_low_field_for_a_failure(stub, tmp_path: Path) -> None:
    bids, out = folders(tmp_path, "01"), tmp_path / "out"
    stub("datalad")
    app = stub.folder / "app"
    app.write_text('#!/bin/sh\ncase "$3" in participant) exit 3;; esac\n')
    app.chmod(0o755)
    path = f"{stub.folder}:{os.environ['PATH']}"
    assert run(RECIPES / "openneuro/run.sh", bids, out, PATH=path, LFENHANCE=app).returncode == 0


def test_openneuro_fetches_and_drops_each_subject(stub, tmp_path: Path) -> None:
    """With a stand-in for datalad: the order of what it would be asked."""
    bids, out = folders(tmp_path, "01", "02"), tmp_path / "out"
    stub("datalad")
    path = f"{stub.folder}:{os.environ['PATH']}"
    done = run(RECIPES / "openneuro/run.sh", bids, out, "--method", "inr", PATH=path, LFENHANCE=stub("app"))
    assert done.returncode == 0, done.stderr
    heads = [" ".join(words.split()[:2]) for words in calls(stub)]
    each = ["datalad get", f"app {bids}", "datalad drop"]
    assert heads == [*each, *each, f"app {bids}"]
    assert calls(stub)[1] == f"app {bids} {out} participant --participant-label sub-01 --method inr"


@pytest.mark.parametrize("nodes", [1, 2])
def test_training_starts_torchrun_as_the_nodes_ask(stub, tmp_path: Path, nodes: int) -> None:
    stub("torchrun")
    (stub.folder / "scontrol").write_text("#!/bin/sh\necho node7\necho node8\n")
    (stub.folder / "scontrol").chmod(0o755)
    job = {"SLURM_JOB_NUM_NODES": nodes, "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": 12}
    path = f"{stub.folder}:{os.environ['PATH']}"
    done = run(RECIPES / "training/train.sh", "data", "out", "--method", "pfsr", PATH=path, PROCESSES=2, **job)
    assert done.returncode == 0, done.stderr
    where = "--standalone" if nodes == 1 else "--nnodes 2 --rdzv-backend c10d --rdzv-id 12 --rdzv-endpoint node7:29500"
    app = "-m bids_lfenhance data out train --method pfsr"
    assert calls(stub) == [f"torchrun {where} --nproc-per-node 2 {app}"]
