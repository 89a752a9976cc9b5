"""Music captioning with gated cross-attention to audio, tags and artists."""

__version__ = "0.1.0"
