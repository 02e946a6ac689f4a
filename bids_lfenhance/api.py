"""One scan, or the stacks of one scan, enhanced in memory: no dataset, no working folder, nothing written unasked."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .config import CONTRASTS
from .errors import InputError, ScanWarning
from .methods.options import Precision, TargetContrast
from .outputs import check_outputs, write_image

if TYPE_CHECKING:
    import nibabel as nib
    import numpy as np
    import pandas as pd

    from .evaluation.usable import Usable
    from .imaging.anatomy import Anatomy
    from .imaging.grid import Grid
    from .imaging.inputs import Opened
    from .imaging.volume import Volume
    from .nn.method import Enhanced

Contrast = Literal["T1w", "T2w", "FLAIR"]

Progress = Callable[[str], None]

METHOD = "fusionnet"
"""The method: the one that takes any number of stacks of any contrast and says how large its error is."""


def _silent(text: str) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class _Session:
    """What was acquired and what was made of it, on the grid of 1 mm; the rest is computed when first asked for."""

    acquired: "Volume"
    enhanced: "Volume"
    std: "np.ndarray"
    anatomy: "Anatomy"
    quality: Mapping[str, Any]
    sampling: Any
    threads: int | None = None

    @property
    def contrast(self) -> str:
        (contrast,) = self.enhanced.contrasts
        return contrast

    @cached_property
    def regions(self) -> tuple["np.ndarray", list[dict[str, Any]]]:
        """(X, Y, Z) uint8 labels, and the rows of their volumes."""
        from .imaging.field_of_view import seen_in, without_cut
        from .methods.restored import restore
        from .nn.device import torch_threads
        from .segmentation.segment import predictor, segment_volume

        head = self.enhanced, self.anatomy.mask, self.anatomy.warp.affine
        with torch_threads(self.threads):
            restored = restore(self.acquired, self.sampling)
            labels, rows = segment_volume(*head, predictor("auto", self.sampling.device), restored=restored)
        kept = without_cut(rows[self.contrast], labels[self.contrast], seen_in(self.acquired, self.contrast))
        return labels[self.contrast], kept

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the participant level writes of a session as ``desc-preproc_qc.json``, as far as it is known here."""
        from .evaluation import scan_quality
        from .evaluation.session import compute_risk
        from .imaging.field_of_view import seen_in

        stacks = {stack.name: stack for stack in self.acquired.stacks}
        expected, contrast = self.anatomy.expected, self.contrast
        seen = seen_in(self.acquired, contrast)
        return {
            **self.quality,
            "Scans": [
                {**scan, "File": scan["Name"], **scan_quality.of_scan(stacks[scan["Name"]], self.acquired, expected)}
                for scan in self.quality["Scans"]
            ],
            "Coverage": {contrast: scan_quality.of_view(self.acquired, contrast, expected, seen)},
            "Anatomy": self.anatomy.quality,
            "Risk": compute_risk(self.enhanced, self.acquired)[1],
        }

    @cached_property
    def std_percent(self) -> float | None:
        """Median standard deviation of the error in the brain, in % of its range (5th to 95th percentile)."""
        from .evaluation.scan_quality import std_percent

        return std_percent(self.std, self.enhanced.channel(self.contrast), self.anatomy.mask)


@dataclass(frozen=True, eq=False)
class _Output:
    """Where images go: ``grid`` in the frame of the volume, and the ``affine`` that is written for it."""

    grid: "Grid"
    affine: "np.ndarray"

    def image(self, data: "np.ndarray", source: "Grid", order: int = 1) -> "nib.Nifti1Image":
        """(X, Y, Z) data of the grid ``source`` as an image of this one, interpolated only where they differ."""
        import nibabel as nib

        from .imaging.grid import resample

        if self.grid != source:
            moved = resample(data, source.affine, self.grid, order=order)
            data = moved.astype(data.dtype)
        image = nib.Nifti1Image(data, self.affine)
        image.header.set_xyzt_units("mm", "sec")
        return image


