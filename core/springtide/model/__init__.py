"""What a trained model is: its parts, exponents and attributes, and the registry of versions."""
