"""Put a training's weights into the package, in half precision, under a name: what ``--weights auto`` finds.

    python benchmarks/bundle.py TRAINED pfsr-t1w-t2w --strength 0.4 --tests TESTS.md

``--strength`` and ``--contrast`` are chosen on validation subjects after the training; ``--tests``, Markdown, goes to
the end of the card.
"""

import argparse
import json
from pathlib import Path

from bids_lfenhance.bids.atomic import atomic_write
from bids_lfenhance.data import data_path
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.options import settings_of_weights
from bids_lfenhance.nn.weights import WEIGHTS, load_weights, registry, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trained", type=Path)
    parser.add_argument("name")
    parser.add_argument("--method", default="pfsr")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--contrast", choices=["none", "restored"])
    parser.add_argument("--tests", type=Path)
    given = parser.parse_args()
    method = get_trainable(given.method)
    named = method.about.weights_name
    loaded = load_weights(given.trained, named, ())
    chosen = {"strength": given.strength, "contrast": given.contrast}
    settings = {**loaded.settings, **{name: value for name, value in chosen.items() if value is not None}}
    nets = method.build(method.about.settings(**settings_of_weights(method.about, settings)))
    for name, net in nets.items():
        net.load_state_dict(loaded.state[name])
    # Where the files lay is nobody's business; which they were, their hashes tell.
    sources = ["/".join(Path(source).parts[-3:]) for source in loaded.recipe["sources"]]
    recipe = {**loaded.recipe, "settings": settings, "sources": sources}
    card = loaded.card.replace(loaded.sha256, "{sha256}")
    if given.tests:
        card += "\n" + given.tests.read_text(encoding="utf-8")
    folder = save_weights(data_path("weights") / given.name, nets, recipe, card, dtype="bf16")
    digest = load_weights(folder, named, ()).sha256
    entry = {"method": named, "contrasts": list(loaded.contrasts), "preset": "tiny"}
    entries = registry() | {given.name: entry | {"file": f"{given.name}/{WEIGHTS}", "sha256": digest}}
    atomic_write(data_path("weights") / "registry.json", json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
