"""The relay: follows every running job, stores its output, notices its end, and runs the sweep.

fold.py      lines of a spool -> rows to store and the cursor behind them; pure
flush.py     rows, cursors and exits of all jobs in one transaction
follower.py  one job: connect, follow from the cursor, reconnect
loop.py      which jobs are ours, when to flush, the sweep beside it
"""

from .loop import Relay

__all__ = ["Relay"]
