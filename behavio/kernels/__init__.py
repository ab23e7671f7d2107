"""Hot loops: arrays in, arrays out, compiled once and cached."""
