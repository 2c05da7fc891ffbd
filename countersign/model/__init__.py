"""The model: its targets, how it is fitted, how it scores, and how well it does."""
