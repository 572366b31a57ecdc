"""What held a run's throughput back: looks now and then, adds up, and says it in a line with what to change."""
