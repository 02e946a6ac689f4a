"""Weights: what was saved is what is loaded, and whatever else is refused in one sentence."""

import json
import pickle
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bids_lfenhance.nn import weights
from bids_lfenhance.nn.weights import (
    default_weights,
    lasting_place,
    load_weights,
    save_weights,
    with_lasting_places,
)

from ..refusals import refused

RECIPE: Mapping[str, Any] = {
    "method": "toy",
    "contrasts": ["T1w", "T2w"],
    "settings": {"width": 4, "rate": 0.1, "kind": "a"},
    "trained_on": ["ds/01"],
    "nothing": None,
    "nested": {"none": None, "pair": (1, 2)},
}


def nets() -> dict[str, nn.Module]:
    torch.manual_seed(3)
    return {"one": nn.Linear(4, 3), "two": nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_weights(tmp_path / "run", nets(), RECIPE, "# card\n")


def register(monkeypatch: pytest.MonkeyPatch, entries: Mapping[str, Any]) -> None:
    monkeypatch.setattr(weights, "read_text", lambda _: json.dumps(entries))


@pytest.mark.parametrize("name", ["", "weights.safetensors"])
def test_round_trip(folder: Path, name: str) -> None:
    loaded = load_weights(folder / name, "toy", ["T1w"])
    for net, module in nets().items():
        module.load_state_dict(loaded.state[net])
        for key, value in nets()[net].state_dict().items():
            assert torch.equal(module.state_dict()[key], value)
    assert loaded.settings == RECIPE["settings"]
    assert loaded.contrasts == ("T1w", "T2w")
    assert loaded.trained_on == ("ds/01",)
    assert Path(loaded.where) == loaded.path
    assert load_weights("auto", "fusionnet", ["T1w"]).where == "fusionnet/weights.safetensors", "no one's home"
    assert loaded.card == "# card\n"
    assert loaded.recipe["weights_sha256"] == loaded.sha256
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    assert recipe["nested"] == {"pair": [1, 2]}


def test_bf16_halves_the_file_and_comes_back_as_float32(tmp_path: Path) -> None:
    sizes = []
    for dtype in ("fp32", "bf16"):
        big = {"net": nn.Linear(200, 200)}
        save_weights(tmp_path / dtype, big, RECIPE, "", dtype)  # type: ignore[arg-type]
        sizes.append((tmp_path / dtype / "weights.safetensors").stat().st_size)
        state = load_weights(tmp_path / dtype, "toy", []).state["net"]
        assert state["weight"].dtype == torch.float32
        torch.testing.assert_close(state["weight"], big["net"].weight.detach(), rtol=2**-8, atol=0)
    assert sizes[1] < 0.52 * sizes[0]


def refuses(
    code: str, source: Path | str, method: str = "toy", contrasts: tuple[str, ...] = ("T1w",), **fields: Any
) -> None:
    with refused(code, **fields):
        load_weights(source, method, contrasts)


def test_weights_of_another_method_or_other_contrasts_are_refused(folder: Path) -> None:
    refuses("other-weights", folder, "pfsr", found="toy")
    refuses("unknown-contrast", folder, contrasts=("T1w", "FLAIR"))


def test_tampered_weights_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    refuses("other-hash", folder)
    refuses("other-hash", path, path=path)


def test_what_is_no_safetensors_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Trap()))
    refuses("not-safetensors", path)
    assert not (tmp_path / "sprung").exists()
    path.write_bytes(b"")
    refuses("not-safetensors", path)


def test_safetensors_of_other_makers_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    about = {"method": "pfsr", "contrasts": ["T1w"], "settings": {}, "trained_on": []}
    odd = [json.dumps(about | wrong) for wrong in ({"contrasts": 5}, {"trained_on": None}, {"settings": "x"})]
    for metadata in (None, {"format": "pt"}, *({"bids_lfenhance": text} for text in ("no json", *odd))):
        save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors", metadata)
        refuses("other-maker", tmp_path / "other.safetensors")


