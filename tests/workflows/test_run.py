"""What a run decides before and after its graph: threads, and which intermediate files go."""

import gzip
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nipype import Workflow
from nipype.interfaces.base.support import InterfaceResult

from bids_lfenhance.bids.sessions import Plan
from bids_lfenhance.config import Settings
from bids_lfenhance.derivatives.volumes import volumes_path
from bids_lfenhance.workflows import engine, run
from bids_lfenhance.workflows.participant import MEMORY_GB, init_session_wf, memory_gb
from bids_lfenhance.workflows.work_folder import remove_damaged, working_in

from ..refusals import refused
from .test_participant import nodes, session, spec
from .toy import ToyOutputs


@pytest.mark.parametrize(
    ("sessions", "processors", "asked", "threads"),
    [(1, 8, None, 4), (2, 8, None, 4), (4, 8, None, 2), (200, 8, None, 1), (200, 8, 3, 3), (0, 2, None, 2)],
)
def test_several_sessions_share_the_processors(
    tmp_path: Path, sessions: int, processors: int, asked: int | None, threads: int
) -> None:
    settings = Settings(tmp_path, tmp_path / "out", nprocs=processors, omp_nthreads=asked)
    most = spec(threads=min(asked or run.MOST_THREADS, processors))
    assert run._threads(settings, most, sessions) == threads


@pytest.mark.parametrize(
    ("sessions", "processors", "memory", "share"),
    [
        (1, 8, 16.0, 16.0),
        (2, 8, 16.0, 8.0),
        (9, 2, 24.0, 12.0),
        (9, 16, 10.0, 5.0),
        (0, 2, 4.0, 4.0),
        (9, 16, 3.0, 3.0),
    ],
)
def test_enhancements_that_go_at_once_share_the_memory(
    tmp_path: Path, sessions: int, processors: int, memory: float, share: float
) -> None:
    """Each would fill all of it otherwise, and together be killed; never less than the scheduler sets aside for one."""
    settings = Settings(tmp_path, tmp_path / "out", nprocs=processors)
    assert run._memory_per_enhancement(settings, spec(mem_gb=memory, threads=1), sessions) == share - run.LIBRARIES_GB


def test_only_networks_get_several_threads() -> None:
    network = {"device": "cpu"}
    threads = {
        name: nodes(init_session_wf(session("A", paired=False), spec(method=method, method_settings=given)))
        for name, method, given in (("interp", "interp", {}), ("inr", "inr", network))
    }
    assert threads["interp"]["enhance"].n_procs == 1
    assert threads["inr"]["enhance"].n_procs == 2
    assert threads["inr"]["prepare"].n_procs == 1


@pytest.mark.parametrize("step", [*MEMORY_GB, "enhanced_tissue", "normalise_1", "report"])
def test_a_rough_run_asks_for_less_memory(step: str) -> None:
    assert 0.5 <= memory_gb(step, sloppy=True) <= memory_gb(step, sloppy=False)


def test_clean_workdir_takes_only_what_is_of_its_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "execute_graph", lambda *given: [])
    monkeypatch.setattr(run, "limit_threads", lambda threads: None)
    settings = Settings(tmp_path, tmp_path / "out", work_dir=tmp_path / "work", method="interp", sloppy=True)
    left = {who: run.subject_folder(run.work_folder(settings, spec()), who) / "old.npz" for who in ("01", "02")}
    for clean, there in ((False, True), (True, False)):
        for path in left.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        given = Settings(**(vars(settings) | {"clean_workdir": clean}))
        run._execute(given, spec(), {"01": [session("A", paired=False)]}, tmp_path / "logs")
        assert left["01"].exists() == there
        assert left["02"].exists(), "another run may be at it"


def test_what_was_written_and_lost_or_replaced_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a session that is not complete the step that writes is forgotten, though it was done; no other step is."""
    monkeypatch.setattr(engine, "execute_graph", lambda *given: [])
    monkeypatch.setattr(run, "limit_threads", lambda threads: None)
    monkeypatch.setattr(run, "is_complete", lambda session, _: session.session == "B")
    settings = Settings(tmp_path, tmp_path / "out", work_dir=tmp_path / "work", method="interp", sloppy=True)
    graph = run.subject_folder(run.work_folder(settings, spec()), "01")
    steps = [graph / f"session_{name}_wf" / step for name in "AB" for step in ("write", "enhance")]
    for step in steps:
        step.mkdir(parents=True)
    run._execute(settings, spec(), {"01": [session(name, paired=False) for name in "AB"]}, tmp_path / "logs")
    assert [step.exists() for step in steps] == [False, True, True, True]


def test_sessions_that_are_there_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follow-up costs a session; a page that was lost costs the page."""
    given: list[Workflow] = []
    monkeypatch.setattr(engine, "execute_graph", lambda graphs, *others: given.extend(graphs) or [])
    monkeypatch.setattr(run, "limit_threads", lambda threads: None)
    settings = Settings(tmp_path, tmp_path / "out", work_dir=tmp_path / "work", method="interp", sloppy=True)
    for there, left in (("A", {"session_B_wf"}), ("AB", set())):
        given.clear()
        monkeypatch.setattr(run, "is_complete", lambda session, _, there=there: session.session in there)
        run._execute(settings, spec(), {"01": [session(name, paired=False) for name in "AB"]}, tmp_path / "logs")
        (graph,) = given
        assert {name.split(".")[0] for name in graph.list_node_names()} == {"written", "volumes", "report"} | left


