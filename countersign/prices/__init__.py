"""Prices: from a source's reply to cleaned bars and the panel of matrices that features are computed on."""
