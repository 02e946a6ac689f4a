"""Who finds the regions is decided, or refused in a sentence, before anything is computed; then the graph has them."""

import json
from pathlib import Path

import pytest

from bids_lfenhance.cli.parser import parse
from bids_lfenhance.cli.run import main
from bids_lfenhance.config import settings_hash
from bids_lfenhance.data import read_text
from bids_lfenhance.errors import InputError
from bids_lfenhance.nn import weights as known
from bids_lfenhance.workflows.participant import init_subject_wf
from bids_lfenhance.workflows.run import choose_segmenter, make_run_spec

from ..dataset import tiny_regions
from .test_participant import nodes, session, spec


@pytest.fixture
def unbundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no weights of regions came with the package."""
    entries = json.loads(read_text("weights/registry.json"))
    rest = {name: entry for name, entry in entries.items() if entry["method"] != "regions"}
    monkeypatch.setattr(known, "registry", lambda: rest)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_regions(tmp_path_factory.mktemp("own"))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    root = tmp_path / "raw"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Phantoms", "BIDSVersion": "1.10.0"}')
    return [str(root), str(tmp_path / "out"), "participant", "--method", "interp"]


def test_nobody_is_asked_and_nothing_is_there(unbundled, words):
    assert choose_segmenter(parse(words)).name == "none"


def test_the_bundled_network_is_the_default(own, words, monkeypatch):
    monkeypatch.setattr(known, "default_weights", lambda method, contrasts=(): str(own))
    monkeypatch.setattr(known, "_find", lambda source, method, contrasts: (own / "weights.safetensors", None))
    chosen = choose_segmenter(parse(words))
    assert (chosen.name, chosen.weights) == ("builtin", "auto")
    assert len(chosen.sha256) == 64
    assert choose_segmenter(parse([*words, "--segmentation", "none"])).name == "none"
    assert choose_segmenter(parse([*words, "--sloppy"])).name == "none"
    assert choose_segmenter(parse([*words, "--sloppy", "--segmentation", "builtin"])).name == "builtin"


def test_own_weights_are_taken_and_known_by_content(unbundled, own, words, monkeypatch):
    monkeypatch.chdir(own.parent)
    settings = parse([*words, "--segmentation-weights", own.name])
    chosen = choose_segmenter(settings)
    assert chosen.name == "builtin"
    assert Path(chosen.weights).is_absolute()
    made = make_run_spec(settings, {"fusion": "mean"}, "cpu")
    assert (made.segmentation, made.segmentation_hash) == ("builtin", chosen.sha256)
    without = make_run_spec(parse(words), {"fusion": "mean"}, "cpu")
    assert made.settings_hash != without.settings_hash
    assert settings_hash(settings, {}, "1") == settings_hash(settings, {}, "1")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--segmentation", "builtin"], "found none .*train --method regions"),
        (["--segmentation", "synthseg"], "Expected FreeSurfer's mri_synthseg"),
        (["--segmentation", "none", "--segmentation-weights", "x"], "Expected --segmentation builtin"),
        (["--segmentation-weights", "/no/such"], "Expected weights at /no/such"),
    ],
)
def test_what_cannot_be_had_is_refused_in_a_sentence(unbundled, words, more, sentence, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=sentence) as caught:
        choose_segmenter(parse([*words, *more]))
    assert str(caught.value).startswith("Expected")
    assert str(caught.value).endswith(".")


def test_the_command_line_refuses_before_it_computes(unbundled, words, capsys, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        main([*words, "--segmentation", "freesurfer"])
    assert caught.value.code == 2
    assert "choose from" in capsys.readouterr().err


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("who", ["builtin", "synthseg"])
def test_low_field_itself_is_segmented_only_beside_high_field(paired, who):
    made = spec(segmentation=who, segmentation_weights="/w", device="cpu", threads=2)
    workflow = init_subject_wf("01", [session("HFC", paired)], made, "/out/logs/x")
    names = nodes(workflow)
    found = {name for name in names if name.endswith((".regions", ".enhanced_regions"))}
    compared = {"session_HFC_wf.regions", "reference_GE_wf.regions"} if paired else set()
    assert found == {"session_HFC_wf.enhanced_regions"} | compared
    assert all(names[name].n_procs == (1 if paired else 2) for name in found), "three at once share the threads"
    edges = workflow._create_flat_graph().edges(data=True)
    given = {target for _, to, edge in edges if to.name == "write" for _, target in edge["connect"]}
    assert {"enhanced_regions", "enhanced_region_volumes"} <= given
    assert ({"regions", "region_volumes"} <= given) is paired
    for kind in ("tissue", "regions"):
        judged = {target for _, to, edge in edges if to.name == f"compare_{kind}" for _, target in edge["connect"]}
        labels = {"labels", "enhanced_labels", "reference_labels", "volumes"}
        assert judged == (labels | {"baseline", "anatomy"} if paired else set())


LEARNED = {"weights": "auto", "precision": "bf16", "target_contrast": "auto", "device": "cpu"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"method_settings": LEARNED | {"target_contrast": "learned"}}, False),
        ({"method_settings": {"fusion": "mean"}}, False),
        ({"segmentation": "synthseg"}, False),
        ({"weights_contrasts": ("T2w",)}, False),
        ({"sloppy": True}, False),
    ],
)
def test_t1w_is_segmented_with_the_contrast_of_high_field_too(changes, expected):
    made = spec(
        **{"segmentation": "builtin", "sloppy": False, "method_settings": LEARNED, "method": "fusionnet"} | changes
    )
    workflow = init_subject_wf("01", [session("HFC", True)], made, "/out/logs/x")
    restored = [
        (to.fullname.rpartition(".")[2], edge["connect"])
        for start, to, edge in workflow._create_flat_graph().edges(data=True)
        if start.name == "restore"
    ]
    assert restored == ([("enhanced_regions", [("volume", "restored")])] if expected else [])


def test_the_graph_has_no_regions_where_nobody_finds_them():
    workflow = init_subject_wf("01", [session("HFC", True)], spec(), "/out/logs/x")
    assert not [name for name in nodes(workflow) if name.endswith("regions")]


def test_on_a_gpu_only_the_network_takes_a_slot():
    workflow = init_subject_wf("01", [session("HFC", False)], spec(segmentation="builtin", device="cuda:0"), "/x")
    regions = nodes(workflow)["session_HFC_wf.enhanced_regions"]
    assert regions.is_gpu_node()
    assert regions.n_procs == 1


def test_the_report_waits_for_the_table_of_volumes():
    names = nodes(init_subject_wf("01", [session("HFC", False)], spec(), "/out/logs/x"))
    assert "volumes" in names
