"""GPU engines of a bundle: typed graphs, their calibration and acceptance, and what is built from them."""
