"""The graph that other workflows import: wired into one, run with the enhancement replaced by a record of its call."""

import os
from pathlib import Path
from typing import Any

import pytest
from nipype import Function, Node, Workflow

from bids_lfenhance import api
from bids_lfenhance.interfaces.scans import EnhanceScans
from bids_lfenhance.workflows.enhance import init_enhance_wf


def find(folder: str) -> list[str]:
    from pathlib import Path

    return sorted(map(str, Path(folder).glob("*.nii.gz")))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the enhancement is called with, of two files in the current folder."""
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).touch()
    seen: list[dict[str, Any]] = []

    class Result:
        def save(self, **paths: str) -> None:
            for path in paths.values():
                Path(path).touch()

    def enhance(*scans: str, **settings: Any) -> Result:
        seen.append(settings | {"scans": [Path(scan).name for scan in scans]})
        assert all(Path(scan).exists() for scan in scans), "steps run in folders of their own"
        return Result()

    monkeypatch.setattr(api, "enhance", enhance)
    monkeypatch.chdir(tmp_path)
    return seen


def test_it_runs_inside_the_graph_of_another(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    outer = Workflow(name="study", base_dir=str(tmp_path / "work"))
    source = Node(Function(["folder"], ["files"], find), name="source")
    source.inputs.folder = str(tmp_path)
    ours = init_enhance_wf(suffix="T2w", device="cpu", threads=3)
    outer.connect(source, "files", ours, "inputnode.scans")
    graph = outer.run()
    assert calls[0]["scans"] == ["a.nii.gz", "b.nii.gz"]
    assert (calls[0]["suffix"], calls[0]["device"], calls[0]["keep_geometry"]) == ("T2w", "cpu", False)
    assert calls[0]["threads"] == 3
    (step,) = (node for node in graph.nodes if node.name == "enhance")
    assert Path(step.result.outputs.qc).name == "qc.html"


def test_other_weights_in_the_same_place_are_used(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    """Files and folders may be named from the current folder; what is done is not done again."""
    (tmp_path / "mine").mkdir()
    for content, runs in (("one", 1), ("one", 1), ("other", 2)):
        (tmp_path / "mine" / "weights.safetensors").write_text(content)
        os.utime(tmp_path / "mine" / "weights.safetensors", (len(content), len(content)))
        study = Workflow(name="study", base_dir=str(tmp_path / "work"))
        ours = init_enhance_wf(suffix="T1w", device="cpu", weights="mine")
        ours.inputs.inputnode.scans = ["a.nii.gz", "b.nii.gz"]
        study.add_nodes([ours])
        study.run()
        assert len(calls) == runs
    assert Path(calls[0]["weights"]).is_absolute()
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "weights.safetensors").touch()
    step = EnhanceScans()
    assert step.inputs.weights == "auto", "the bundled ones, whatever lies here"
    step.inputs.weights = "mine"
    assert step.inputs.weights == str((tmp_path / "mine" / "weights.safetensors").resolve())


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("auto", 0), ("cpu", 0)])
def test_the_scheduler_keeps_a_gpu_for_it(device: str, gpus: int) -> None:
    """One, however many threads: what MultiProc asks for before it starts anything."""
    step = init_enhance_wf(device=device, threads=4).get_node("enhance")
    assert step.is_gpu_node() == (gpus > 0)
    assert step.n_procs == (gpus or 4)


def test_an_unknown_setting_is_refused() -> None:
    for name in ("sufix", "sloppy"):
        with pytest.raises(Exception, match=name):
            init_enhance_wf(**{name: "T1w"})
