"""Measures: ranking metrics, metrics beyond accuracy, segments, significance."""
