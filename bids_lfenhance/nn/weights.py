"""Weights on disk: safetensors, a recipe and a card; found by folder, file or name; never unpickled."""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from .._version import __version__
from ..bids.atomic import atomic_write
from ..config.toml import dumps
from ..data import data_path, read_text
from ..errors import InputError, usable_paths
from .settings import JsonObject

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WEIGHTS, RECIPE, CARD = "weights.safetensors", "recipe.toml", "card.md"
"""The files of a training that the weights need: themselves, how they were made, and what a person should know."""

KEY = "bids_lfenhance"
"""Entry of the safetensors header that says what the weights are, as JSON."""

CACHE = "BIDS_LFENHANCE_WEIGHTS"
"""Environment variable that names the folder in which downloaded weights are kept."""


@dataclass(frozen=True)
class LoadedWeights:
    """Weights as read: ``state`` net → parameter → tensor (half precision becomes float32); ``settings`` of the
    method they were trained with; ``contrasts`` they know; ``trained_on`` persons (``dataset/subject``) they, or what
    they were made with, have seen; ``sha256`` of the file; ``recipe`` and ``card`` where they came along, else empty.
    """

    path: Path
    method: str
    contrasts: tuple[str, ...]
    settings: JsonObject
    trained_on: tuple[str, ...]
    state: "Mapping[str, Mapping[str, Tensor]]"
    sha256: str
    recipe: JsonObject
    card: str

    @property
    def where(self) -> str:
        """The file, of bundled weights below the package's own: sidecars are shared, and shall not tell of a home."""
        own = data_path("weights")
        return self.path.relative_to(own).as_posix() if self.path.is_relative_to(own) else str(self.path)

    def into(self, nets: "dict[str, nn.Module]", device: "torch.device | str") -> "dict[str, nn.Module]":
        """The networks with these weights, on the device, in evaluation mode."""
        for name, net in nets.items():
            try:
                net.load_state_dict(self.state[name])
            except (KeyError, RuntimeError) as error:
                message = (
                    f"Expected weights of the network '{name}' of {self.method} in {self.path}, as its settings shape "
                    f"it, found others ({str(error).partition(chr(10))[0]}); choose other weights."
                )
                raise InputError(message, code="other-weights", path=self.path) from None
            net.to(device).eval()
        return nets


class Entry(TypedDict):
    """Weights known by name: their file in the package's ``data/weights``, and what it must hash to."""

    method: str
    contrasts: list[str]
    preset: str
    file: str
    sha256: str


class Header(TypedDict):
    """What the header of a file of weights holds."""

    method: str
    contrasts: list[str]
    settings: JsonObject
    trained_on: list[str]


def save_weights(
    folder: str | Path,
    nets: "Mapping[str, nn.Module]",
    recipe: JsonObject,
    card: str,
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32",
) -> Path:
    """The folder, now with ``weights.safetensors``, ``recipe.toml`` and ``card.md``.

    ``recipe`` holds plain values, at least ``method``, ``contrasts`` and ``settings``; the hash of the weights is added
    to it, and stands in the card where that says ``{sha256}``. ``dtype`` is that of the floating-point weights in the
    file.
    """
    import torch
    from safetensors.torch import save

    folder = Path(folder)
    about = {
        "method": str(recipe["method"]),
        "contrasts": list(recipe["contrasts"]),
        "settings": dict(recipe["settings"]),
        "trained_on": list(recipe.get("trained_on", ())),
        "version": __version__,
    }
    # One entry: safetensors writes several in an order of its own each time, and the same weights have one hash.
    metadata = {KEY: json.dumps(about, sort_keys=True)}
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    tensors = {}
    for name, net in nets.items():
        for key, value in net.state_dict().items():
            kind = kinds[dtype] if value.is_floating_point() and dtype in kinds else value.dtype
            tensors[f"{name}.{key}"] = value.detach().cpu().to(kind).contiguous()
    content = save(tensors, metadata)
    digest = hashlib.sha256(content).hexdigest()
    # The recipe holds the hash, so it is written last, when the file it describes is in place.
    atomic_write(folder / WEIGHTS, content)
    atomic_write(folder / CARD, card.replace("{sha256}", digest))
    atomic_write(folder / RECIPE, dumps({**recipe, "weights_sha256": digest}))
    return folder


