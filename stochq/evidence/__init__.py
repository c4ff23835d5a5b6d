"""What a verdict weighs: deviations, how large chance makes them, and what is known.

`points` holds the deviations, `deviates` tells how unlikely each is, `maxima` how
unlikely the largest, `family` how unlikely the largest of many verdicts. `independence`
asks whether the trajectories are what their errors take them for.
"""
