"""The page of one scan: what it shows, and that words from outside stay words."""

import base64
import io
import re

import numpy as np
from PIL import Image

from bids_lfenhance.evaluation.usable import judge
from bids_lfenhance.reports.one_scan import page, picture

SCAN = {
    "File": "axi_T1w.nii.gz",
    "Plane": "axi",
    "Zooms": [1.6, 1.6, 5.0],
    "SNR": 12.3,
    "RotationDeg": 0.0,
    "TranslationMm": 0.0,
    "Coverage": 1.0,
}


def head() -> tuple[dict[str, np.ndarray], np.ndarray]:
    place = np.indices((40, 44, 36)).reshape(3, -1).T - np.array([20, 22, 18])
    mask = (np.linalg.norm(place, axis=1) < 14).reshape(40, 44, 36)
    image = 100.0 * mask + np.random.default_rng(0).normal(0, 5, mask.shape)
    return {"Low field": image, "Enhanced": 100.0 * mask}, mask


def test_the_page_tells_verdict_reasons_and_scans_and_escapes_them() -> None:
    images, mask = head()
    usable = judge({"Failure": "<script>alert(1)</script>"})
    text = page(
        images,
        2.0 * mask,
        mask,
        usable=usable,
        contrast="T1w",
        scans=[SCAN],
        std_percent=2.0,
        warnings=["a < b"],
        provenance={"method": "fusionnet", "draws": [1]},
    )
    assert "<script>" not in text
    for word in ("alert(1)", "a &lt; b", "axi_T1w.nii.gz", "1.6 × 1.6 × 5.0", "fusionnet"):
        assert word in text
    assert text.count('class="no"') == 3
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    content = base64.b64decode(re.search(r"data:image/jpeg;base64,([^\"]+)", text)[1])  # type: ignore[index]
    assert Image.open(io.BytesIO(content)).width > 800


def test_a_mask_without_brain_is_drawn_too() -> None:
    images, mask = head()
    assert picture(images, 2.0 * mask, np.zeros_like(mask)).startswith(b"\xff\xd8")
