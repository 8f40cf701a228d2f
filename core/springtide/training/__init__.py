"""Making models from a checkpoint: sampling, retraining, fine-tuning, learned exponents."""
