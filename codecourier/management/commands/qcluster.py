"""`manage.py qcluster`: django-q2's worker, made to end whenever it is told to."""

import ctypes
import os
import signal
import threading
from types import FrameType
from typing import Any

from django_q.cluster import Cluster
from django_q.management.commands import qcluster

from codecourier import leash

# Less than whoever supervises it waits before killing the parent alone.
GRACE_SECONDS = 8


class Command(qcluster.Command):
    """A process of the cluster that dies with a lock of `multiprocessing` leaves the parent waiting for it for ever."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        os.register_at_fork(after_in_child=end_with_parent)
        BoundedCluster().start()


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)): nobody would ever end it otherwise."""
    ctypes.CDLL(None).prctl(leash.PR_SET_PDEATHSIG, signal.SIGKILL)


class BoundedCluster(Cluster):
    """Ends its whole process group when stopping takes too long, where it leads one, as under `up` and systemd."""

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """As django-q2's, with an end to the waiting."""
        if os.getpid() == self.pid and os.getpgrp() == self.pid:
            last_resort = threading.Timer(GRACE_SECONDS, os.killpg, [self.pid, signal.SIGKILL])
            last_resort.daemon = True
            last_resort.start()
        super().sig_handler(signum, frame)
