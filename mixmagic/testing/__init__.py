"""For people who test notebooks that ask models: a plugin for pytest.

May import everything but `cli`; nothing imports it. To add a check of each notebook: a method of
`replay.Replay`, called by `notebooks.Notebooks`.
"""
