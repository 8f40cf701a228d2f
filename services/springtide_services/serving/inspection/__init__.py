"""InspectionService: a look inside, for the console and for operators."""
