"""Sound in, numbers out: loading, front ends, embeddings and the tagger."""
