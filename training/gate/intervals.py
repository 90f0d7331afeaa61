"""How well a share is known that was counted."""

from math import sqrt

from scipy.stats import norm


def wilson(found: int, tried: int, confidence: float = 0.95) -> tuple[float, float]:
    """(lower, upper) bound of a probability of which `found` of `tried` were seen (Wilson 1927). (0, 1) of none."""
    if tried == 0:
        return 0.0, 1.0
    z = float(norm.ppf((1 + confidence) / 2))
    share = found / tried
    middle = share + z * z / (2 * tried)
    half = z * sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return max(0.0, (middle - half) / (1 + z * z / tried)), min(1.0, (middle + half) / (1 + z * z / tried))
