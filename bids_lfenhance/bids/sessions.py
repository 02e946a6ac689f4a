"""The records of a plan."""

from dataclasses import dataclass

from .scans import Scan
from .sidecars import session_name


@dataclass(frozen=True)
class LowFieldSession:
    """One low-field session of one subject, with the high-field images it is compared with.

    ``session`` None where the dataset has no sessions; ``reference`` at most one high-field scan per contrast, all
    of ``reference_session``, empty where there is none (``reference_session`` may be None for another reason: a
    dataset without sessions; ask ``paired``); ``missing`` stacks that its other planes, the subject's other
    sessions or most other subjects have (``acq-sag_T1w``); ``warnings`` sentences; ``lesions`` masks of lesions, of
    this session or of the reference's; ``beside_high_field``: this very session has high field too, of whatever
    contrast.
    """

    subject: str
    session: str | None
    stacks: tuple[Scan, ...]
    reference: tuple[Scan, ...] = ()
    reference_session: str | None = None
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    lesions: tuple[Scan, ...] = ()
    beside_high_field: bool = False

    @property
    def paired(self) -> bool:
        """Whether there is a high-field reference."""
        return bool(self.reference)

    @property
    def name(self) -> str:
        """``sub-01_ses-HFC``, or ``sub-01`` where there are no sessions."""
        return session_name(self.subject, self.session)

    def stack_of(self, lesion: Scan) -> str | None:
        """Name of the stack in whose scanner's coordinates a mask of lesions lies: that of its ``acq-``, or the first.

        None where it lies in those of high field.
        """
        named = [scan.stem for scan in self.stacks if scan.entities.get("acq") == lesion.entities.get("acq", "")]
        if not named and self.paired and lesion.session == self.reference_session:
            return None
        return next(iter(named), self.stacks[0].stem)

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts of the stacks, in the order of the stacks."""
        return tuple(dict.fromkeys(scan.contrast for scan in self.stacks))

    @property
    def field_strength(self) -> float:
        """Field strength of the session, tesla: the first stack's."""
        return self.stacks[0].field_strength or 0.0


@dataclass(frozen=True)
class Plan:
    """What a run would do: ``sessions`` to enhance, subjects ``skipped`` and ``failed`` each with a sentence.

    ``skipped`` has nothing to enhance and is no fault; ``failed`` could not be planned (a broken sidecar, no field
    strength) and counts as a failed subject.
    """

    sessions: tuple[LowFieldSession, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects with at least one session."""
        return tuple(dict.fromkeys(session.subject for session in self.sessions))

    def sessions_of(self, subject: str) -> tuple[LowFieldSession, ...]:
        """The low-field sessions of one subject."""
        return tuple(session for session in self.sessions if session.subject == subject)
