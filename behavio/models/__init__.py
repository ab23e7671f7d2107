"""Next step: baselines, counting and neural models behind one protocol."""