def test_missing_weights_say_how_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"toy-tiny": {"method": "toy", "contrasts": ["T2w"], "file": "x", "sha256": "0"}})
    refuses("no-weights", tmp_path / "nowhere", known=("toy-tiny",))
    refuses("no-weights", "auto")
    (tmp_path / "weights.safetensors").mkdir()
    refuses("no-weights", tmp_path)


def test_a_folder_of_the_same_name_as_bundled_weights_is_asked_about(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, {"run": {"method": "toy", "contrasts": ["T1w"], "file": "x", "sha256": "0"}})
    monkeypatch.chdir(folder.parent)
    refuses("ambiguous-weights", "run", name="run")
    assert load_weights("./run", "toy", ()).card == "# card\n"


def test_a_path_is_said_from_any_folder_and_a_name_stays_one(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "auto").mkdir()
    given = {"weights": folder.name, "estimate_weights": "auto", "parameters": "", "precision": folder.name}
    assert with_lasting_places(given) == given | {"weights": str(folder.resolve())}
    assert lasting_place("nowhere") == "nowhere"


def test_weights_of_other_networks_are_refused_in_a_sentence(folder: Path) -> None:
    loaded = load_weights(folder, "toy", ())
    for other in ({"one": nn.Linear(4, 2)}, {"three": nn.Linear(4, 3)}):
        with refused("other-weights"):
            loaded.into(other, "cpu")


def test_bundled_weights_are_found_by_name_and_by_what_they_know(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = load_weights(folder, "toy", []).sha256
    entry = {"method": "toy", "contrasts": ["T1w"], "file": "weights.safetensors", "sha256": digest}
    monkeypatch.setattr(weights, "data_path", lambda _: folder)
    register(monkeypatch, {"bundled": entry})
    assert load_weights("bundled", "toy", ["T1w"]).sha256 == digest
    assert load_weights("auto", "toy", ["T1w"]).sha256 == digest
    assert default_weights("toy", ["T1w"]) == "bundled"
    assert default_weights("toy", ["FLAIR"]) is None
    assert default_weights("other") is None
    register(monkeypatch, {"bundled": entry | {"sha256": "0" * 64}})
    refuses("other-hash", "bundled", contrasts=())
    register(monkeypatch, {"bundled": entry | {"file": "gone.safetensors"}})
    refuses("not-readable", "bundled", contrasts=())


def test_an_address_needs_its_hash_and_is_fetched_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIDS_LFENHANCE_WEIGHTS", str(tmp_path / "cache"))
    far = tmp_path / "far.safetensors"
    far.write_bytes((folder / "weights.safetensors").read_bytes())
    digest = load_weights(folder, "toy", ["T1w"]).sha256
    refuses("no-hash", far.as_uri())
    refuses("no-hash", f"{far.as_uri()}#sha256=123")
    refuses("other-hash", f"{far.as_uri()}#sha256={'0' * 64}", url=far.as_uri())
    refuses("not-fetched", f"file:///gone#sha256={digest}", url="file:///gone")
    assert not (tmp_path / "cache").exists()
    for _ in range(2):
        loaded = load_weights(f"{far.as_uri()}#sha256={digest}", "toy", ["T1w"])
        assert loaded.sha256 == digest
        assert loaded.path.parent == tmp_path / "cache"
        far.unlink(missing_ok=True)  # the second time from the cache
    loaded.path.write_bytes(loaded.path.read_bytes()[:-1])
    refuses("other-hash", f"{far.as_uri()}#sha256={digest}", contrasts=())


def test_the_bundled_registry_is_whole() -> None:
    for name, entry in weights.registry().items():
        assert {"method", "contrasts", "preset", "sha256"} <= set(entry), name
        loaded = load_weights(name, entry["method"], entry["contrasts"])
        assert loaded.sha256 == entry["sha256"]
