"""What people want done: functions over streams, models and stores.

May import `layers` and what stands below it, not `session`.
"""
