"""API keys: where they are found, who is set up, and keeping them out of whatever is shown.

May be imported by `backends`, `store` and everything above them; a new place where keys are kept
is one more branch of `credentials.Credentials.find`.
"""
