"""Why a run or a step of it ended as it did, each with a sentence that a person can act on."""

from django.db import models


class Reason(models.TextChoices):
    """Stored beside the status; the label is the default sentence."""

    FINISHED = "finished", "All steps are done."
    NOT_APPROVED = "not_approved", "The checker did not approve the work."
    STEP_FAILED = "step_failed", "A step failed, and the steps after it need its work."
    NOT_JUDGED = "not_judged", "No candidate was chosen."
    LAUNCH_FAILED = "launch_failed", "A step could not be started."
    UNSAVED = "unsaved", "The work of a step could not be saved, so the next one has nothing to go on from."
    INTERNAL = "internal", "CodeCourier itself failed here; the administrator finds it in the log."
    USER = "user", "Somebody cancelled it."
    RETRIED = "retried", "A newer run took over."

    @classmethod
    def sentence(cls, reason: str) -> str:
        """The default sentence of a reason, empty for an unknown one."""
        return str(cls(reason).label) if reason in cls.values else ""
