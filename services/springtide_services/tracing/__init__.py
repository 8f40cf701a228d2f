"""Traces by OpenTelemetry, from producer to answer; nothing of OpenTelemetry is imported while they are off.

Begin with ``spans``: the spans of one process, and how they are sent.
"""
