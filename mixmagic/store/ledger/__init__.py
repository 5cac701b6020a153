"""The record of spending: one row for each call, reservations, budgets, reports.

Imports `store.sqlite`, `calls` and the packages below them; `layers` and above may import it. To
add a column: a migration in `schema`.
"""