def load_weights(source: str | Path, method: str, contrasts: Sequence[str]) -> LoadedWeights:
    """The weights of a method for these contrasts; an ``InputError`` where they are not what was asked for.

    ``source`` is a folder of a training, a ``.safetensors`` file, a name of the registry, "auto" for the method's
    own entry there, or ``https://…#sha256=…``, which is fetched once and kept.
    """
    path, expected = _find(str(source), method, contrasts)
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    recipe = _recipe(path.with_name(RECIPE)) if path.name == WEIGHTS else {}
    expected = expected or recipe.get("weights_sha256")
    if expected and digest != expected:
        message = (
            f"Expected weights with the hash {expected[:12]}… in {path}, found {digest[:12]}…: the file was changed or "
            "cut short; copy or download it again."
        )
        raise InputError(message, code="other-hash", path=path)
    header, tensors = _parse(content, path)
    found, known = header["method"], header["contrasts"]
    if found != method:
        message = f"Expected weights of {method} in {path}, found those of {found}; choose others."
        raise InputError(message, code="other-weights", found=found)
    missing = [name for name in contrasts if name not in known]
    if missing:
        message = (
            f"Expected weights that know {', '.join(missing)}, found {path} trained on {', '.join(known)}; leave out "
            f"the other contrasts, or train on them: bids_lfenhance DATASET OUT train --method {method}."
        )
        raise InputError(message, code="unknown-contrast", contrasts=tuple(missing))
    state: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        net, _, parameter = key.partition(".")
        state.setdefault(net, {})[parameter] = value
    card = path.with_name(CARD)
    text = card.read_text(encoding="utf-8", errors="replace") if path.name == WEIGHTS and card.is_file() else ""
    seen = tuple(header["trained_on"])
    return LoadedWeights(path, method, tuple(known), header["settings"], seen, state, digest, recipe, text)


def load_for_session(source: str, method: str, contrasts: Sequence[str]) -> LoadedWeights:
    """The weights asked for; with "auto" the bundled ones that know the session's contrasts, if there are any.

    Weights that know only some of the contrasts will do; the others keep their own image.
    """
    if source == "auto":
        source = default_weights(method, contrasts) or "auto"
    return load_weights(source, method, ())


def default_weights(method: str, contrasts: Sequence[str] = ()) -> str | None:
    """The name of the first weights in the registry for a method that know these contrasts; None if there are none."""
    for name, entry in registry().items():
        if entry["method"] == method and set(contrasts) <= set(entry["contrasts"]):
            return name
    return None


def registry() -> dict[str, Entry]:
    """{name: entry} of the bundled weights."""
    entries: dict[str, Entry] = json.loads(read_text("weights/registry.json"))
    return entries


def is_address(source: str) -> bool:
    """Whether weights are named by where they are to be fetched from."""
    return source.startswith(("https://", "http://", "file://"))


PLACES = ("weights", "estimate_weights", "parameters")
"""Settings of methods and simulators that say where something lies: what lies there may have moved."""


def with_lasting_places(options: JsonObject) -> JsonObject:
    """The options, paths of ``PLACES`` absolute: a file of settings is also read from another folder."""
    return {key: lasting_place(value) if key in PLACES else value for key, value in options.items()}


def lasting_place(source: str) -> str:
    """Where weights or parameters lie, as it is said from any folder; a name or an address stays as it is."""
    is_name = source in ("", "auto") or source in registry() or is_address(source)
    return source if is_name or not Path(source).exists() else str(Path(source).resolve())


