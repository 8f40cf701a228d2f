"""What owners steer recommendations with: rules, scenarios and experiments, as values."""
