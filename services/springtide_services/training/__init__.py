"""The trainer: a process that trains when the schedule or a request says so."""