@dataclass(frozen=True, eq=False)
class EnhancedScan:
    """What ``enhance`` made of one scan; images are ``nibabel`` images on one grid.

    ``image`` the enhanced image, float32, in the units of the scan; around the brain the super-resolution of
    the stacks, in the same contrast.
    ``std`` the standard deviation of its error in the same units, as the network gives it; zero farther than 2 mm
    from the brain.
    ``mask`` the brain, uint8. ``contrast`` T1w, T2w or FLAIR. ``warnings`` sentences that a user should read.
    ``provenance`` plain values: method, weights and their hash, settings, target contrast, time.
    """

    image: "nib.Nifti1Image"
    std: "nib.Nifti1Image"
    mask: "nib.Nifti1Image"
    contrast: str
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    _session: _Session = field(repr=False)
    _output: _Output = field(repr=False)
    _scans: frozenset[Path] = field(default=frozenset(), repr=False)

    @cached_property
    def regions(self) -> "nib.Nifti1Image":
        """Labels of 32 regions, uint8 with FreeSurfer's numbers, found in the enhanced image and, for T1w, in the same
        scans with the contrast of high field; computed when first asked for, and kept: one or two minutes of a core.
        """
        return self._output.image(self._session.regions[0], self._session.enhanced.grid, order=0)

    @cached_property
    def volumes(self) -> "pd.DataFrame":
        """One row per region: ``index`` (FreeSurfer's number), ``name``, ``volume_mm3`` by label, ``volume_soft_mm3``
        by posteriors, ``confidence`` in [0, 1], the expected error ``volume_error_mm3`` and ``volume_error_percent``;
        last the total intracranial volume, whose index is missing. Measured on the grid of 1 mm, with ``regions``.
        """
        import pandas as pd

        from .evaluation.volume_error import with_expected_error

        table = pd.DataFrame(with_expected_error(self._session.regions[1], "regions", self.contrast))
        return table.drop(columns="uncertain_mm3").astype({"index": "Int64"})

    @cached_property
    def verdict(self) -> "Usable":
        """Whether the image is usable to ``look`` at, to ``segment``, to ``measure``: "yes", "check" or "no" each.

        ``reasons`` are sentences, the gravest first; ``verified`` is False, as nothing here is compared with high
        field. The limits: docs/metrics.md. About ten CPU-seconds when first asked for.
        """
        from .evaluation.evidence import evidence
        from .evaluation.expected_error import is_calibrated
        from .evaluation.scan_quality import likeness
        from .evaluation.usable import judge

        session, name = self._session, self.contrast
        images = session.enhanced.channel(name), session.acquired.channel(name), session.anatomy.mask
        sidecar = {
            "CorrelationWithLowField": likeness(*images),
            "ErrorStdPercent": self._session.std_percent,
            "ErrorStdCalibrated": is_calibrated(self.contrast),
            "Warnings": list(self.warnings),
        }
        return judge(evidence(self._session.record, self.contrast, METHOD, (), sidecar))

    def save(
        self,
        image: str | Path | None = None,
        *,
        std: str | Path | None = None,
        mask: str | Path | None = None,
        regions: str | Path | None = None,
        volumes: str | Path | None = None,
        qc: str | Path | None = None,
    ) -> tuple[Path, ...]:
        """Write what is given a path; the paths, in that order.

        Images end in ``.nii.gz`` or ``.nii``, ``volumes`` in ``.tsv`` or ``.csv``; ``qc``, a page with the verdict and
        pictures, in ``.html``. A file is there whole or not at all, and replaces one that was there. Raises
        ``InputError`` for another ending, a folder that cannot be written, and a scan that it was made of.
        """
        given = {"image": image, "std": std, "mask": mask, "regions": regions, "volumes": volumes, "qc": qc}
        wanted = {name: Path(path) for name, path in given.items() if path is not None}
        check_outputs(wanted, self._scans)
        writers = {"volumes": self._write_volumes, "qc": self._write_page}
        return tuple(
            writers[name](path) if name in writers else write_image(path, getattr(self, name))
            for name, path in wanted.items()
        )

    def _write_volumes(self, path: Path) -> Path:
        from .bids.atomic import atomic_write

        separator = "\t" if path.suffix == ".tsv" else ","
        return atomic_write(path, self.volumes.to_csv(index=False, sep=separator, na_rep="n/a"))

    def _write_page(self, path: Path) -> Path:
        from .bids.atomic import atomic_write
        from .reports.one_scan import page

        session = self._session
        images = {
            "Low field": session.acquired.channel(self.contrast),
            "Enhanced": session.enhanced.channel(self.contrast),
        }
        text = page(
            images,
            session.std,
            session.anatomy.mask,
            usable=self.verdict,
            contrast=self.contrast,
            scans=session.record["Scans"],
            std_percent=session.std_percent,
            warnings=self.warnings,
            provenance=self.provenance,
        )
        return atomic_write(path, text)


