"""Bulk: a prompt over many rows, which can end at any moment and go on where it ended.

May import the rest of `tasks` and the packages below it; `sessions` and the packages above it may
import this package. `job` is the engine; to add a kind of rows: one module in `tasks.tables`.
"""
