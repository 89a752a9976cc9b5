"""Music captioning with gated cross-attention to audio, tags and artists."""
