"""The browser page: listen, steer, read, see why, compare, keep."""
