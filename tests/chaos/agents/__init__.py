"""Every way in which a model provider or a machine fails an agent, with the real CLIs: `python -m tests.chaos agents`.

cases.py     what goes wrong, and what a turn may say of it
matrix.py    one case with one CLI in the running product
report.py    the result as a table
"""
