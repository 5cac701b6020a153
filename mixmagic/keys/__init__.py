"""API keys: finding them, and keeping them out of everything that is shown.

May be imported by `backends`, `store` and everything above them; a new place where keys are kept
is one more branch of `credentials.Credentials.find`.
"""
