"""What is taken of trajectories: values, states and jumps, and what went wrong."""
