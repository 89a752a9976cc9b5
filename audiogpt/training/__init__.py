"""Training: data, views, losses, the loop, and evaluation."""
