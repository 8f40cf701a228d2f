"""How models are asked and measured: once, month by month, or event by event."""
