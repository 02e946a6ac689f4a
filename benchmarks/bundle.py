"""Put a training's weights into the package, in half precision, under a name: what ``--weights auto`` finds.

    python benchmarks/bundle.py pfsr-t1w-t2w TRAINED --strength 0.4 --tests TESTS.md
    python benchmarks/bundle.py h2lo TRAINED-T1w TRAINED-T2w --method h2lo --tests TESTS.md

Several trainings of ``h2lo``, whose contrasts have networks of their own, become one file.

``--strength`` and ``--contrast`` are chosen on validation subjects after the training; ``--tests``, Markdown, goes to
the end of the card.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bids_lfenhance.bids.atomic import atomic_write
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.data import data_path
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.options import settings_of_weights
from bids_lfenhance.nn.weights import WEIGHTS, LoadedWeights, load_weights, registry, save_weights
from bids_lfenhance.training.split import PARTS


def merged(every: Sequence[LoadedWeights]) -> LoadedWeights:
    """Weights of one method for different contrasts as one; the recipe is the first's, what was learned from all."""
    first = every[0]
    contrasts = tuple(name for name in CONTRASTS if any(name in one.contrasts for one in every))
    settings = {**first.settings, "contrast": "all"}
    together = {key: [row for one in every for row in one.recipe[key]] for key in ("data", "sources")}
    together["trained_on"] = sorted({person for one in every for person in one.trained_on})
    split = {part: [name for one in every for name in one.recipe["split"][part]] for part in PARTS}
    recipe = {**first.recipe, **together, "contrasts": list(contrasts), "split": first.recipe["split"] | split}
    state = {name: weights for one in every for name, weights in one.state.items() if name in one.contrasts}
    card = "\n\n".join(one.card.replace(one.sha256, "{sha256}") for one in every)
    return replace(first, contrasts=contrasts, settings=settings, state=state, recipe=recipe, card=card, sha256="")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("trained", type=Path, nargs="+")
    parser.add_argument("--method", default="pfsr")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--contrast", choices=["none", "restored"])
    parser.add_argument("--tests", type=Path)
    given = parser.parse_args()
    method = get_trainable(given.method)
    named = method.about.weights_name
    every = [load_weights(folder, named, ()) for folder in given.trained]
    loaded = every[0] if len(every) == 1 else merged(every)
    chosen = {"strength": given.strength, "contrast": given.contrast}
    settings = {**loaded.settings, **{name: value for name, value in chosen.items() if value is not None}}
    nets = method.build(method.about.settings(**settings_of_weights(method.about, settings)))
    nets = loaded.into({name: net for name, net in nets.items() if name in loaded.state}, "cpu")
    # Where the files lay is nobody's business; which they were, their hashes tell.
    sources = ["/".join(Path(source).parts[-3:]) for source in loaded.recipe["sources"]]
    recipe = {**loaded.recipe, "settings": settings, "sources": sources}
    card = loaded.card.replace(loaded.sha256, "{sha256}") if loaded.sha256 else loaded.card
    if given.tests:
        card += "\n" + given.tests.read_text(encoding="utf-8")
    folder = save_weights(data_path("weights") / given.name, nets, recipe, card, dtype="bf16")
    digest = load_weights(folder, named, ()).sha256
    entry = {"method": named, "contrasts": list(loaded.contrasts), "preset": "tiny"}
    entries = registry() | {given.name: entry | {"file": f"{given.name}/{WEIGHTS}", "sha256": digest}}
    atomic_write(data_path("weights") / "registry.json", json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