def enhance(
    *scans: "str | Path | nib.Nifti1Image",
    suffix: Contrast | None = None,
    keep_geometry: bool = False,
    target_contrast: TargetContrast = "auto",
    precision: Precision = "bf16",
    device: str = "auto",
    weights: str | Path = "auto",
    threads: int | None = None,
    progress: Progress = _silent,
) -> EnhancedScan:
    """The enhanced image of one contrast of one session, from one stack or several.

    Parameters
    ----------
    scans : NIfTI files, folders or patterns of them (``"scans/*.nii.gz"``), or nibabel images: the stacks (axial,
        coronal, sagittal, isotropic) of one contrast, as the scanner gave them; they are aligned here
    suffix : contrast of the scans whose name does not say it; those whose name says another are left out, with a
        warning. None: by name, and where no name says it, by the brightness of the tissues, with a warning
    keep_geometry : the results on the voxels of the first scan; else 1 mm RAS+ around the head, in the scanner space
        of an isotropic stack or, where there is none, of the axial one
    target_contrast : of T1w: "own", that of the scan; "high-field", as an MPRAGE at 3 T has it; "auto", half way
        between the two; "learned", that of the high field that the weights were trained on; others keep their own
    precision : what the network multiplies: "bf16", where the processor does so natively, or "fp32"
    device : auto, cpu, cuda or cuda:N
    weights : of ``fusionnet``: a folder of a training, a file, a name; auto: the bundled
    threads : of the networks, those of the regions too; None: as many as this process may use processors
    progress : called with a few words before each step

    Raises ``InputError`` with one sentence for what cannot be used (code ``several-contrasts`` where the scans are of
    more than one contrast: one call makes one image), ``MethodError`` where memory runs out. Each of the result's
    ``warnings`` is also a ``ScanWarning`` of Python's.
    """
    from .imaging.inputs import files_of, find_scans, of_one_contrast, read_scans

    named, contrast, left_out = of_one_contrast(find_scans(scans), suffix)
    chosen, notes = read_scans(named, progress)
    sampling = _sampling(str(weights), device, target_contrast=target_contrast, precision=precision)
    volume, anatomy, quality = _prepare(chosen, contrast, progress)
    result = _run(volume, sampling, threads, progress)
    output = _output_of(volume, chosen[0] if keep_geometry else None)
    notes = [*notes, *left_out, *quality["Warnings"]]
    scan = replace(_result(result, volume, anatomy, quality, output, notes, sampling, threads), _scans=files_of(scans))
    for text in scan.warnings:
        warnings.warn(text, ScanWarning, stacklevel=2)
    return scan


def _sampling(weights: str, device: str, **options: str) -> Any:
    """The options of the method; torch comes in only now, so a wrong path was reported at once, and wrong weights are
    before anything is computed.
    """
    from .methods import get_method
    from .nn.device import choose_device
    from .nn.weights import load_weights

    load_weights(weights, METHOD, ())
    return get_method(METHOD).about.sampling(weights=weights, device=choose_device(device), **options)


