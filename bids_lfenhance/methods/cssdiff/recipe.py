"""Settings of ``cssdiff``, how it is trained, and its record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...config import CONTRASTS
from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.method import Draw, Learning, Method, Phase, Stage
from ..options import CONTRAST, FUSION, PRECISION, WEIGHTS, AskedContrast, AskedFusion, Precision, as_trained, told

if TYPE_CHECKING:
    import torch

    from ...nn.method import Batch, Nets
    from ...nn.weights import Loaded


@dataclass(frozen=True)
class CssDiffSettings:
    """Options of ``cssdiff``; the defaults are the ``paper`` preset's. Those of the networks come from the weights."""

    weights: str = field(default="auto", metadata=WEIGHTS)
    device: str = field(default="cpu", metadata=told("where the networks run; the app's --device"))
    precision: Precision = field(default="bf16", metadata=PRECISION)
    fusion: AskedFusion = field(default="mean", metadata=FUSION)
    sgp: bool = field(
        default=True, metadata=told("tell the denoiser which slice it is in", "paper Table 2", by="network")
    )
    lsc: bool = field(
        default=True, metadata=told("hold local structure against a restorer's", "paper Table 2", by="training")
    )
    ccd: bool = field(
        default=True,
        metadata=told("the cycle-constrained chain; off: plain conditional diffusion", "paper Table 2", by="network"),
    )
    chain: Literal["conditional", "literal"] = field(
        default="conditional",
        metadata=told(
            "the chain goes from noise to high field, shown low field at every step; literal: from low field itself, "
            "as Eq. 7 is printed",
            "methods.md §1.2 a",
            by="network",
        ),
    )
    reverse: Literal["learned", "simulator"] = field(
        default="learned",
        metadata=told(
            "what takes high field back to low field: a network, or physics, which cannot agree with the chain on "
            "anything",
            "methods.md §1.3",
            by="training",
        ),
    )
    reverse_fwhm: float = field(
        default=3.0, metadata=told("width of the profile of that physics, voxels", by="training")
    )
    steps: int = field(
        default=4, metadata=told("steps of the chain, in training and use", "methods.md §1.2 b", by="network")
    )
    ddim_steps: int = field(default=50, metadata=told("steps of DDIM without the chain", "methods.md §1.8"))
    n_ctx: int = field(
        default=1, metadata=told("slices shown on either side of a slice", "methods.md §1.3", by="network")
    )
    strength: float = field(
        default=0.0,
        metadata=told(
            "share of the change that is applied to each draw, to 1; 0: the weights' own, and in training all of it: "
            "a network knows its own simulator too well"
        ),
    )
    lsc_refine: float = field(
        default=0.0,
        metadata=told("share of the restorer's answer in the result, to 0.3; 0: none of it", "methods.md §1.2 i"),
    )
    contrast: AskedContrast = field(default="auto", metadata=CONTRAST)
    slices_at_once: int = field(
        default=16, metadata=told("slices through the networks at once, to bound the memory; the same result")
    )
    width: int = field(
        default=64, metadata=told("features of the denoiser at full resolution", "methods.md §1.3", by="network")
    )
    levels: int = field(default=4, metadata=told("levels of the denoiser", "methods.md §1.3", by="network"))
    blocks: int = field(default=2, metadata=told("blocks per level of the denoiser", "methods.md §1.3", by="network"))
    shuffle: int = field(
        default=1,
        metadata=told("pixels a side folded into features of the denoiser; 1, the published form: none", by="network"),
    )
    reverse_width: int = field(
        default=64, metadata=told("features of the reverse generator", "methods.md §1.8c", by="network")
    )
    judge_width: int = field(
        default=64, metadata=told("features of the discriminators", "methods.md §1.8c", by="training")
    )
    lean: bool = field(
        default=True,
        metadata=told("compute features of the chain twice instead of keeping them: less memory", by="training"),
    )
    sgp_positive: Literal["index", "shift", "window", "argmax"] = field(
        default="window",
        metadata=told(
            "which slice of high field belongs to one of low field: the same, that after one shift per volume, the "
            "most alike about that one, or, as printed (Eq. 18), the most alike of all",
            "methods.md §1.4",
            by="training",
        ),
    )
    temperature: float = field(
        default=0.1, metadata=told("τ of the contrastive loss", "methods.md §1.2 g", by="training")
    )
    lsc_block: int = field(
        default=8, metadata=told("pixels a side of the blocks spoilt", "methods.md §1.2 g", by="training")
    )
    lsc_masked: float = field(
        default=0.4, metadata=told("share of the blocks taken out", "methods.md §1.2 g", by="training")
    )
    lsc_turned: float = field(
        default=0.3, metadata=told("share of the blocks turned", "methods.md §1.2 g", by="training")
    )
    lsc_untouched: float = field(
        default=0.25, metadata=told("share of the slices left whole", "methods.md §1.5", by="training")
    )
    alpha: float = field(
        default=0.1, metadata=told("α, weight of 1 − SSIM in the restorer's loss", "§1.2 g", by="training")
    )
    adversarial: float = field(
        default=0.05, metadata=told("λ1, weight of the discriminators", "methods.md §1.2 g", by="training")
    )
    cycle: float = field(default=1.0, metadata=told("λ2, weight of the cycle", "methods.md §1.2 g", by="training"))
    rho: float = field(
        default=0.5, metadata=told("ρ, weight of the cycle from high field", "methods.md §1.2 g", by="training")
    )
    path: float = field(default=0.1, metadata=told("λ3, weight of the path", "methods.md §1.2 g", by="training"))
    paired_l1: float = field(
        default=1.0,
        metadata=told("weight of the paired absolute error; 0: without", "methods.md §1.2 f", by="training"),
    )
    structure: float = field(
        default=0.1, metadata=told("weight of the restorer's loss", "methods.md §1.2 i", by="training")
    )
    r1: float = field(default=0.05, metadata=told("γ of R1 on the discriminator", "methods.md §1.2 e", by="training"))
    reverse_noise: float = field(
        default=0.03,
        metadata=told("SD of the noise that the reverse generator is given", "methods.md §1.9", by="training"),
    )
    dropout: float = field(
        default=0.2, metadata=told("share of the slice's tokens dropped in training", "paper §4", by="training")
    )
    sgp_steps: int = field(
        default=20_000, metadata=told("training steps of the slice encoder", "methods.md §1.6", by="training")
    )
    lsc_steps: int = field(
        default=20_000, metadata=told("training steps of the restorer", "methods.md §1.6", by="training")
    )
    warm_steps: int = field(
        default=20_000, metadata=told("training steps of the denoiser alone", "methods.md §1.6", by="training")
    )
    chain_steps: int = field(
        default=80_000, metadata=told("training steps of the chain", "methods.md §1.6", by="training")
    )
    rate: float = field(
        default=2e-4, metadata=told("learning rate of denoiser and reverse generator", "§1.2 j", by="training")
    )
    paper_lr: bool = field(
        default=False,
        metadata=told(
            "the paper's rate for denoiser and chain: 0.002, halved every twelfth of a stage", "paper §4", by="training"
        ),
    )
    batch: int = field(default=4, metadata=told("patches per training step", by="training"))
    slices: int = field(default=4, metadata=told("slices learnt from in each patch", by="training"))
    patch: int = field(
        default=0,
        metadata=told(
            "pixels a side of the slices learnt from; 0: all of the brain, multiples of 16 else", by="training"
        ),
    )

    def __post_init__(self) -> None:
        """Refuses what cannot be used, with an ``InputError``."""
        least = {"steps": 1, "ddim_steps": 1, "slices_at_once": 1, "slices": 1, "batch": 1, "lsc_block": 2, "n_ctx": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                flag, found = f"--cssdiff-{name.replace('_', '-')}", getattr(self, name)
                raise InputError(f"Expected {flag} of at least {low}, found {found}; change it.")
        if self.width % 32 or self.width < 32:
            raise InputError(f"Expected --cssdiff-width in multiples of 32, found {self.width}; change it.")
        if not 2 <= self.levels <= 5:
            raise InputError(f"Expected --cssdiff-levels from 2 to 5, found {self.levels}; choose 4.")
        if self.shuffle < 1 or 16 % (self.shuffle * 2 ** (self.levels - 1)):
            raise InputError(
                f"Expected --cssdiff-shuffle such that 16 pixels are halved by all levels, found {self.shuffle} with "
                f"{self.levels} levels; choose 1."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"Expected --cssdiff-dropout from 0 to below 1, found {self.dropout}; choose 0.2.")
        if not 0 <= self.strength <= 1:
            raise InputError(f"Expected --cssdiff-strength between 0 and 1, found {self.strength}; change it.")
        if not 0 <= self.lsc_refine <= 0.3:
            raise InputError(f"Expected --cssdiff-lsc-refine from 0 to 0.3, found {self.lsc_refine}; change it.")
        if self.lsc_refine and not (self.lsc and self.ccd):
            raise InputError(
                "Expected --cssdiff-lsc and --cssdiff-ccd in the training for --cssdiff-lsc-refine, found one off."
            )
        if not self.reverse_fwhm > 0:
            raise InputError(f"Expected --cssdiff-reverse-fwhm above 0, found {self.reverse_fwhm}; choose 3.")
        if not self.temperature > 0:
            raise InputError(f"Expected --cssdiff-temperature above 0, found {self.temperature}; choose 0.1.")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {
        "width": 32,
        "levels": 3,
        "blocks": 1,
        "shuffle": 4,
        "reverse_width": 16,
        "judge_width": 16,
        "lean": False,
        "sgp_steps": 400,
        "lsc_steps": 400,
        "warm_steps": 2000,
        "chain_steps": 120,
        "rate": 1e-3,
        "batch": 1,
        "slices": 8,
    },
}
"""What each preset changes; "tiny": 4.4 M parameters to enhance, 1.2 M for its own maps; half an hour of one core."""

