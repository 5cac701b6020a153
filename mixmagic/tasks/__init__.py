"""The chores that people want done: functions over streams, models and stores.

May import `layers` and the packages below it, not `session`.
"""
