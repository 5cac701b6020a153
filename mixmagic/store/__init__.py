"""Files in the user's data folder that survive the kernel: the ledger, budgets.

May import `catalog`, `tokens`, `settings` and what stands below them.
"""
