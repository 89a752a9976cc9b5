from audiogpt.words import *  # noqa: F403 - moved to audiogpt/words.py
from audiogpt.words import word_set  # noqa: F401
