"""From raw counts to one expression matrix: filter, TPM, medians, choice of genes, ComBat."""
