"""Where spots lie: lattice neighbourhoods and image patches."""