PAPER_RATE, HALVINGS = 2e-3, 11
"""The paper's rate, halved every 10 of its 120 epochs."""

SIDES = (160, 192)
"""Pixels within which a brain and its margin fit, multiples of 16."""

THICK = 48
"""Slices of a patch for the slice encoder: all but its own are what a slice is told from."""

THIN = 16
"""Slices of the other patches, neighbours included."""

CHANNELS = len(CONTRASTS)


def seen_channels(settings: CssDiffSettings) -> int:
    """Of what the denoiser is shown beside the state: low field, its neighbours, and which contrasts there are."""
    return CHANNELS * (2 * settings.n_ctx + 1) + CHANNELS


def used(settings: CssDiffSettings, weights: Mapping[str, Any]) -> CssDiffSettings:
    """The settings as they are in use; an ``InputError`` for DDIM with weights that walk their own chain."""
    if weights["ccd"] and settings.ddim_steps != CssDiffSettings.ddim_steps:
        raise InputError(
            f"Expected --cssdiff-ddim-steps with weights without a chain (--no-cssdiff-ccd) alone, found "
            f"{settings.ddim_steps} and a chain of {weights['steps']} steps; leave it out."
        )
    return as_trained(settings, weights)


def build(settings: CssDiffSettings) -> "dict[str, torch.nn.Module]":
    """``denoiser``; with SGP ``encoder``, with LSC ``restorer``, ``patches``, with the chain ``judge`` and,
    unless it is physics, ``reverse``.
    """
    # Torch is heavy: the command line reads the settings above without it.
    from .network import Denoiser, Encoder, Judge, Restorer, Reverse

    s, channels, seen = settings, CHANNELS, seen_channels(settings)
    widths = tuple(min(2**number, 4) * s.width for number in range(s.levels))
    latent = s.ccd and s.chain == "literal"
    denoiser = Denoiser(channels, seen, widths, s.blocks, s.sgp, s.shuffle, latent)
    nets: dict[str, torch.nn.Module] = {"denoiser": denoiser}
    if s.sgp:
        nets["encoder"] = Encoder()
    if s.lsc and s.ccd:
        nets |= {"restorer": Restorer(channels), "patches": Judge(channels, s.judge_width)}
    if s.ccd:
        nets["judge"] = Judge(2 * channels, s.judge_width)
        if s.reverse == "learned":
            nets["reverse"] = Reverse(channels, s.reverse_width, 6)
    return nets


