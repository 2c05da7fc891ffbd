"""Pages: what people read in a browser, and the same as text. Facts come in as arguments; nothing is read here."""
