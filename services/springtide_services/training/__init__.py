"""The trainer: a process that trains by a schedule or on request. Begin with `trainer`."""