def stages(settings: CssDiffSettings) -> tuple[Stage, ...]:
    """The slice encoder, from the same slice then by ``sgp_positive``; the restorer; the denoiser; the chain."""
    s, betas = settings, (0.5, 0.9)
    across = (s.patch or SIDES[0], s.patch or SIDES[1])
    thick, thin = (*across, THICK), (*across, THIN)
    found = []
    if s.sgp:
        # A free choice too early agrees on a wrong order (methods.md §1.4): index, one shift, then among those near it.
        window = s.sgp_positive == "window"
        order = [("sgp-index", "index", 8), *([("sgp-shift", "shift", 2)] if window else [])]
        for name, positive, share in (*order, ("sgp", s.sgp_positive, 2 if window else 1)):
            losses = partial(_losses, of="guides.contrast", positive=positive)
            steps = s.sgp_steps // share
            found.append(Stage(name, (Phase(name, ("encoder",), losses, 1e-3),), steps, s.batch, thick, measured=False))
    if s.lsc and s.ccd:
        phases = (
            Phase("restore", ("restorer",), partial(_losses, of="guides.restore"), 2e-3),
            Phase("judge-patches", ("patches",), partial(_losses, of="guides.judge_patches"), 1e-4, betas),
        )
        found.append(Stage("lsc", phases, s.lsc_steps, s.batch, thin, measured=False))
    rate, of_judge, halvings = (PAPER_RATE, PAPER_RATE, HALVINGS) if s.paper_lr else (s.rate, s.rate / 2, 0)
    warm = (Phase("denoise", ("denoiser",), partial(_losses, of="loss.denoise"), rate),)
    found.append(Stage("denoise", warm, s.warm_steps, s.batch, thin, halvings=halvings))
    if s.ccd:
        moved = ("denoiser", "reverse") if s.reverse == "learned" else ("denoiser",)
        phases = (
            Phase("judge", ("judge",), partial(_losses, of="loss.judge"), of_judge, betas),
            Phase("generate", moved, partial(_losses, of="loss.generate"), rate, betas, means=("denoiser",)),
        )
        found.append(Stage("chain", phases, s.chain_steps, s.batch, thin, halvings=halvings))
    return tuple(stage for stage in found if stage.steps)


