"""Learning the exponents: a conditional logit on the latest slice of the stream."""
