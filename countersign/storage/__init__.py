"""Storage: bytes on disk, the artifacts made of them, and the journal. Knows nothing of prices or models."""
