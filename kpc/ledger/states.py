"""The states and kinds of the ledger's rows, each written once."""

from __future__ import annotations

from enum import StrEnum


class GenerationState(StrEnum):
    """The state of an extract. Only a sealed one is loaded; the newest sealed one is the partition's current one."""

    OPEN = "open"
    SEALED = "sealed"
    ABANDONED = "abandoned"  # given up before it was complete
    ROLLED_BACK = "rolled_back"  # its records were removed from the org


class StageState(StrEnum):
    """The state of a stage run. `reconciled` and the states after it are results of stage `reconciled`."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    WAITING = "waiting"  # for Oracle's daily window
    ROLLED_BACK = "rolled_back"
    RECONCILED = "reconciled"
    RECONCILED_WITH_EXCEPTIONS = "reconciled_with_exceptions"
    SAMPLED = "sampled"  # what was compared agrees, but not every record was compared
    MISMATCH = "mismatch"


VERDICTS = (
    StageState.RECONCILED,
    StageState.RECONCILED_WITH_EXCEPTIONS,
    StageState.SAMPLED,
    StageState.MISMATCH,
)


class AttemptState(StrEnum):
    """The state of an attempt to load a generation."""

    RUNNING = "running"
    LOADED = "loaded"
    FAILED = "failed"
    SUPERSEDED = "superseded"  # a newer generation replaced it; its jobs were finalized, their records are known


class ChunkState(StrEnum):
    """Whether the result of a chunk is known."""

    PLANNED = "planned"
    DONE = "done"


class JobState(StrEnum):
    """The state of an ingest job.

        intended -> open -> closing -> closed -> ended -> complete
                \\________\\________\\________\\-> failed | aborted | given_up

    `closing` is written, with the quota debit, right before UploadComplete is sent: after a crash the server is asked.
    `ended` occupies no slot any more; its results are still to be read and recorded.
    """

    INTENDED = "intended"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    ENDED = "ended"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"
    GIVEN_UP = "given_up"


IN_FLIGHT = (JobState.INTENDED, JobState.OPEN, JobState.CLOSING, JobState.CLOSED)
DEAD = (JobState.FAILED, JobState.ABORTED, JobState.GIVEN_UP)  # the rows of such a job must be sent again


class JobPurpose(StrEnum):
    """Why an ingest job exists. All but `chunk` may use the quota's reserve."""

    CHUNK = "chunk"
    RETRY = "retry"
    UNDO = "undo"


class QuotaKind(StrEnum):
    """Whose use of the quota an entry counts."""

    JOB = "job"  # ours
    OTHERS = "others"  # bulk loads of other software
    CALLS = "calls"  # API calls of everybody


class QuotaEntryState(StrEnum):
    """Whether an entry counts against the quota; a released one does not."""

    RESERVED = "reserved"
    DEBITED = "debited"
    RELEASED = "released"


class PauseScope(StrEnum):
    """What a pause stops."""

    ALL = "all"
    PHASE = "phase"
    TABLE = "table"


class CampaignState(StrEnum):
    """The state of a campaign. All but a finished one continue when the same scope is started again."""

    RUNNING = "running"
    STOPPED = "stopped"  # by a person; what was started goes on to its end
    INCOMPLETE = "incomplete"  # nothing more can be started, and partitions failed or wait for those that did
    FINISHED = "finished"


class FailureClass(StrEnum):
    """What to do about a row that was not loaded."""

    TRANSIENT = "transient"  # send it again
    DEPENDENCY = "dependency"  # its parent is missing
    DATA = "data"  # correct the row
    ORG = "org"  # correct the org's settings
    UNPROCESSED = "unprocessed"  # Salesforce did not process it
    REJECTED = "rejected"  # staging refused it; it was never sent


class FailureState(StrEnum):
    """Whether a row is still missing from the org."""

    OPEN = "open"
    RESOLVED = "resolved"


class SourceCheckState(StrEnum):
    """What `kpc delta` found in a partition."""

    UNCHANGED = "unchanged"
    MOVED = "moved"
    NOT_EXTRACTED = "not_extracted"  # Oracle has rows of it, but there is no extract to compare


class SignOffDecision(StrEnum):
    """What a person decided."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    REVOKED = "revoked"  # takes back an earlier decision, which stays in the list


class AlertKind(StrEnum):
    """What people are told of."""

    OUTAGE = "outage"  # a system cannot be reached
    FAILURE = "failure"  # a stage failed for good
    MISMATCH = "mismatch"  # source and target differ
    QUOTA = "quota"  # used up
    STALLED = "stalled"  # no progress although there should be some
    DISK = "disk"  # little room for staged files
    SIGN_OFF = "sign_off"  # a person has to decide


class AlertEvent(StrEnum):
    """Why a message is sent."""

    OPENED = "opened"
    REPEATED = "repeated"
    CLOSED = "closed"


class DeliveryState(StrEnum):
    """Whether a message has reached its channel."""

    PENDING = "pending"
    SENT = "sent"
    GIVEN_UP = "given_up"
