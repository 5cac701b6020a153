"""Tasks: functions over streams, models and stores, one module for each thing that users do.

May import `layers` and the packages below it; `sessions` and the packages above it may import this
package. To add a task: one module here.
"""
