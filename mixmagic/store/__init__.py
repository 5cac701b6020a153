"""Files in the user's data folder that outlive the kernel: the ledger and the budgets.

Imports `calls`, `core` and the packages below them; `layers` and above may import it. To keep a new
kind of record: a package of its own on `store.sqlite`.
"""