def cache_folder() -> Path:
    """Where downloaded weights are kept: ``$BIDS_LFENHANCE_WEIGHTS``, or a folder of the user's cache."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path.home() / ".cache" / "bids_lfenhance" / "weights"


@usable_paths()
def _find(source: str, method: str, contrasts: Sequence[str]) -> tuple[Path, str | None]:
    """(The file, the hash it must have or None)."""
    if source == "auto":
        name = default_weights(method, contrasts)
        if name is None:
            raise _no_weights(f"weights of {method} for {', '.join(contrasts) or 'any contrast'}", method)
        source = name
    entries = registry()
    if source in entries:
        if (Path(source) / WEIGHTS).is_file():
            message = (
                f"Expected one meaning of '{source}', found bundled weights of that name and a folder with weights "
                f"here; name the folder as ./{source}, or start elsewhere for the bundled ones."
            )
            raise InputError(message, code="ambiguous-weights", name=source)
        return data_path("weights") / entries[source]["file"], entries[source]["sha256"]
    if is_address(source):
        return _of_url(source)
    path = Path(source)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise _no_weights(f"weights at {path}", method)
    return path, None


def _no_weights(wanted: str, method: str) -> InputError:
    known = tuple(name for name, entry in registry().items() if entry["method"] == method)
    return InputError(
        f"Expected {wanted}, found none (by name there are: {', '.join(known) or 'none'}); name a folder of a "
        f"training, or train: bids_lfenhance DATASET OUT train --method {method}.",
        code="no-weights",
        known=known,
    )


def _of_url(source: str) -> tuple[Path, str]:
    """(The file as it was fetched, its hash) of an address that ends in the hash."""
    url, _, digest = source.partition("#sha256=")
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InputError(
            f"Expected weights at an address with #sha256= and 64 hexadecimal digits at its end, found {source}; add "
            "the hash, so that what comes is what was meant.",
            code="no-hash",
        )
    cached = cache_folder() / f"{digest}.safetensors"
    if not cached.is_file():
        _download(url, digest, cached)
    return cached, digest


def _download(url: str, digest: str, path: Path) -> None:
    """Fetch a file into the cache; it lands there only with the right hash."""
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=60) as response:
            content: bytes = response.read()
    except (OSError, ValueError) as error:
        message = f"Expected weights at {url}, found no way to fetch them ({error}); put the file at {path} by hand."
        raise InputError(message, code="not-fetched", url=url) from error
    if hashlib.sha256(content).hexdigest() != digest:
        message = f"Expected weights with the hash {digest[:12]}… at {url}, found a file with another; do not use it."
        raise InputError(message, code="other-hash", url=url)
    atomic_write(path, content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"Expected weights in {path}, found a file that cannot be read ({error.strerror})."
        raise InputError(message, code="not-readable", path=path) from error


def _recipe(path: Path) -> JsonObject:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"Expected a recipe in {path}, found no TOML ({error}); copy the training again."
        raise InputError(message, code="bad-toml", path=path) from error


def _parse(content: bytes, path: Path) -> "tuple[Header, dict[str, Tensor]]":
    """(What the file says of itself, tensors in float32 where they are floating-point) of a safetensors file."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][KEY])
        # Cloned, as what is read from a file lies at odd addresses, and sums may depend on that.
        half = (torch.bfloat16, torch.float16)
        whole = {key: (v.float() if v.dtype in half else v.clone()) for key, v in tensors.items()}
        header: Header = {
            "method": about["method"],
            "contrasts": about["contrasts"],
            "settings": about["settings"],
            "trained_on": about["trained_on"],
        }
        if not (isinstance(about["settings"], Mapping) and isinstance(about["contrasts"], list)):
            raise TypeError("settings must be a mapping, contrasts a list")
        if not isinstance(about["trained_on"], list):
            raise TypeError("trained_on must be a list")
        return header, whole
    except SafetensorError as error:
        message = f"Expected safetensors in {path}, found something else ({error}); choose another."
        raise InputError(message, code="not-safetensors", path=path) from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"Expected weights made by bids_lfenhance in {path}, found others; choose another."
        raise InputError(message, code="other-maker", path=path) from error
