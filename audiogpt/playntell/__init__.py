"""The published PlayNTell model: its files, its text, its playlists, and how they are converted.

docs/playntell.md lists where this differs from our own models.
"""
