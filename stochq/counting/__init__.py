"""Statistics of recorded jumps, each with its error bar.

One statistic per file. Trajectories are independent, jumps of one trajectory are not:
every error bar comes from the spread over trajectories.
"""

from stochq.counting.correlation import Correlation, correlation_g2
from stochq.counting.cumulants import CountingStatistics, counting_statistics
from stochq.counting.fluctuation import FluctuationTest, fluctuation_test
from stochq.counting.histogram import CountingHistogram, counting_histogram
from stochq.counting.waiting import (
    WaitingTimes,
    first_waiting_times,
    waiting_times,
)

__all__ = [
    "Correlation",
    "CountingHistogram",
    "CountingStatistics",
    "FluctuationTest",
    "WaitingTimes",
    "correlation_g2",
    "counting_histogram",
    "counting_statistics",
    "first_waiting_times",
    "fluctuation_test",
    "waiting_times",
]
