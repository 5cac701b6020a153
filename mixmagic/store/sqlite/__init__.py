"""SQLite files that survive threads, forks, kills and damage.

Imports `core`; the other packages of `store` stand on it. To keep a new kind of record: a file of
its own with its migrations, through `Database`.
"""
