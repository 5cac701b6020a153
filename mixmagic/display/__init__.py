"""What a person sees: answers as they come, tables, errors.

May import `sessions`, `tasks` and what stands below them, and IPython.
"""
