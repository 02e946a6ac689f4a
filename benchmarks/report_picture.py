"""The first screen of the report of one real head, low field SIMULATED from it, as a picture for the documentation.

python benchmarks/report_picture.py docs/images/report.jpg [--head HEAD.nii.gz] [--work DIR] [--options …]

The head counts as 3 T; three thick stacks of the 64 mT protocol are simulated and enhanced by the default method, with
``--options`` of the participant level, which stand last; the page is opened in Chromium at 1280 × 900.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.reports.browser import browser  # noqa: E402

HEAD = ROOT.parent / "shared" / "data" / "heads" / "otsu_T1_head.nii.gz"
STACKS = ("hyperfine-axi", "hyperfine-cor", "hyperfine-sag")


def high_field(folder: Path, head: Path) -> Path:
    """A dataset of one person with one T1w at 3 T."""
    anat = folder / "sub-01" / "ses-HF" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    shutil.copy(head, anat / "sub-01_ses-HF_T1w.nii.gz")
    (anat / "sub-01_ses-HF_T1w.json").write_text(json.dumps({"MagneticFieldStrength": 3}))
    about = {"Name": f"{head.name.partition('.')[0]}, low field simulated", "BIDSVersion": "1.9.0"}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    return folder


def app(*words: object) -> None:
    """One level of the app; its exit code is ours."""
    done = subprocess.run([sys.executable, "-m", "bids_lfenhance", *map(str, words)], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--head", type=Path, default=HEAD)
    parser.add_argument("--work", type=Path, help="where the datasets stay, for a second look")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of the participant level")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.work or Path(scratch)).resolve()
        raw, out = work / "raw", work / "derivative"
        app(high_field(work / "high-field", given.head), raw, "simulate", "--presets", *STACKS, "--high-field", "link")
        app(raw, out, "participant", "-w", work / "steps", *given.options)
        with browser(work) as one:
            one.open(out / "sub-01.html")
            one.wait("return document.querySelectorAll('.viewer canvas[data-slice]').length >= 3", seconds=60)
            shown = Image.open(io.BytesIO(one.screenshot())).convert("RGB")
        shown.save(given.picture, quality=82, optimize=True)
    print(f"{given.picture}: {given.picture.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
