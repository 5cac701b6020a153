"""What survives the kernel: SQLite files in the user's data folder.

May import `catalog`, `tokens`, `settings` and what stands below them.
"""
