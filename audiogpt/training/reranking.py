from audiogpt.reranking import *  # noqa: F403 - moved to audiogpt/reranking.py
