"""What is kept of trajectories that are gone, merged in a fixed tree."""
