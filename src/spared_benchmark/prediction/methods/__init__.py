"""The predictors: one file each, with a card."""
