"""Chaos: the real processes under random kills and wishes; `uv run python -m tests.chaos --minutes 10 --seed 1`.

scripts.py   what the sandboxes run
spools.py    copies of every spool, taken beside the product while the machine lives
blows.py     what is done to processes, sandboxes and couriers
checks.py    what must hold after a round and at the end
rounds.py    one round: launch, strike, wait, check, end
"""
