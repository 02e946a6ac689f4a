"""Settings of the methods that learn from low field simulated anew in every step; no torch."""

from dataclasses import dataclass, field

from ..nn.settings import Checked, setting

SOURCE = "docs/training.md"


@dataclass(frozen=True)
class OnlineTraining(Checked):
    """What is simulated, and how often; the weights store it."""

    pool: int = field(
        default=96, metadata=setting("simulated heads that are kept, and patches cut from", SOURCE, least=2)
    )
    renew: int = field(default=2, metadata=setting("steps after which a new one takes the oldest's place", least=1))
    label_maps: float = field(
        default=0.3,
        metadata=setting(
            "of heads that keep the contrast of their scan, the share painted into label maps", SOURCE, least=0, most=1
        ),
    )
    other_contrasts: float = field(
        default=0.3,
        metadata=setting(
            "and the share of real T2w and FLAIR; the rest are T1w in any contrast", SOURCE, least=0, most=1
        ),
    )
    lesions: float = field(
        default=0.4, metadata=setting("share of heads that lesions are planted in", SOURCE, least=0, most=1)
    )
    pairs: float = field(
        default=0.5,
        metadata=setting("share of the pool that is acquired pairs, where there are any", SOURCE, least=0, most=1),
    )
