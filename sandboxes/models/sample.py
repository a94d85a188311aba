"""What machines used, moment by moment."""

from django.db import models

from .sandbox import Sandbox


class Sample(models.Model):
    """CPU in percent of all that the machine has, memory and disk in bytes; `at` is the provider's clock."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField()
    cpu = models.FloatField()
    memory = models.BigIntegerField()
    memory_total = models.BigIntegerField()
    disk = models.BigIntegerField()
    disk_total = models.BigIntegerField()

    class Meta:
        ordering = ["sandbox_id", "at"]
        constraints = [models.UniqueConstraint(fields=["sandbox", "at"], name="one_sample_at_a_time")]

    def __str__(self) -> str:
        return f"sample of sandbox {self.sandbox_id}"
