"""What we are measured against: other designs, and the floor. Each is a program of its own."""