def _prepare(
    images: "Sequence[Opened]", contrast: str | None, progress: Progress
) -> tuple["Volume", "Anatomy", dict[str, Any]]:
    """The session on 1 mm with its brain, and its quality record; the contrast guessed where it is None."""
    from .imaging.anatomy import find_anatomy, further_warnings
    from .imaging.field_of_view import seen_in
    from .imaging.guess import guess_contrast
    from .imaging.preprocess import prepare_session
    from .imaging.template import QUICK
    from .imaging.tissue import segment_session

    progress("correcting the bias field" + (" and aligning the stacks" if len(images) > 1 else ""))
    working = contrast or CONTRASTS[0]
    volume, quality = prepare_session([(name, working, None, image) for name, image in images])
    progress("finding the brain")
    seen = seen_in(volume, working)
    anatomy = find_anatomy(volume.channel(working), volume.grid, contrast or "scan", seen=seen, effort=QUICK)
    quality["Warnings"] = [*quality["Warnings"], *anatomy.quality["Warnings"]]
    if contrast is None:
        contrast = guess_contrast(volume.channel(working), anatomy.mask, anatomy.priors)
        if contrast is None:
            raise InputError(
                "Expected a name that says the contrast, or tissues that tell it, found neither; say it with --suffix "
                f"(suffix=), one of {', '.join(CONTRASTS)}.",
                code="unknown-contrast",
            )
        progress(f"contrast {contrast}, by the brightness of the tissues")
        quality["Warnings"].append(
            f"The contrast was taken for {contrast} by the brightness of the tissues; no name says it."
        )
        volume = _renamed(volume, working, contrast)
        quality["Scans"] = [scan | {"Contrast": contrast} for scan in quality["Scans"]]
    else:
        progress(f"contrast {contrast}")
    quality["Warnings"] += further_warnings(volume, anatomy)
    return segment_session(volume, anatomy.mask, anatomy.priors)[0], anatomy, quality


def _renamed(volume: "Volume", old: str, new: str) -> "Volume":
    """The volume of one contrast, now under the name of another."""
    from .imaging.volume import volume_from_channels

    stacks = tuple(replace(stack, contrast=new) for stack in volume.stacks)
    return volume_from_channels(volume.grid, {new: volume.channel(old)}, stacks)


def _run(volume: "Volume", sampling: Any, threads: int | None, progress: Progress) -> "Enhanced":
    from numpy.random import default_rng

    from .methods import get_method
    from .methods.enhance import enhance as enhance_volume
    from .nn.device import torch_threads

    stacks = f"{len(volume.stacks)} stack{'s' if len(volume.stacks) > 1 else ''} on {sampling.device}"
    progress(f"enhancing {volume.contrasts[0]} from {stacks}; the longest step, a minute of two cores")
    with torch_threads(threads):
        return enhance_volume(volume, get_method(METHOD), sampling, default_rng(0))


def _output_of(volume: "Volume", first: "Opened | None") -> _Output:
    """The canonical grid, or the voxels of the ``first`` scan as it was given."""
    from .imaging.grid import Grid

    if first is None:
        return _Output(volume.grid, volume.grid.affine)
    name, image = first
    stack = next(stack for stack in volume.stacks if stack.name == name)
    i, j, k = image.shape
    return _Output(Grid(stack.lf2hf_xfm @ image.affine, (i, j, k)), image.affine)


def _result(
    result: "Enhanced",
    volume: "Volume",
    anatomy: "Anatomy",
    quality: Mapping[str, Any],
    output: _Output,
    notes: Sequence[str],
    sampling: Any,
    threads: int | None = None,
) -> EnhancedScan:
    import numpy as np

    (contrast,) = volume.contrasts
    channel, grid = CONTRASTS.index(contrast), volume.grid
    assert result.std is not None, f"{METHOD} gives the scale of its error"
    texts = dict.fromkeys([*notes, *result.provenance["warnings"]])
    # words for the participant level, which chooses scans with a filter
    plain = tuple(text.replace(" with --bids-filter-file", "") for text in texts)
    image, std = (output.image(one[channel], grid) for one in (result.image, result.std))
    mask = output.image(anatomy.mask.astype(np.uint8), grid, order=0)
    enhanced = replace(volume, image=result.image, stacks=())
    session = _Session(volume, enhanced, result.std[channel], anatomy, quality, sampling, threads)
    return EnhancedScan(image, std, mask, contrast, plain, result.provenance, session, output)
