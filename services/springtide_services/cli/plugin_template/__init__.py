"""What ``springtide plugins new`` writes: a part of each kind with its test, under names that are then replaced."""
