"""From what a user writes to the text of a prompt: `{{ }}`, templates, values as text.

Imports `catalog`, `calls` and what stands below them; `tasks` and above may import it. To present
a new kind of value: one module in `present/`.
"""
