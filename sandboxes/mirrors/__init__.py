"""Copies of remotes on the portal: `fetch` brings one up to date, `mirror` looks after that, `shipping` hands it over.

A machine's repository comes from here, so the second of a project moves nothing from the remote again, no key is in
any machine, and the portal has all that a checkpoint builds upon (docs/decisions/0004).
"""
