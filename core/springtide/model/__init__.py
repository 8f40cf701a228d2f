"""What a trained model is, for training and ranking alike: its parts, exponents and attributes, and the registry."""