@pytest.mark.parametrize("home", ["home", "a file"])
def test_a_run_does_not_stand_in_the_folder_that_it_was_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    """It may go; and matplotlib keeps its fonts in the work folder where it has no other."""
    (tmp_path / "start").mkdir()
    (tmp_path / "a file").touch()
    monkeypatch.chdir(tmp_path / "start")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / home))
    monkeypatch.setenv("MPLCONFIGDIR", "")
    monkeypatch.delenv("MPLCONFIGDIR")
    with working_in(tmp_path / "work"):
        (tmp_path / "start").rmdir()
        assert Path.cwd() == tmp_path / "work"
        kept = {"a file": str(tmp_path / "work" / "matplotlib")}.get(home)
        assert os.environ.get("MPLCONFIGDIR") == kept
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", "tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    with working_in(tmp_path / "work"):
        assert os.environ["TMPDIR"] == str(tmp_path / "tmp"), "of a relative one workers would make another"
    assert Path.cwd() == tmp_path


def test_steps_whose_results_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    """As a kill, a full disk or a tidied /tmp leaves them; nipype would take them for done."""

    def step(name: str, **outputs: str) -> Path:
        folder = tmp_path / "graph" / name
        folder.mkdir(parents=True)
        np.savez(folder / "image.npz", image=np.arange(99))
        made = ToyOutputs(**(outputs or {"file": str(folder / "image.npz")}))
        with gzip.open(folder / f"result_{name}.pklz", "wb") as file:
            pickle.dump(InterfaceResult(None, None, outputs=made), file)
        return folder

    whole, words = step("whole"), step("words", word="no file")
    cut, empty, gone, overwritten, result = (step(name) for name in ("cut", "empty", "gone", "overwritten", "result"))
    content = (cut / "image.npz").read_bytes()
    (cut / "image.npz").write_bytes(content[:-30])
    (empty / "image.npz").write_bytes(b"")
    (gone / "image.npz").unlink()
    (overwritten / "image.npz").write_bytes(content[:200] + bytes(64) + content[264:])
    (result / "result_result.pklz").write_bytes((result / "result_result.pklz").read_bytes()[:40])
    remove_damaged(tmp_path)
    assert set((tmp_path / "graph").iterdir()) == {whole, words}


def test_a_subject_of_an_earlier_run_that_was_not_begun_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are there, of other settings: the run ended before it."""
    monkeypatch.setattr(run, "missing_outputs", lambda session, spec: [])
    monkeypatch.setattr(run, "is_complete", lambda session, spec: False)
    monkeypatch.setattr(run, "record_failures", lambda *given: None)
    (tmp_path / "sub-01.html").touch()
    outcome = run.Outcome(tmp_path)
    run._collect_outcomes(Settings(tmp_path, tmp_path), spec(), {"01": [session("A", paired=False)]}, [], outcome)
    assert (outcome.done, list(outcome.failed)) == ([], ["01"])


def test_a_subject_of_which_nothing_may_be_read_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tmp_path, tmp_path / "out", work_dir=tmp_path / "work", method="interp", sloppy=True)
    (settings.out_dir / "sub-02").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != settings.out_dir / "sub-02")
    for name in ("write_dataset_files", "open_log", "append_log", "_write_citation", "_collect_outcomes"):
        monkeypatch.setattr(run, name, lambda *given, **named: None)
    begun: list[str] = []
    monkeypatch.setattr(run, "_execute", lambda settings, spec, todo, run_dir: begun.extend(todo))
    plan = Plan(tuple(replace(session("A", paired=False), subject=who) for who in ("01", "02", "03")))
    outcome = run.run_participants(settings, spec(), plan)
    assert begun == ["01", "03"]
    assert str(settings.out_dir / "sub-02") in outcome.failed["02"][0]
    assert outcome.exit_code == 1


def test_what_a_finished_subject_left_in_the_work_folder_goes(tmp_path: Path) -> None:
    """As after a kill between the last step and the tidying up."""
    settings = Settings(tmp_path, tmp_path / "out", work_dir=tmp_path / "work", method="interp", sloppy=True)
    folders = [run.subject_folder(run.work_folder(settings, spec()), who) for who in ("01", "02")]
    for folder in folders:
        folder.mkdir(parents=True)
    run._tidy(settings, spec(), "01")
    with run.exclusive_run(settings.out_dir, "02"):
        run._tidy(settings, spec(), "02")
    assert [folder.exists() for folder in folders] == [False, True]


@pytest.mark.parametrize("sloppy", [False, True])
def test_too_little_memory_is_refused_before_anything_is_computed(tmp_path: Path, sloppy: bool) -> None:
    settings = Settings(tmp_path / "raw", tmp_path / "out", work_dir=tmp_path / "work", sloppy=sloppy)
    steps = [memory_gb(step, sloppy) for step in MEMORY_GB]
    run.check_request(settings, spec(mem_gb=max(steps)))
    with refused("no-memory", needed=max(steps)):
        run.check_request(settings, spec(mem_gb=max(steps) - 0.2))


@pytest.mark.parametrize("lost", ["", "page", "figure", "volumes", "images"])
def test_a_subject_is_done_with_its_page_its_table_and_its_images(tmp_path: Path, monkeypatch, lost: str):
    page, table, figure = tmp_path / "sub-01.html", volumes_path(tmp_path, "01"), tmp_path / "sub-01.png"
    files = {"page": page, "figure": figure, "volumes": table}
    table.parent.mkdir(parents=True)
    for path in files.values():
        path.write_text('<meta name="figures" content="sub-01.png"><style>')
    if lost in files:
        files[lost].unlink()
    monkeypatch.setattr(run, "is_complete", lambda *_: lost != "images")
    own = [session("A", paired=False)]
    assert run._is_done(Settings(tmp_path, tmp_path), "01", own, spec()) is (not lost)
