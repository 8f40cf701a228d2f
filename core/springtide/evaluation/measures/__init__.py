"""What is measured: ranking metrics, what lies beyond accuracy, segments, and significance."""
