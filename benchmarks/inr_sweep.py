"""What each setting of ``inr`` is worth, on the TUNING heads only: one line of PSNR and CPU seconds per variant.

python benchmarks/inr_sweep.py sub-01 sub-02 [--variants "steps=1" "width=128,steps=600"]

A variant is a list of settings that differ from the ``cpu`` budget; one seed each. Scans, scoring and options are those
of benchmarks/fidelity.py. The heads that README quotes (sub-53, sub-55, head) are not for this file.
"""

import argparse
import ast
from dataclasses import replace
from typing import Any

import numpy as np
from fidelity import by_method, make_case, parse, score

from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.resources import track_usage

VARIANTS = (
    "contrast='none',steps=1",
    "steps=1",
    "",
    "restore=1.0",
    "base='mean'",
    "psf=False",
    "tv=0.0",
    "seg=0.0",
    "omega=10.0",
    "omega=40.0",
    "width=128",
)


def settings_of(variant: str) -> dict[str, Any]:
    """The settings a variant names, as literals: ``"width=64,base='sr'"``.

    >>> settings_of("width=64,base='sr'")
    {'width': 64, 'base': 'sr'}
    """
    call = ast.parse(f"f({variant})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    ours, others = parser.parse_known_args()
    options = parse([*ours.subjects, *others])
    inr = get_method("inr")
    for subject in ours.subjects:
        case = make_case(options.data, subject, options)
        mean = by_method("interp", "cpu", 0)(case.volume)
        baseline = {name: score(case, mean, name)[0] for name in options.contrasts}
        for variant in ours.variants:
            settings = replace(inr.about.sampling(), **settings_of(variant))
            with track_usage() as usage:
                image = enhance(case.volume, inr, settings, np.random.default_rng(options.seed), 1).image
            for name in options.contrasts:
                psnr = score(case, [image], name)[0]
                text = f"{subject:8} {name:6} {variant or 'as it is':30} {psnr:6.2f} {psnr - baseline[name]:+6.2f}"
                print(f"{text} {usage.cpu_seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
