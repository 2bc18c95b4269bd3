"""What a cut does: built, measured, predicted, swept over, exported. No file here draws."""
