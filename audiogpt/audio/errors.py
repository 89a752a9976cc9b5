"""The one error that audio input can cause."""


class AudioError(ValueError):
    """Sound that cannot be used; the text is one readable sentence for its owner."""
