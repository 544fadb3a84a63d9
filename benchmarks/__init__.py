"""What is measured, and against whom; ``python -m benchmarks.presence`` runs it, docs/benchmarks.md shows it."""
