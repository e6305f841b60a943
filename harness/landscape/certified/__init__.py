"""The census with a proof: intervals, exact arithmetic, and a bound of rounding."""
