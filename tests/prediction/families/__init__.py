"""The smallest predictor of each family: what later models need is all there already."""
