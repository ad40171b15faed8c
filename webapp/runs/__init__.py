"""What ran, runs and will run."""
