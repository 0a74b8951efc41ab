"""What made each output, by content: a small record beside the outputs of a job. See `docs/provenance.md`."""