def predict(nets: "Nets", batch: "Batch", settings: CssDiffSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, C, X, Y, Z) high field, normalised; zero for contrasts that are not in the input."""
    from .sampler import enhance_batch

    return enhance_batch(nets, batch, settings, generator)


def prepare(volume: Volume, settings: CssDiffSettings) -> Mapping[str, Any]:
    """What all draws share: the trained networks and their settings."""
    from .sampler import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: CssDiffSettings, generator: np.random.Generator) -> Draw:
    """One draw: noise of its own, down the chain to an image."""
    from .sampler import draw

    return draw(nets, volume, settings, generator)


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with no more slices at once than fit."""
    from .sampler import fit

    return fit(nets, volume, limit)


def shows(loaded: "Loaded") -> Mapping[str, Mapping[str, str]]:
    """The maps that draws come with, and what is said of each."""
    from .maps import shows

    return shows(loaded)


def _losses(
    nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator", of: str, **given: Any
) -> "Mapping[str, torch.Tensor]":
    """What ``of``, a function of a module of this folder, says; torch is imported only now."""
    module, _, name = of.partition(".")
    found: Mapping[str, torch.Tensor] = getattr(import_module(f".{module}", __package__), name)(
        nets, batch, settings, generator, **given
    )
    return found


METHOD = Method(
    "cssdiff",
    CssDiffSettings,
    "lf2hf",
    "pairs",
    sample,
    draws=4,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {"slices_at_once": 96}},
    prepare=prepare,
    learning=Learning(build, stages, predict, PRESETS),
    fit=fit,
    shows=shows,
    used=used,
)
