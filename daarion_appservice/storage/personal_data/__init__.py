"""Personal data: which tables hold it, its export, its erasure, and how long it is kept."""
