"""A local host for sandboxes that speaks the part of E2B's API which the `e2b` SDK uses.

Imports nothing of the project and no Django: `python -m sandboxes.host --port N --state DIR`.
Isolation is bubblewrap: namespaces and limits of the same kernel, for trusted users on one machine.
"""
