"""vLLM behind HTTP; a package, so that no other folder of this name stands before it, as agents import from it."""
