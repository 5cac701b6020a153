"""Answers in a given form: schemas, JSON, tables, and the second attempt at an answer.

Imports `calls` and lower packages; `tasks` and higher ones may import it. To read a new form of
answer: one module here.
"""
