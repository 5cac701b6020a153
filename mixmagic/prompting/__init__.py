"""From the text that a user writes to the prompt: `{{ }}`, templates, values as text.

Imports `catalog`, `calls` and lower packages; `tasks` and higher ones may import it. To present a
new type of value: one function in `present/`.
"""
