"""Files that outlive the kernel: the ledger, the budgets, the stored answers, and cassettes.

Imports `calls`, `core` and the packages below them; `layers` and above may import it. To keep a new
kind of record: a package, or a module, of its own on `store.sqlite`.
"""
