"""Translation: texts, Markdown, notebooks and columns in another language, checked.

May import the rest of `tasks` and the packages below it; `sessions` and the packages above it may
import this package. To add a kind of document: one module here that yields segments.
"""
