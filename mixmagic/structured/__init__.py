"""Answers in a given form: schemas, JSON, tables, and the request that repairs an answer.

Imports `calls` and what stands below it; `tasks` and above may import it. To read a new form of
answer: one module here.
"""
