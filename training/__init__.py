"""Fine-tuning: losses, the loop, diagnosis."""
