"""The graph that other workflows import: wired into one, run with the enhancement replaced by a record of its call."""

from pathlib import Path
from typing import Any

import pytest
from nipype import Function, Node, Workflow

from bids_lfenhance import api
from bids_lfenhance.workflows.enhance import init_enhance_wf


def find(folder: str) -> list[str]:
    from pathlib import Path

    return sorted(map(str, Path(folder).glob("*.nii.gz")))


def test_it_runs_inside_the_graph_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).touch()
    seen: dict[str, Any] = {}

    class Result:
        def save(self, **paths: str) -> None:
            for path in paths.values():
                Path(path).touch()

    def enhance(*scans: str, **settings: Any) -> Result:
        seen.update(settings, scans=[Path(scan).name for scan in scans])
        return Result()

    monkeypatch.setattr(api, "enhance", enhance)
    outer = Workflow(name="study", base_dir=str(tmp_path / "work"))
    source = Node(Function(["folder"], ["files"], find), name="source")
    source.inputs.folder = str(tmp_path)
    ours = init_enhance_wf(suffix="T2w", device="cpu")
    outer.connect(source, "files", ours, "inputnode.scans")
    graph = outer.run()
    assert seen["scans"] == ["a.nii.gz", "b.nii.gz"]
    assert (seen["suffix"], seen["device"], seen["keep_geometry"]) == ("T2w", "cpu", False)
    (step,) = (node for node in graph.nodes if node.name == "enhance")
    assert Path(step.result.outputs.qc).name == "qc.html"


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(Exception, match="sufix"):
        init_enhance_wf(sufix="T1w")
