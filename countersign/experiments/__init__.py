"""Experiments: settings of the model tried beside those that are configured, for a person to choose from."""
