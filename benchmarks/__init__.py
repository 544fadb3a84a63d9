"""What is measured, and against whom; ``python -m benchmarks.presence`` runs it, docs/reference/benchmarks.md shows it."""
