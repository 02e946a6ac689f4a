"""nipype wrappers: traits in, one call, traits out."""
